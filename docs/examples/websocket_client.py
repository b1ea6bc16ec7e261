"""Print how high the hands are above the hips. Needs `pip install websockets`.

Start `binopose live ... --websocket 8765`, then `python websocket_client.py [PORT]`.
"""

import json
import sys

from websockets.sync.client import connect

port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
with connect(f"ws://127.0.0.1:{port}") as server:
    for text in server:
        message = json.loads(text)
        place_m = dict(zip(message["joint_names"], message["points_m"], strict=True))
        pelvis_m = place_m["Pelvis"]
        if pelvis_m is None:
            print(message["tracking"], flush=True)
            continue
        axis, sign = {"-y": (1, -1), "z": (2, 1)}[message["up"]]  # a camera's frame, or a room's
        for side in ("Left", "Right"):
            if wrist_m := place_m[f"{side}Wrist"]:
                height_m = sign * (wrist_m[axis] - pelvis_m[axis])
                print(f"{side.lower()} hand {height_m:+.3f} m from the hips", flush=True)
