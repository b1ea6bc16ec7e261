"""Print joints and avatar bones. Needs `pip install python-osc`.

Start `binopose live ... --osc 39539`, then `python osc_client.py [PORT]`.
"""

import sys

from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import BlockingOSCUDPServer


def joint(address, x, y, z, confidence, *sigma):
    name = address.rsplit("/", 1)[1]
    print(f"{name}: x {x:.3f} y {y:.3f} z {z:.3f} m, confidence {confidence:.2f}", flush=True)


def bone(address, name, x, y, z, qx, qy, qz, qw):
    print(f"bone {name}: position {x:.3f} {y:.3f} {z:.3f}, turned {qx:.3f} {qy:.3f} {qz:.3f} {qw:.3f}", flush=True)


port = int(sys.argv[1]) if len(sys.argv) > 1 else 39539
dispatcher = Dispatcher()
dispatcher.map("/binopose/joint/*", joint)
dispatcher.map("/VMC/Ext/Bone/Pos", bone)
with BlockingOSCUDPServer(("127.0.0.1", port), dispatcher) as server:
    print(f"waiting for poses on port {port}", flush=True)
    server.serve_forever()
