"""The command `binopose`: finds the subcommand, runs it, and turns errors into messages and exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from types import FrameType
from typing import NoReturn

from ..calibration.errors import UserError
from .console import print_error
from .settings import apply_config

EPILOG = """\
first steps:
  binopose demo -o demo-out                     a simulated person and rig: needs no camera and no file
  binopose board -o board.pdf                   a board to print
  binopose calibrate left/ right/ --board 9x6 --square-mm 23 -o rig.toml
  binopose rig import calib.yml -o rig.toml     or take over the calibration of another program
  binopose video left.mp4 right.mp4 --rig rig.toml -o out

exit codes: 0 fine, 1 a fault of the program, 2 bad input (nothing was done), 3 results are incomplete,
            4 calibration refused, 130 interrupted (results so far are kept)
"""


def build_parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of the whole program and those of its commands by name.

    Raises UserError when a library that every command needs cannot be loaded.
    """
    try:
        from .commands import board, calibrate, demo, engines, live, models, recover, rig, video
    except ImportError as error:
        # Minimal systems lack what the OpenCV wheel expects to find; its own message names a file, not a package.
        advice = "on Debian or Ubuntu: apt-get install libgl1 libglib2.0-0" if ".so" in str(error) else "install again"
        raise UserError(f"a library cannot be loaded: {error}; {advice}") from error
    parser = argparse.ArgumentParser(
        prog="binopose",
        description="3D human pose from two ordinary cameras.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"binopose {version('binopose')}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what goes on inside")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in (demo, calibrate, board, rig, live, video, recover, models, engines):
        command.add_parser(subparsers)
    # Options of the command line are matched by their whole names, as those of a --config file are.
    for subparser in subparsers.choices.values():
        subparser.allow_abbrev = False
    return parser, dict(subparsers.choices)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    # What the libraries below write about a file is said by the program in its own words.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # A service that is stopped should leave valid files, as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        parser, commands = build_parser()
        for argument in arguments:
            if argument in commands:
                apply_config(commands[argument], arguments)
                break
        options = parser.parse_args(arguments)
        logging.basicConfig(
            level=logging.DEBUG if options.verbose else logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
        )
        return options.run(options)
    except UserError as error:
        print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        print_error("interrupted")
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough of it (`| head`); the interpreter must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print_error(f"{error.filename or 'system'}: {error.strerror or error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
