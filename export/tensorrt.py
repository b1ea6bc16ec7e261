"""Build a TensorRT engine from an exported model, for the GPU of this machine.

python -m binopose.export.tensorrt model.onnx [-o model.engine] [--batch 1] [--fp16] [--cache DIR]

TensorRT's ONNX parser and builder (10.x) turn the graph into an engine with a fixed batch. With --fp16 the engine is
kept only if it passes the same parity check that every start of the program makes.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..calibration.errors import UserError
from ..engines.cuda_driver import Gpu, read_gpu
from ..engines.engine import EngineFailed
from ..engines.engine_file import EngineBuild, EngineFile, Precision
from ..engines.model_file import ModelFileError, read_card
from ..engines.onnx_session import engine_cache_key
from ..engines.session import open_session, read_network
from ..engines.tensorrt_session import last_error, load_tensorrt, make_logger

log = logging.getLogger(__name__)

WORKSPACE_BYTES = 1 << 30
# What an engine with a fixed batch is built for: live (one person; two views of a detector), and files.
MAX_BATCH = 4096


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """precision: "fp16" lets TensorRT choose half precision where it is faster; batch: samples per inference."""

    precision: Precision = "fp32"
    batch: int = 1
    cache_dir: Path | None = None


def read_metadata(path: Path, content: bytes) -> dict[str, str]:
    """The pairs of text in an ONNX file. Raises ModelFileError for another file, UserError without the package onnx."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise UserError(
            f"building engines needs the package onnx, which cannot be imported ({error}): pip install onnx"
        ) from error
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise ModelFileError(f"{path}: expected an ONNX network (truncated, or no such file?): {error}") from error
    return {pair.key: pair.value for pair in model.metadata_props}


def build_engine(path: Path, options: BuildOptions) -> EngineFile:
    """Build an engine from an exported ONNX file; takes seconds to minutes.

    Raises ModelFileError for a file that is not ours, EngineUnavailable without TensorRT 10 or GPU, EngineFailed when
    TensorRT cannot parse or build it.
    """
    content = read_network(path)
    metadata = read_metadata(path, content)
    if read_card(path, metadata) is None:
        raise ModelFileError(f"{path}: expected a model exported by this program, found a network without description")
    if not 1 <= options.batch <= MAX_BATCH:
        raise UserError(f"--batch: expected 1 to {MAX_BATCH}, found {options.batch}")
    tensorrt = load_tensorrt()
    gpu = read_gpu()
    version = str(tensorrt.__version__)
    timing = _TimingCache(options.cache_dir, gpu, version)
    plan = _build_plan(path, content, options, tensorrt, timing)
    build = EngineBuild(version, gpu.name, gpu.capability, options.precision, options.batch)
    return EngineFile(plan, metadata, build)


class _TimingCache:
    """How long TensorRT's kernels take on this GPU, kept between builds; that is what makes a second one quick."""

    def __init__(self, folder: Path | None, gpu: Gpu, version: str) -> None:
        # Not of the model: timings of one serve the next.
        self.path = None if folder is None else folder / "engines" / f"{engine_cache_key(b'', gpu, version)}.timing"

    def load(self, config: Any) -> None:
        stored = self.path.read_bytes() if self.path is not None and self.path.is_file() else b""
        config.set_timing_cache(config.create_timing_cache(stored), ignore_mismatch=False)

    def save(self, config: Any) -> None:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(bytes(config.get_timing_cache().serialize()))


def _build_plan(path: Path, content: bytes, options: BuildOptions, tensorrt: Any, timing: _TimingCache) -> bytes:
    logger = make_logger(tensorrt)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(content):
        said = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors)) or last_error(logger)
        raise EngineFailed(f"{path}: TensorRT {tensorrt.__version__} cannot read this network: {said[:600]}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    # On by default, and rounds to 10 bits: millimetres at the far end of a room.
    config.clear_flag(tensorrt.BuilderFlag.TF32)
    if options.precision == "fp16":
        config.set_flag(tensorrt.BuilderFlag.FP16)
    _fix_batch(path, network, options.batch)
    timing.load(config)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineFailed(f"{path}: TensorRT cannot build an engine: {last_error(logger)}")
    timing.save(config)
    return bytes(plan)


def _fix_batch(path: Path, network: Any, batch: int) -> None:
    """Give inputs that leave their batch open the size asked for; nothing else may be open."""
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(tensor.shape)
        if any(size < 0 for size in shape[1:]):
            raise ModelFileError(f"{path}: {tensor.name} leaves more than its batch open: {shape}; export it again")
        if shape[0] not in (-1, batch):
            raise UserError(
                f"{path}: this network takes batches of {shape[0]}, not {batch}; leave --batch at {shape[0]}"
            )
        tensor.shape = (batch, *shape[1:])


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m binopose.export.tensorrt", description="Build a TensorRT engine for the GPU of this machine."
    )
    parser.add_argument("model", type=Path, metavar="model.onnx", help="a model exported by this program")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.engine", help="(default: beside the model)")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="samples per inference (default: 1)")
    parser.add_argument("--fp16", action="store_true", help="half precision, kept only if it passes the parity check")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep TensorRT's timings here for the next build")
    options = parser.parse_args(arguments)
    output: Path = options.output or options.model.with_suffix(".engine")
    build_options = BuildOptions("fp16" if options.fp16 else "fp32", options.batch, options.cache)
    try:
        write_engine(options.model, output, build_options)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{output}\n")
    return 0


def write_engine(model: Path, output: Path, options: BuildOptions) -> None:
    """Build an engine, prove it, and only then give the file its name. Raises what `build_engine` and parity raise."""
    if output.suffix != ".engine":
        raise UserError(f"{output}: expected a name ending in .engine")
    unproven = output.with_name(output.stem + ".unproven.engine")
    try:
        unproven.write_bytes(build_engine(model, options).to_bytes())
        open_session(unproven, "tensorrt").close()
        unproven.replace(output)
    finally:
        unproven.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
