"""Joints that cannot be where they seem to be: a walking person with single joints put elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from binopose.calibration.rectify import RectifiedRig
from binopose.calibration.triangulate import project, triangulate
from binopose.models.epipolar import RowStatistics
from binopose.models.outliers import OutlierGate
from binopose.models.pose import Pose3D
from binopose.models.skeleton import BODY17

# Metres, x to the person's left, y down, z backward.
PERSON_M = np.array(
    [
        [-0.14, 0.85, 0.05], [-0.12, 0.43, -0.06], [-0.10, 0, 0], [0.10, 0, 0], [0.13, 0.43, 0.02], [0.15, 0.85, 0.1],
        [0, 0, 0], [0, -0.26, 0.02], [0, -0.48, 0], [0, -0.72, 0], [-0.30, 0.04, -0.15], [-0.24, -0.2, 0.02],
        [-0.18, -0.46, 0], [0.18, -0.46, 0], [0.28, -0.22, 0.03], [0.36, -0.02, -0.1], [0, -0.58, -0.1],
    ]
)  # fmt: skip
RIG = RectifiedRig(900.0, 640.0, 600.0, 360.0, 0.5, np.eye(3), np.eye(3))
RATE_HZ = 30.0
RIGHT_KNEE, RIGHT_WRIST, RIGHT_ANKLE = (BODY17.joints.index(j) for j in ("RightKnee", "RightWrist", "RightAnkle"))


class Walk:
    """A person who walks to and fro; each step gives the outliers found."""

    def __init__(self, noise_px: float = 1.0) -> None:
        self.gate, self.rows = OutlierGate(), RowStatistics()
        self._rng, self._noise_px, self._frame = np.random.default_rng(0), noise_px, 0

    def step(self, views_px: dict[tuple[int, int], tuple[float, float]] | None = None) -> list[str]:
        """views_px: by (view, joint), how far that joint is moved in that view."""
        points_m = PERSON_M + np.array([0.8 * np.sin(0.05 * self._frame), 0.1, 3.0])
        seen_px = project(RIG, points_m) + self._rng.normal(0, self._noise_px, (2, 17, 2))
        for place, moved_px in (views_px or {}).items():
            seen_px[place] += moved_px
        rows_px = seen_px[0, :, 1] - seen_px[1, :, 1]
        self.rows.observe(rows_px)
        found_m = triangulate(RIG, seen_px[0], seen_px[1])
        pose = Pose3D(found_m, np.ones(17), np.full((17, 3), 0.02), BODY17, self._frame / RATE_HZ)
        self._frame += 1
        return [BODY17.joints[j] for j in np.flatnonzero(self.gate.find(RIG, self.rows, pose, rows_px))]

    def known(self) -> Walk:
        """After a second in which nothing happens."""
        assert [self.step() for _ in range(30)] == [[]] * 30
        return self


@pytest.mark.parametrize("noise_px", [0.2, 1.0, 3.0])
def test_ordinary_noise_has_no_outliers(noise_px: float) -> None:
    walk = Walk(noise_px)
    found = [joint for _ in range(200) for joint in walk.step()]
    assert len(found) <= 0.002 * 200 * 17


@pytest.mark.parametrize("view", [0, 1])
def test_views_that_show_different_things(view: int) -> None:
    walk = Walk().known()
    assert walk.step({(view, RIGHT_WRIST): (0, 40)}) == ["RightWrist"]
    assert walk.step() == []


def test_a_bone_that_cannot_be_so_long() -> None:
    """Moved along the row, which the rows cannot tell, and slowly."""
    walk = Walk().known()
    found = [walk.step({(1, RIGHT_ANKLE): (-2.0 * n, 0)}) for n in range(30)]
    assert found[:3] == [[]] * 3
    assert found[-5:] == [["RightAnkle"]] * 5


def test_the_joint_further_in_is_blamed_alone() -> None:
    walk = Walk().known()
    assert walk.step({(0, RIGHT_KNEE): (0, 45)}) == ["RightKnee"]


def test_a_jump_is_believed_when_it_lasts() -> None:
    walk = Walk().known()
    sideways = {(view, RIGHT_WRIST): (-330.0, 0.0) for view in (0, 1)}
    walk.gate._lengths = OutlierGate()._lengths  # that the forearm is too long is another test
    found = [walk.step(sideways) for _ in range(8)]
    assert found[0] == ["RightWrist"]
    assert found[-1] == []


def test_a_poor_calibration_does_not_empty_the_body() -> None:
    """Rows off by a tenth of the person from the first frame on."""
    walk = Walk()
    tilted = {(1, joint): (0.0, 45.0) for joint in range(17)}
    assert [walk.step(tilted) for _ in range(60)] == [[]] * 60


def test_missing_joints_are_no_outliers() -> None:
    walk = Walk().known()
    nowhere = {(0, joint): (np.nan, np.nan) for joint in (RIGHT_KNEE, RIGHT_WRIST)}
    assert [walk.step(nowhere) for _ in range(5)] == [[]] * 5


def test_reset_forgets_the_lengths() -> None:
    walk = Walk().known()
    walk.gate.reset()
    assert walk.step({(1, RIGHT_ANKLE): (-60, 0)}) == []
