"""Opening networks: the file's kind and the device choose the engine, and the engine has to prove itself."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..calibration.errors import UserError
from .engine import DEVICES, Device, EngineFailed, EngineUnavailable, OpenRequest, Port, Session
from .model_file import ModelFileError
from .onnx_session import load_runtime, open_onnx, require_gpu_provider
from .parity import check_parity, is_comparable, reference_from
from .tensorrt_session import open_engine
from .torch_session import open_weights

__all__ = [
    "DEVICE_CHOICES",
    "ON_CPU",
    "DeviceChoice",
    "EngineChoice",
    "EngineFailed",
    "EngineUnavailable",
    "Port",
    "Session",
    "open_session",
    "probe_device",
]

log = logging.getLogger(__name__)

DeviceChoice = Literal["auto", "cpu", "cuda", "tensorrt"]
DEVICE_CHOICES: tuple[DeviceChoice, ...] = ("auto", *DEVICES)


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Where the user wants networks to run; see `open_session`."""

    device: DeviceChoice = "auto"
    allow_inexact: bool = False
    cache_dir: Path | None = None

    def open(self, path: Path, threads: int = 1, content: bytes | None = None) -> Session:
        """`open_session` with this choice."""
        return open_session(path, self.device, threads, self.allow_inexact, cache_dir=self.cache_dir, content=content)


ON_CPU = EngineChoice("cpu")

# What "auto" tries, best first.
AUTO_ORDER: tuple[Device, ...] = ("tensorrt", "cuda", "cpu")

# What opens a file, by its suffix.
ENGINES = {".onnx": open_onnx, ".engine": open_engine, ".npz": open_weights}


def open_session(
    path: Path,
    device: str = "auto",
    threads: int = 1,
    allow_inexact: bool = False,
    *,
    cache_dir: Path | None = None,
    content: bytes | None = None,
) -> Session:
    """Open a network on the device asked for; "auto" takes the first of tensorrt, cuda and cpu that really works.

    threads: for one inference on the CPU; allow_inexact: use an engine that fails the parity check, with a warning;
    cache_dir: where engines built for this machine are kept; content: the network itself where `path` is an archive
    that holds it as ONNX.
    Raises EngineUnavailable with the reason (of every device, for "auto"), ModelFileError for a file that is no
    network, of another version or damaged.
    """
    if device not in DEVICE_CHOICES:
        raise UserError(f'device: expected one of {", ".join(DEVICE_CHOICES)}, found "{device}"')
    opener = open_onnx if content is not None else ENGINES.get(path.suffix.lower())
    if opener is None:
        raise ModelFileError(f"{path}: expected a network as {' or '.join(ENGINES)} file")
    content = read_network(path) if content is None else content
    reasons: dict[str, str] = {}
    for candidate in AUTO_ORDER if device == "auto" else (device,):
        try:
            opened = opener(OpenRequest(path, content, candidate, threads, cache_dir))
            session = _proven(opened, path, content, allow_inexact)
        except (EngineUnavailable, EngineFailed) as error:
            if device != "auto":
                raise type(error)(f"--device {device}: {error}") from error
            reasons[candidate] = str(error)
            log.info("%s: not on %s: %s", path, candidate, error)
            continue
        log.info("%s: on %s (%s), %s", path, session.device, session.hardware, session.engine)
        return session
    listed = "\n".join(f"  {name}: {reason}" for name, reason in reasons.items())
    raise EngineUnavailable(f"{path}: no engine can run this network here:\n{listed}", reasons)


def read_network(path: Path) -> bytes:
    """The bytes of a network file; raises ModelFileError when there are none."""
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file; expected a network as {' or '.join(ENGINES)} file")
    content = path.read_bytes()
    if not content:
        raise ModelFileError(f"{path}: the file is empty; get or export it again")
    return content


def _proven(session: Session, path: Path, content: bytes, allow_inexact: bool) -> Session:
    """The session, if it gives the answers that its file holds; files of others hold none: the CPU's are taken."""
    try:
        if session.card is not None:
            if not session.card.reference:
                raise ModelFileError(f"{path}: the model's own description has no reference inputs; export it again")
            check_parity(path, session, session.card.reference, allow_inexact)
        elif session.device != "cpu":
            _compare_with_cpu(path, session, content, allow_inexact)
    except BaseException:
        session.close()
        raise
    return session


def _compare_with_cpu(path: Path, session: Session, content: bytes, allow_inexact: bool) -> None:
    on_cpu = open_onnx(OpenRequest(path, content, "cpu", threads=1))
    reference = reference_from(on_cpu)
    on_cpu.close()
    if any(is_comparable(name) for name in reference.outputs):
        check_parity(path, session, reference, allow_inexact)
    else:
        log.info("%s: no output whose meaning is known, its answers on %s are not checked", path, session.device)


def probe_device(device: Device) -> str:
    """What ONNX networks would run on, without one at hand: hardware and runtime. Raises EngineUnavailable if nothing.

    Only opening a network tells for sure.
    """
    runtime = load_runtime()
    hardware = "this processor" if device == "cpu" else require_gpu_provider(runtime, device).name
    return f"{hardware}, onnxruntime {runtime.__version__}"
