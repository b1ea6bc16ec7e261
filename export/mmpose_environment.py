"""Build the environment in which `binopose.export.mmpose` runs, from a checkout of this program.

python -m binopose.export.mmpose_environment FOLDER

MMPose and this program cannot live in one environment: what MMPose asks for can no longer be installed, and what it
needs is old. Everything comes from the package index of the user's own pip; run again, it only adds what is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..calibration.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = Path(__file__).with_name("mmpose_requirements.txt")
# Without its requirements: chumpy among them cannot be built any more, and pose networks do not need it.
MMPOSE = "mmpose==1.3.2"
STAMP = "binopose-mmpose.sha256"
STEP_TIMEOUT_S = 3600.0
# How pip speaks of an index that cannot be reached.
_UNREACHABLE = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|Temporary failure in name resolution"
    r"|Connection (?:refused|reset)|Network is unreachable|Could not connect|Tunnel connection failed|50[234] .*Error"
)


class EnvironmentFailed(UserError):
    """The environment could not be built."""


class PackagesUnreachable(EnvironmentFailed):
    """The packages could not be had: no network, or the index does not answer."""

    exit_code = 75


def build(folder: Path, more: Sequence[str] = ()) -> None:
    """Create or complete the environment in `folder`, with more packages. Raises EnvironmentFailed."""
    if not (ROOT / "setup.cfg").is_file():
        raise EnvironmentFailed("the export environment can only be built from a checkout of this program")
    if folder.exists() and not (folder / "pyvenv.cfg").is_file():
        raise EnvironmentFailed(f"{folder}: exists and is no virtual environment; name a folder that does not exist")
    python = environment_python(folder)
    if not python.is_file():
        _run("create the environment", [sys.executable, "-m", "venv", str(folder)])
    stamp = folder / STAMP
    wanted = wanted_stamp(more)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not stamp.is_file() or stamp.read_text(encoding="ascii") != wanted:
        _run("install the requirements", [*pip, "--requirement", str(REQUIREMENTS), *more])
        _run("install MMPose", [*pip, "--no-deps", MMPOSE])
        stamp.write_text(wanted, encoding="ascii")
    _run("install this program", [*pip, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    _run("import MMPose", [str(python), "-c", "import binopose.export.mmpose_model as m; m.load_frameworks()"])


def environment_python(folder: Path) -> Path:
    """The interpreter of an environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def wanted_stamp(more: Sequence[str] = ()) -> str:
    """Changes with everything that is installed from the index."""
    content = (REQUIREMENTS.read_text(encoding="utf-8"), MMPOSE, sys.version, *more)
    return hashlib.sha256("\n".join(content).encode()).hexdigest()


def _run(step: str, command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=STEP_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise PackagesUnreachable(f"{step}: not finished after {STEP_TIMEOUT_S:.0f} s; try again") from error
    if done.returncode:
        raise failure(step, command, done.stdout + done.stderr)


def failure(step: str, command: Sequence[str], output: str) -> EnvironmentFailed:
    """What went wrong in a step, from what it printed."""
    said = [line for line in output.strip().splitlines() if not line.startswith("WARNING: Location")]
    kind = PackagesUnreachable if _UNREACHABLE.search(output) else EnvironmentFailed
    return kind(f"{step} failed: {' '.join(command)}\n  " + "\n  ".join(said[-8:]))


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code: 75 when the packages cannot be reached, 2 for everything else."""
    parser = argparse.ArgumentParser(
        prog="python -m binopose.export.mmpose_environment",
        description="Build the environment in which models of MMPose are exported (1.5 GB, minutes).",
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--with", dest="more", action="append", default=[], metavar="PACKAGE", help="a package of yours besides"
    )
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    start_s = time.monotonic()
    try:
        build(folder, options.more)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{environment_python(folder)} is ready after {time.monotonic() - start_s:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
