"""A top-down pose network of MMPose: built from its config, filled with weights, and asked what it expects.

Needs the environment of docs/mmpose.md. A config of MMPose is a Python program that is run to read it.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import pickle
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..calibration.errors import UserError
from ..engines.detectors.pose_format import Codec, PoseFormat, Preprocessing, check_preprocessing
from ..models.skeleton import COCO17, H36M17, HALPE26, Skeleton
from .stand_ins import install_stand_ins

log = logging.getLogger(__name__)

# Networks whose exported graph was another network than the original (hundreds of pixels off on some pictures).
UNFAITHFUL_BACKBONES = ("ViPNAS_ResNet", "ViPNAS_MobileNetV3")
HEADS = ("RTMCCHead", "SimCCHead", "HeatmapHead")
TRANSFORMS = ("LoadImage", "GetBBoxCenterScale", "TopdownAffine", "PackPoseInputs")
# What MMPose calls joints, where that is not our name in lower case with underscores.
OTHER_NAMES: dict[str, dict[str, str]] = {
    COCO17.name: {},
    HALPE26.name: {"HeadTop": "head", "Pelvis": "hip"},
    H36M17.name: {
        "Pelvis": "root",
        "RightAnkle": "right_foot",
        "LeftAnkle": "left_foot",
        "Thorax": "spine",
        "Neck": "thorax",
        "Nose": "neck_base",
        "HeadTop": "head",
    },
}
# Whatever a program may raise when it is not the config, or not the network, that it should be.
_BAD_CONFIG = (
    OSError, SyntaxError, ImportError, NameError, KeyError, IndexError, TypeError, ValueError, AttributeError,
    AssertionError, RuntimeError,
)  # fmt: skip


class ExportError(UserError):
    """A model of MMPose that cannot be exported."""


@dataclass(frozen=True, slots=True)
class Frameworks:
    """The modules of the export environment."""

    torch: Any
    config: Any
    mmpose: Any
    apis: Any

    @property
    def configs(self) -> Path:
        """The folder of configs that comes inside MMPose's wheel."""
        return Path(self.mmpose.__file__).parent / ".mim" / "configs"


@dataclass(frozen=True, slots=True)
class MMPoseModel:
    """A network ready for export.

    network: MMPose's own model; name, config: of what; output_joints: which of the head's channels are joints, None for
    all; input_size_px: (width, height).
    """

    network: Any
    name: str
    config: Path
    pose_format: PoseFormat
    skeleton: Skeleton
    output_joints: tuple[int, ...] | None
    input_size_px: tuple[int, int]


def load_frameworks() -> Frameworks:
    """Import PyTorch and MMPose. Raises ExportError where they are not installed."""
    install_stand_ins()
    try:
        with _quiet():
            modules = [importlib.import_module(name) for name in ("torch", "mmengine.config", "mmpose", "mmpose.apis")]
    except ImportError as error:
        raise ExportError(
            f"this is not the export environment of MMPose: {error}. Build it with python -m "
            "binopose.export.mmpose_environment FOLDER and use the python in it"
        ) from error
    return Frameworks(*modules)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the deprecation warnings of packages that are older than those they use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def find_config(frameworks: Frameworks, config: str) -> Path:
    """The file of a config: a path, or the name of one that comes with MMPose."""
    path = Path(config)
    if path.is_file():
        return path
    name = path.name.removesuffix(".py")
    found = [] if path.parent != Path() else sorted(frameworks.configs.rglob(f"{name}.py"))
    if len(found) != 1:
        similar = sorted(one.stem for one in frameworks.configs.glob(f"body_2d_keypoint/**/*{name[:9]}*.py"))
        hint = f"; similar: {', '.join(similar[:8])}" if similar else ""
        raise ExportError(
            f"{config}: no such file, and no config of this name comes with MMPose "
            f"{frameworks.mmpose.__version__}{hint}"
        )
    return found[0]


