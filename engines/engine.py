"""What every engine offers, whatever library runs the network behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from ..calibration.errors import UserError
from .model_file import ModelCard, ModelFileError

Device = Literal["cpu", "cuda", "tensorrt"]
DEVICES: tuple[Device, ...] = ("cpu", "cuda", "tensorrt")


class EngineUnavailable(UserError):
    """A network cannot run where it was asked to: a library, driver or device is missing or does not fit.

    reasons: why not, by device.
    """

    def __init__(self, message: str, reasons: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.reasons = dict(reasons or {})


class EngineFailed(UserError):
    """A network that was opened could not finish an inference, as when the memory of the GPU ran out."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a network. shape: None where any size fits."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype

    @property
    def fixed_shape(self) -> tuple[int, ...]:
        """The shape where no size is open; raises ValueError where one is."""
        sizes = tuple(size for size in self.shape if size is not None)
        if len(sizes) != len(self.shape):
            raise ValueError(f"{self} has an open size")
        return sizes

    def __str__(self) -> str:
        return f"{self.name} ({', '.join('any' if size is None else str(size) for size in self.shape)})"


class Session(Protocol):
    """One network, ready to run. Not for several threads at once.

    engine: library and version, "onnxruntime 1.31.1"; device, hardware: where it runs and what that is called;
    card: what the file says about itself, None for files of others.
    """

    engine: str
    device: Device
    hardware: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    card: ModelCard | None

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """One inference: arrays by the names of `inputs` in, arrays by the names of `outputs` out.

        The arrays returned are the caller's own. Raises ValueError for arrays that do not fit, EngineFailed when the
        device gives up.
        """
        ...

    def close(self) -> None:
        """Give the network's memory back; the session is of no more use."""
        ...


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """What an engine needs to open a network.

    content: the file's bytes; threads: for one inference on the CPU; cache_dir: where engines built for this machine
    may be kept, None for nowhere.
    """

    path: Path
    content: bytes
    device: Device
    threads: int
    cache_dir: Path | None = None


def fitting_arrays(ports: tuple[Port, ...], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays as the network takes them: of the right type, contiguous. Raises ValueError unless they fit.

    A size that the network leaves open has to be the same in the first axis of all inputs: it is the batch.
    """
    if arrays.keys() != {port.name for port in ports}:
        raise ValueError(f"expected the inputs {[port.name for port in ports]}, got {sorted(arrays)}")
    fitting: dict[str, np.ndarray] = {}
    for port in ports:
        array = np.ascontiguousarray(arrays[port.name], dtype=port.dtype)
        if len(array.shape) != len(port.shape) or any(
            wanted is not None and wanted != found for wanted, found in zip(port.shape, array.shape, strict=True)
        ):
            raise ValueError(f"expected {port}, got {array.shape}")
        fitting[port.name] = array
    batches = {array.shape[0] for array in fitting.values() if array.ndim}
    if len(batches) > 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in fitting.items())
        raise ValueError(f"expected one batch in all inputs, got {shapes}")
    return fitting


def batch_of(session: Session) -> int | None:
    """How many samples one inference takes, None for any number."""
    return session.inputs[0].shape[0] if session.inputs[0].shape else None


def run_in_batches(
    session: Session, inputs: Mapping[str, np.ndarray], at_once: int | None = None
) -> dict[str, np.ndarray]:
    """Run any number of samples through a network, also through one that takes a fixed number at once.

    inputs: (N, ...) each; at_once: for networks that take any number, None for all. The last batch is filled up with
    its last sample.
    """
    samples = len(next(iter(inputs.values())))
    batch = batch_of(session) or at_once or samples
    if batch == samples:
        return session.run(inputs)
    runs = []
    for start in range(0, samples, batch):
        chosen = np.minimum(np.arange(start, start + batch), samples - 1)
        runs.append(session.run({name: array[chosen] for name, array in inputs.items()}))
    return {name: np.concatenate([run[name] for run in runs])[:samples] for name in runs[0]}


def require_ports(path: Path, ports: tuple[Port, ...], expected: Mapping[str, tuple[int | None, ...]]) -> None:
    """Raise ModelFileError unless the ports are those expected: name -> shape behind the batch, None for any size."""
    found = {port.name: port.shape[1:] for port in ports}
    fits = found.keys() == expected.keys() and all(
        len(found[name]) == len(shape)
        and all(a is None or b is None or a == b for a, b in zip(found[name], shape, strict=True))
        for name, shape in expected.items()
    )
    if not fits:
        wanted = ", ".join(str(Port(name, (None, *shape), np.dtype(np.float32))) for name, shape in expected.items())
        raise ModelFileError(
            f"{path}: expected a network with {wanted}; found {', '.join(map(str, ports)) or 'none'}; export it again"
        )
