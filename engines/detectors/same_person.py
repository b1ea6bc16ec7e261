"""Is it the same person in both views? Matching points lie in one row of the rectified views, the left one ahead.

Measured relative to the person's size: calibrations and detectors err by pixels, people differ by bodies.
"""

from __future__ import annotations

import numpy as np

from ...calibration.rectify import Rectifier
from ...models.pose import Pose2D
from .region import Region

# Poor calibrations stay below 0.1; another person stands elsewhere or has another size.
MAX_MISMATCH = 0.15
# Distant people seen by cameras close together have almost no disparity; noise may make it a little negative.
MIN_DISPARITY = -0.05
TORSO_JOINTS = ("LeftShoulder", "RightShoulder", "LeftHip", "RightHip")
MIN_TORSO_CONFIDENCE = 0.3
IMPOSSIBLE = float("inf")


def rectified_size_px(rectifier: Rectifier, view: int, body: Region) -> float:
    """Height of a body's region in rectified pixels."""
    centre_px, top_px = rectifier.points(view, np.stack([np.asarray(body.centre_px), body.top_px]))
    return 2 * float(np.linalg.norm(top_px - centre_px))


def pose_mismatch(rectifier: Rectifier, poses: tuple[Pose2D, Pose2D], bodies: tuple[Region, Region]) -> float:
    """How badly two poses fit together as views of one person: row difference of the torso by region height.

    IMPOSSIBLE when the person would be behind the cameras; NaN when the torso is not seen in both views.
    bodies: the regions around the person in both views. A median over shoulders and hips, because one view may
    exchange left and right.
    """
    torso = [poses[0].skeleton.index(joint) for joint in TORSO_JOINTS]
    seen = [j for j in torso if min(pose.confidence[j] for pose in poses) >= MIN_TORSO_CONFIDENCE]
    if len(seen) < 2:
        return float("nan")
    size_px = float(np.mean([rectified_size_px(rectifier, view, bodies[view]) for view in (0, 1)]))
    # The principal points may lie in different columns: only seen from them is disparity a depth.
    left_px, right_px = (
        rectifier.points(view, poses[view].points_px[seen]) - rectifier.rig.centres_px[view] for view in (0, 1)
    )
    disparity, row_difference = np.median(left_px - right_px, axis=0) / size_px
    if not np.isfinite(disparity) or disparity < MIN_DISPARITY:
        return IMPOSSIBLE
    return float(abs(row_difference))
