"""`binopose engines`: where networks can run on this machine, and why not elsewhere."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...engines.engine import DEVICES
from ...engines.session import DEVICE_CHOICES, EngineFailed, EngineUnavailable, open_session, probe_device
from ..console import print_line
from ..weights_cache import user_cache_dir

DESCRIPTION = """\
Say for every device whether networks can run there, and if not, which library is missing and how to get it. With a
model file its engine is opened on each and compared with the answers stored in the file.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "engines",
        help="where networks can run here, and why not elsewhere",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, nargs="?", metavar="MODEL", help="a network to try, .onnx or .engine")
    parser.add_argument("--device", choices=DEVICE_CHOICES, default="auto", help="try this one alone (default: all)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry the command out; returns 0 when a device works, 2 when none does."""
    working = 0
    for device in DEVICES if options.device == "auto" else (options.device,):
        try:
            if options.model is None:
                said = probe_device(device)
            else:
                session = open_session(options.model, device, cache_dir=user_cache_dir())
                said = f"{session.hardware}, {session.engine}" + (", agrees with the file" if session.card else "")
                session.close()
            working += 1
            print_line(f"{device:9} works: {said}")
        except (EngineFailed, EngineUnavailable) as error:
            print_line(f"{device:9} no: {error}")
    return 0 if working else 2