def build_model(frameworks: Frameworks, config: str, checkpoint: bytes | None, seed: int = 0) -> MMPoseModel:
    """The network of a config with the weights of a checkpoint, or random ones that look at the picture.

    checkpoint: contents of a file whose checksum has been confirmed: it may be unpickled, which can run code.
    Raises ExportError for configs and weights that do not fit what can be exported.
    """
    path = find_config(frameworks, config)
    try:
        settings = frameworks.config.Config.fromfile(str(path))
    except _BAD_CONFIG as error:
        raise ExportError(f"{path}: cannot be read as a config of MMPose: {_first_line(error)}") from error
    kind = settings.get("model", {}).get("type")
    if kind != "TopdownPoseEstimator":
        raise ExportError(f"{path}: expected a top-down pose network (TopdownPoseEstimator), found {kind}")
    frameworks.torch.manual_seed(seed)
    try:
        with _quiet():
            network = frameworks.apis.init_model(settings, None, device="cpu")
    except _BAD_CONFIG as error:
        raise ExportError(f"{path}: MMPose cannot build this network: {_first_line(error)}") from error
    pose_format, input_size_px = read_format(path, settings, network)
    joint_names = network.dataset_meta["keypoint_id2name"]
    if checkpoint is None:
        _wake_up(frameworks.torch, network, input_size_px)
    else:
        joint_names = load_weights(frameworks.torch, network, checkpoint).get("keypoint_id2name", joint_names)
    chosen = network.test_cfg.get("output_keypoint_indices")
    output_joints = None if chosen is None else tuple(int(index) for index in chosen)
    names = [joint_names[index] for index in sorted(joint_names)]
    skeleton = find_skeleton(path, names if output_joints is None else [names[index] for index in output_joints])
    return MMPoseModel(network, path.stem, path, pose_format, skeleton, output_joints, input_size_px)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"


def find_skeleton(path: Path, names: Sequence[str]) -> Skeleton:
    """Our joint set with these names in this order, as MMPose writes them."""
    for skeleton in (COCO17, HALPE26, H36M17):
        if list(names) == mmpose_names(skeleton):
            return skeleton
    raise ExportError(
        f"{path}: expected the joints of COCO (17), Halpe (26) or Human3.6M (17), found {len(names)}: "
        f"{', '.join(names[:30])}"
    )


def mmpose_names(skeleton: Skeleton) -> list[str]:
    """What MMPose calls the joints of a skeleton."""
    other = OTHER_NAMES[skeleton.name]
    return [
        other.get(joint) or "".join(f"_{c.lower()}" if c.isupper() else c for c in joint).lstrip("_")
        for joint in skeleton.joints
    ]


def read_format(path: Path, settings: Any, network: Any) -> tuple[PoseFormat, tuple[int, int]]:
    """How a network takes pictures and how its outputs are read; and the size of its input (width, height)."""
    head = type(network.head).__name__
    if head not in HEADS:
        raise ExportError(
            f"{path}: its head {head} is not supported, only {', '.join(HEADS)}; choose a model with one of these"
        )
    backbone = type(network.backbone).__name__
    if backbone in UNFAITHFUL_BACKBONES:
        raise ExportError(f"{path}: its backbone {backbone} does not survive the export; choose another model")
    try:
        steps = {step["type"]: step for step in settings.test_dataloader.dataset.pipeline}
        affine = steps["TopdownAffine"]
        width, height = (int(size) for size in affine["input_size"])
        normalise = settings.model.get("data_preprocessor", {})
        pose_format = PoseFormat(
            Preprocessing(
                mean=_channels(normalise.get("mean", (0.0, 0.0, 0.0))),
                std=_channels(normalise.get("std", (1.0, 1.0, 1.0))),
                is_rgb=bool(normalise.get("bgr_to_rgb", False)),
                padding=float(steps["GetBBoxCenterScale"].get("padding", 1.25)),
                corner_aligned=bool(affine.get("use_udp", False)),
            ),
            _codec(path, network.head.decoder),
        )
        check_preprocessing(pose_format.preprocessing)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ExportError(
            f"{path}: its test pipeline is not that of a top-down network: {_first_line(error)}"
        ) from error
    unknown = sorted(steps.keys() - set(TRANSFORMS))
    if unknown:
        raise ExportError(f"{path}: its test pipeline does what this program does not: {', '.join(unknown)}")
    return pose_format, (width, height)


