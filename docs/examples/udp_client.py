"""Print where the right wrist is. Start `binopose live ... --udp 9000`, then `python udp_client.py [PORT]`."""

import json
import socket
import sys

port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
    receiver.bind(("127.0.0.1", port))  # "0.0.0.0" when binopose runs on another machine
    print(f"waiting for poses on port {port}", flush=True)
    while True:
        message = json.loads(receiver.recv(65535))
        wrist = message["joint_names"].index("RightWrist")
        place_m = message["points_m"][wrist]  # None: no place known
        if place_m is None:
            print(message["tracking"], flush=True)
            continue
        x, y, z = place_m
        confidence = message["confidence"][wrist]  # 0: not seen, its place is inferred
        print(f"right wrist: x {x:.3f} y {y:.3f} z {z:.3f} m, confidence {confidence:.2f}", flush=True)
