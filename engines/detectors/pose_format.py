"""What a top-down pose network wants of a picture and how its outputs are read, as it stands in the network's file."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from ...calibration.errors import UserError
from .region import Region

# Mean and standard deviation of ImageNet's red, green, blue on the scale 0..255: what MMPose trains with.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
DEFAULT_PADDING = 1.25

# "simcc": two histograms per joint. Heat maps, by how the place is found between the cells: "quarter" of a cell towards
# the higher neighbour, "dark" a Newton step, "udp" the same between cells whose outermost lie on the crop's edges.
CodecName = Literal["simcc", "quarter", "dark", "udp"]


class PoseModelError(UserError):
    """A file that is no pose network this program can run."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How the outputs are read. blur_cells: width of the Gaussian that smooths heat maps before a Newton step, odd."""

    name: CodecName = "simcc"
    blur_cells: int = 11


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a network expects of its input.

    mean, std: per channel in the network's order, on 0..255; is_rgb: red first; padding: margin around the person;
    corner_aligned: the middles of the crop's outermost pixels lie on the edges of the region (UDP), rather than their
    outer edges.
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    is_rgb: bool = True
    padding: float = DEFAULT_PADDING
    corner_aligned: bool = False

    def normalised(self, crops: np.ndarray) -> np.ndarray:
        """What the network gets. (N, H, W, 3) uint8 BGR -> (N, 3, H, W) float32."""
        pixels = crops[..., ::-1] if self.is_rgb else crops
        scale = 1 / np.array(self.std, dtype=np.float32)
        shift = -np.array(self.mean, dtype=np.float32) * scale
        return np.ascontiguousarray((pixels * scale + shift).transpose(0, 3, 1, 2))

    def sampled(self, region: Region, crop_size_px: tuple[int, int]) -> Region:
        """The region whose plain crop shows `region` as the network wants it."""
        if not self.corner_aligned:
            return region
        size = np.asarray(region.size_px)
        crop_px = size / (np.asarray(crop_size_px) - 1)
        x, y = (np.asarray(region.centre_px) + region.axes @ (crop_px / 2)).tolist()
        width, height = (crop_px * crop_size_px).tolist()
        return Region((x, y), (width, height), region.rotation_rad)


@dataclass(frozen=True, slots=True)
class PoseFormat:
    """Everything about a pose network that its graph does not tell."""

    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    codec: Codec = field(default_factory=Codec)

    def to_text(self) -> str:
        """As JSON, to be kept in the file."""
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def from_text(text: str) -> PoseFormat:
        """The inverse of `to_text`; raises ValueError for anything else."""
        try:
            tables = json.loads(text)
            return PoseFormat(_preprocessing(tables["preprocessing"]), _codec(tables["codec"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the format of a pose network ({error!r})") from error


def _preprocessing(table: dict[str, Any]) -> Preprocessing:
    values = Preprocessing(
        mean=_triple(table["mean"]),
        std=_triple(table["std"]),
        is_rgb=bool(table["is_rgb"]),
        padding=float(table["padding"]),
        corner_aligned=bool(table["corner_aligned"]),
    )
    check_preprocessing(values)
    return values


def check_preprocessing(values: Preprocessing) -> None:
    """Raise ValueError for what no network was trained with."""
    if not min(values.std) > 0 or not 0.5 < values.padding < 3:
        raise ValueError(f"std {values.std} and padding {values.padding}, which cannot be")


def _triple(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third


def _codec(table: dict[str, Any]) -> Codec:
    name, blur_cells = table["name"], int(table["blur_cells"])
    if name not in get_args(CodecName):
        raise ValueError(f'expected a codec of {", ".join(get_args(CodecName))}, found "{name}"')
    if blur_cells < 1 or blur_cells % 2 == 0:
        raise ValueError(f"expected an odd width of the blur, found {blur_cells}")
    return Codec(name, blur_cells)
