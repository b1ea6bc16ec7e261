"""Is it the same person in both views? Matching points lie in one row of the rectified views, the left one ahead.

Measured relative to the person's size: calibrations and detectors err by pixels, people differ by bodies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...calibration.rectify import Rectifier
from ...models.pose import Pose2D
from .region import Region

# Poor calibrations stay below 0.1; another person stands elsewhere or has another size.
MAX_MISMATCH = 0.15
# Distant people seen by cameras close together have almost no disparity; noise may make it a little negative.
MIN_DISPARITY = -0.05
TORSO_JOINTS = ("LeftShoulder", "RightShoulder", "LeftHip", "RightHip")
MIN_CONFIDENCE = 0.3
IMPOSSIBLE = float("inf")
# A joint that is hidden in one view may be anywhere.
MAX_DIFFERENCE = 0.3


def rectified_size_px(rectifier: Rectifier, view: int, body: Region) -> float:
    """Height of a body's region in rectified pixels."""
    centre_px, top_px = rectifier.points(view, np.stack([np.asarray(body.centre_px), body.top_px]))
    return 2 * float(np.linalg.norm(top_px - centre_px))


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two poses fit together as views of one person, everything by the height of the region around them.

    rows: row difference of shoulders and hips, IMPOSSIBLE when the person would be behind the cameras, NaN when the
    trunk is not seen in both views; disparity: of the same, which tells how far away they are; limbs: row difference of
    all joints about that of the trunk, NaN when there are none: people side by side differ in how they stand.
    """

    rows: float
    disparity: float = float("nan")
    limbs: float = float("nan")


UNKNOWN = Agreement(float("nan"))


def agreement(rectifier: Rectifier, poses: tuple[Pose2D, Pose2D], bodies: tuple[Region, Region]) -> Agreement:
    """Compare two poses. bodies: the regions around the person in both views.

    The trunk by its median and the limbs both ways, because one view may exchange left and right.
    """
    skeleton = poses[0].skeleton
    torso = np.isin(np.arange(len(skeleton)), [skeleton.index(joint) for joint in TORSO_JOINTS])
    seen = np.minimum(poses[0].confidence, poses[1].confidence) >= MIN_CONFIDENCE
    if np.count_nonzero(torso & seen) < 2:
        return UNKNOWN
    size_px = float(np.mean([rectified_size_px(rectifier, view, bodies[view]) for view in (0, 1)]))
    # The principal points may lie in different columns: only seen from them is disparity a depth.
    left_px, right_px = (
        rectifier.points(view, poses[view].points_px) - rectifier.rig.centres_px[view] for view in (0, 1)
    )
    disparity, row_difference = np.median((left_px - right_px)[torso & seen], axis=0) / size_px
    if not np.isfinite(disparity) or disparity < MIN_DISPARITY:
        return Agreement(IMPOSSIBLE)
    as_named, other_way = (
        _mean_bounded((left_px[seen, 1] - right_px[order][seen, 1]) / size_px - row_difference)
        for order in (np.arange(len(skeleton)), skeleton.mirror)
    )
    return Agreement(float(abs(row_difference)), float(disparity), min(as_named, other_way))


def _mean_bounded(differences: np.ndarray) -> float:
    """Mean size of what is known, none counting for more than MAX_DIFFERENCE; NaN when nothing is known."""
    known = np.abs(differences[np.isfinite(differences)])
    return float(np.minimum(known, MAX_DIFFERENCE).mean()) if len(known) else float("nan")
