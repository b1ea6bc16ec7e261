"""OpenMMLab SDK archives (zip): a pose network together with its `pipeline.json`."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from .pose_format import (
    DEFAULT_PADDING,
    IMAGENET_MEAN,
    IMAGENET_STD,
    PoseModelError,
    Preprocessing,
    check_preprocessing,
)

NETWORK_MEMBER = "end2end.onnx"
PIPELINE_MEMBER = "pipeline.json"


def read_sdk_archive(path: Path) -> tuple[bytes, Preprocessing]:
    """The network of an archive, and its preprocessing. Raises PoseModelError for an archive of something else."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {PurePosixPath(name).name: name for name in archive.namelist()}
            if NETWORK_MEMBER not in members:
                raise PoseModelError(
                    f"{path}: expected an OpenMMLab SDK archive with a pose network; it has no {NETWORK_MEMBER}, only "
                    f"{', '.join(sorted(members)[:8])}"
                )
            network = archive.read(members[NETWORK_MEMBER])
            pipeline = json.loads(archive.read(members[PIPELINE_MEMBER])) if PIPELINE_MEMBER in members else None
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise PoseModelError(
            f"{path}: expected an OpenMMLab SDK archive; the archive is damaged ({error}), fetch it again"
        ) from error
    except ValueError as error:
        raise PoseModelError(f"{path}: {PIPELINE_MEMBER} in it is not JSON ({error}), fetch it again") from error
    return network, Preprocessing() if pipeline is None else _preprocessing(path, pipeline)


def _preprocessing(path: Path, pipeline: Any) -> Preprocessing:
    """What `pipeline.json` says about the input; MMPose's own values where it is silent."""
    try:
        steps = [step for task in pipeline["pipeline"]["tasks"] for step in task.get("transforms", [])]
        by_type = {step["type"]: step for step in steps}
        normalize = by_type.get("Normalize", {})
        mean, std = normalize.get("mean", IMAGENET_MEAN), normalize.get("std", IMAGENET_STD)
        padding = float(by_type.get("TopDownGetBboxCenterScale", {}).get("padding", DEFAULT_PADDING))
        red, green, blue = (float(v) for v in mean)
        red_std, green_std, blue_std = (float(v) for v in std)
        is_rgb = bool(normalize.get("to_rgb", True))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PoseModelError(
            f"{path}: {PIPELINE_MEMBER} in it is not that of an OpenMMLab pose SDK ({error!r}); "
            "use the archive as downloaded, or the bare ONNX file"
        ) from error
    values = Preprocessing((red, green, blue), (red_std, green_std, blue_std), is_rgb, padding)
    try:
        check_preprocessing(values)
    except ValueError as error:
        raise PoseModelError(f"{path}: {PIPELINE_MEMBER} in it has {error}") from error
    return values