def _channels(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third


def _codec(path: Path, decoder: Any) -> Codec:
    """How MMPose reads the network's outputs, in our words."""
    kind = type(decoder).__name__
    if kind == "SimCCLabel" and not decoder.use_dark:
        return Codec("simcc")
    if kind == "MSRAHeatmap":
        return Codec("dark" if decoder.unbiased else "quarter", decoder.blur_kernel_size)
    if kind == "UDPHeatmap" and decoder.heatmap_type == "gaussian":
        return Codec("udp", decoder.blur_kernel_size)
    raise ExportError(
        f"{path}: its codec {kind} is not supported as it is set there; supported are SimCCLabel without use_dark, "
        'MSRAHeatmap, and UDPHeatmap of heatmap_type "gaussian"'
    )


def _wake_up(torch: Any, network: Any, input_size_px: tuple[int, int]) -> None:
    """Give a network with random weights the batch statistics of random pictures.

    With those that layers begin with, a picture fades from layer to layer, and all pictures get the same answer.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean of what it sees
        layer.train()
    width, height = input_size_px
    with torch.no_grad():
        coarse = torch.randn(8, 3, height // 16, width // 16)
        network.head(network.extract_feat(torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")))
    network.eval()


def load_weights(torch: Any, network: Any, checkpoint: bytes) -> dict[str, Any]:
    """Fill a network; returns what the checkpoint says about its data set, if anything. Raises ExportError."""
    try:
        content = _unpickled(torch, checkpoint)
        state = content.get("state_dict", content)
        result = network.load_state_dict(state, strict=False)
        dataset_meta = dict(content.get("meta", {}).get("dataset_meta") or {})
    except (pickle.UnpicklingError, EOFError, RuntimeError, AttributeError, TypeError, ValueError, KeyError) as error:
        raise ExportError(f"the checkpoint does not fit the config: {_first_line(error)}") from error
    if result.missing_keys:
        raise ExportError(
            f"the checkpoint does not fit the config: it lacks {len(result.missing_keys)} weights, as "
            f"{', '.join(result.missing_keys[:3])}; use the config that it was trained with"
        )
    if result.unexpected_keys:
        log.warning(
            "%d entries of the checkpoint have no place in the network, as %s",
            len(result.unexpected_keys),
            ", ".join(result.unexpected_keys[:3]),
        )
    return dataset_meta


def _unpickled(torch: Any, checkpoint: bytes) -> Any:
    """The contents of a checkpoint file: tensors alone where that suffices, since objects in it can run code."""
    try:
        return torch.load(io.BytesIO(checkpoint), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        log.info("the checkpoint holds more than tensors, its checksum is confirmed: %s", _first_line(error))
    return torch.load(io.BytesIO(checkpoint), map_location="cpu", weights_only=False)


def to_onnx(frameworks: Frameworks, model: MMPoseModel, batch: np.ndarray) -> tuple[bytes, dict[str, np.ndarray]]:
    """The network as ONNX with any batch, and what it answers in PyTorch.

    batch: (N, 3, H, W) float32, N > 1. Outputs: `simcc_x`, `simcc_y` (N, J, bins) or `heatmaps` (N, J, rows, columns).
    """
    torch = frameworks.torch
    names = ["simcc_x", "simcc_y"] if model.pose_format.codec.name == "simcc" else ["heatmaps"]
    module = _raw_outputs(torch, model).eval()
    pictures = torch.from_numpy(batch)
    with torch.no_grad(), _quiet():
        answers = module(pictures)
        file = io.BytesIO()
        torch.onnx.export(
            module,
            (pictures,),
            file,
            dynamo=False,
            opset_version=17,
            input_names=["input"],
            output_names=names,
            dynamic_axes={name: {0: "batch"} for name in ("input", *names)},
        )
    return file.getvalue(), {name: answer.numpy() for name, answer in zip(names, answers, strict=True)}


def _raw_outputs(torch: Any, model: MMPoseModel) -> Any:
    """A module that gives the head's raw outputs as a tuple, without MMPose's decoding."""

    class RawOutputs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = model.network

        def forward(self, pictures: Any) -> tuple[Any, ...]:
            outputs = self.network.head(self.network.extract_feat(pictures))
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            if model.output_joints is None:
                return outputs
            return tuple(output[:, list(model.output_joints)] for output in outputs)

    return RawOutputs()
