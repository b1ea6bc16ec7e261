"""The stereo benchmark files: real detections of two rectified views with 3D ground truth."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...calibration.errors import UserError
from ...calibration.rectify import RectifiedRig, Rectifier
from ...calibration.rig import Camera, RigidTransform, StereoRig
from ...models.pose import Pose2D
from ...models.skeleton import BODY17

# Detections are in crop coordinates from -1 to 1; the crop of the published detector is this many pixels wide.
CROP_PX = 384

_FIELDS = {
    "points2d": ("N", 2, 17, 2),
    "points2d_raw": ("N", 2, 17, 2),
    "K": ("N", 2, 3, 3),
    "R": ("N", 2, 3, 3),
    "camera_centres": ("N", 2, 3),
    "proj": ("N", 2, 3, 4),
    "gt": ("N", 17, 3),
    "tri_ref": ("N", 17, 3),
    "dualdiff_ref": ("N", 17, 3),
    "gt_damaged": ("N",),
    "subject": ("N",),
    "action": ("N",),
}
# Files need not have these; together they say which samples are of the same moment.
_LABELS = {"action_number": ("N",), "frame_id": ("N",), "camera_group": ("N",)}


@dataclass(frozen=True, slots=True)
class RectifiedSample:
    """Detections of one moment in rectified pixels (body17), and where the truth's frame is."""

    rig: RectifiedRig
    left: Pose2D
    right: Pose2D
    world_from_rectified: RigidTransform


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One file, arrays over its N samples.

    points_px: (N, 2, 17, 2) detections in pixels of the 384 px crop; intrinsics: (N, 2, 3, 3) for these pixels;
    rotations: (N, 2, 3, 3) camera from world; centres_m: (N, 2, 3); projections: (N, 2, 3, 4) world to these pixels;
    truth_m, published_m: (N, 17, 3) true joints and the published model's, world frame;
    scored: (N,) False where the ground truth is damaged; subject, action: (N,) names; moment: (N,) labels;
    camera_group: (N,) number of the camera pair. Where two camera pairs saw the same moments, these are samples of
    their own, one pair after the other.
    """

    points_px: np.ndarray
    intrinsics: np.ndarray
    rotations: np.ndarray
    centres_m: np.ndarray
    projections: np.ndarray
    truth_m: np.ndarray
    published_m: np.ndarray
    scored: np.ndarray
    subject: np.ndarray
    action: np.ndarray
    moment: np.ndarray
    camera_group: np.ndarray

    def __len__(self) -> int:
        return len(self.truth_m)

    def rig(self, sample: int) -> StereoRig:
        """The rig of one sample (the crop moves, so each has its own)."""
        size_px = (CROP_PX, CROP_PX)
        left, right = (Camera(size_px, self.intrinsics[sample, view]) for view in (0, 1))
        left_rotation, right_rotation = self.rotations[sample]
        rotation = right_rotation @ left_rotation.T
        offset_m = right_rotation @ (self.centres_m[sample, 0] - self.centres_m[sample, 1])
        return StereoRig(left, right, RigidTransform(rotation, offset_m))

    def rectified(self, sample: int) -> RectifiedSample:
        """One sample as the pipeline takes it; every joint seen in both views, with full confidence."""
        rectifier = Rectifier(self.rig(sample), "points")
        left, right = (
            Pose2D(rectifier.points(view, self.points_px[sample, view]), np.ones(len(BODY17)), BODY17)
            for view in (0, 1)
        )
        rotation = self.rotations[sample, 0].T @ rectifier.rig.left_from_rectified
        return RectifiedSample(rectifier.rig, left, right, RigidTransform(rotation, self.centres_m[sample, 0]))


def load_benchmark(path: Path, raw_detections: bool = False) -> Benchmark:
    """Read a benchmark file.

    raw_detections: the detections before the per-joint mean error was taken off.
    Raises UserError naming the file and field when it is missing or not of this format.
    """
    try:
        content = np.load(path, allow_pickle=False)
        if not isinstance(content, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        with content:
            fields = {name: content[name] for name in content.files}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected a benchmark .npz") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: cannot be read as a benchmark .npz: {error}") from None
    if "points2d" not in fields:
        raise UserError(f"{path}: points2d: expected a field of that name, found {', '.join(fields) or 'none'}")
    samples = len(fields["points2d"])
    for name, shape in (_FIELDS | {name: shape for name, shape in _LABELS.items() if name in fields}).items():
        expected = tuple(samples if n == "N" else n for n in shape)
        found = fields[name].shape if name in fields else None
        if found != expected:
            raise UserError(f"{path}: {name}: expected shape {expected}, found {found or 'no such field'}")
    for name in ("K", "R", "camera_centres", "proj", "gt", "dualdiff_ref"):
        if not np.isfinite(fields[name]).all():
            raise UserError(f"{path}: {name}: expected finite numbers, found NaN or infinity")
    # Crop coordinate -1 is the outer edge of the first pixel, whose centre is 0 here; half a pixel in both views alike,
    # so it moves nothing, but the intrinsics have to agree. The published rectification also left skew in the
    # intrinsics; shearing the picture takes it out exactly.
    to_px = np.array([[CROP_PX / 2, 0, CROP_PX / 2], [0, CROP_PX / 2, CROP_PX / 2], [0, 0, 1]])
    skewed = to_px @ fields["K"]
    unsheared_from_px = np.broadcast_to(np.eye(3), skewed.shape).copy()
    shear = skewed[..., 0, 1] / skewed[..., 1, 1]
    unsheared_from_px[..., 0, 1] = -shear
    unsheared_from_px[..., 0, 2] = shear * skewed[..., 1, 2]
    points = fields["points2d_raw" if raw_detections else "points2d"].astype(np.float64)
    points_px = (points + 1) * (CROP_PX / 2)
    return Benchmark(
        points_px=points_px @ np.swapaxes(unsheared_from_px[..., :2, :2], -1, -2) + unsheared_from_px[..., None, :2, 2],
        intrinsics=unsheared_from_px @ skewed,
        rotations=fields["R"],
        centres_m=fields["camera_centres"],
        projections=unsheared_from_px @ to_px @ fields["proj"],
        truth_m=fields["gt"].astype(np.float64),
        published_m=fields["dualdiff_ref"].astype(np.float64),
        scored=~fields["gt_damaged"].astype(bool),
        subject=fields["subject"],
        action=fields["action"],
        moment=_moments(fields),
        camera_group=fields.get("camera_group", np.zeros(samples, dtype=np.int64)),
    )


def _moments(fields: dict[str, np.ndarray]) -> np.ndarray:
    """A label for each sample, (N,), the same where several cameras saw the same moment; files need not say so."""
    names = ("subject", "action", "action_number", "frame_id")
    if any(name not in fields for name in names):
        return np.arange(len(fields["points2d"]))
    return np.array(["/".join(map(str, labels)) for labels in zip(*(fields[name] for name in names), strict=True)])
