"""Joints by convention: bodies with a pelvis, a neck or a head where it should be, and where nobody has it."""

from __future__ import annotations

import numpy as np
import pytest
from binopose.models.definitions import CONVENTIONS, beyond_convention, put_back, trunks, usual_places
from binopose.models.skeleton import BODY17
from scipy.spatial.transform import Rotation

PELVIS, HEAD = BODY17.index("Pelvis"), BODY17.index("HeadTop")
HIPS = [BODY17.index("RightHip"), BODY17.index("LeftHip")]
SHOULDERS = [BODY17.index("RightShoulder"), BODY17.index("LeftShoulder")]


def bodies(count: int = 50, trunk_m: float = 0.5, seed: int = 0) -> np.ndarray:
    """Upright bodies with every joint in the middle of the conventions, turned and moved at random, (N, 17, 3)."""
    rng = np.random.default_rng(seed)
    # To the person's left, up, forward: a right-handed frame.
    body = np.zeros((17, 3))
    body[HIPS] = [[-0.1, 0, 0], [0.1, 0, 0]]
    body[SHOULDERS] = [[-0.17, trunk_m, 0], [0.17, trunk_m, 0]]
    for name, convention in CONVENTIONS.items():
        middle = body[HIPS if convention.base == "Hip" else SHOULDERS].mean(axis=0)
        body[BODY17.index(name)] = middle + trunk_m * np.mean([convention.low, convention.high], axis=0)
    turns = Rotation.random(count, rng=rng).as_matrix()
    return np.einsum("nij,kj->nki", turns, body) + rng.normal(0, 2, (count, 1, 3))


def moved(points_m: np.ndarray, joint: int, by_trunks: tuple[float, float, float]) -> np.ndarray:
    """Bodies with a joint elsewhere, in their own frame."""
    found, points_m = trunks(points_m), points_m.copy()
    points_m[:, joint] += found.length_m[:, None] * np.einsum("nij,j->ni", found.axes, by_trunks)
    return points_m


def test_axes_of_the_trunk() -> None:
    found = trunks(bodies())
    assert found.length_m == pytest.approx(0.5)
    assert np.linalg.det(found.axes) == pytest.approx(1.0)
    left_m = np.diff(bodies()[:, SHOULDERS], axis=1)[:, 0]
    assert np.einsum("ni,ni->n", left_m, found.axes[:, :, 0]) == pytest.approx(0.34)


def test_places_do_not_depend_on_where_the_body_is() -> None:
    places = usual_places(bodies())
    for name, convention in CONVENTIONS.items():
        assert places[BODY17.index(name)] == pytest.approx(np.mean([convention.low, convention.high], axis=0), abs=1e-9)
    assert np.isnan(places[HIPS]).all()


def test_every_known_convention_is_left_alone() -> None:
    for end in ("low", "high"):
        points_m = bodies()
        for name, convention in CONVENTIONS.items():
            middle = np.mean([convention.low, convention.high], axis=0)
            points_m = moved(points_m, BODY17.index(name), tuple(getattr(convention, end) - middle))
        assert not beyond_convention(usual_places(points_m)).any()


def test_what_lies_outside_is_put_back_to_the_edge() -> None:
    """A pelvis a fifth of the trunk too high, as one real detector has it."""
    points_m = moved(bodies(), PELVIS, (0.0, 0.2, 0.0))
    beyond = beyond_convention(usual_places(points_m))
    assert np.flatnonzero(beyond.any(axis=1)).tolist() == [PELVIS]
    # From the middle of the conventions 0.013 are allowed.
    assert beyond[PELVIS] == pytest.approx([0, 0.2 - 0.013, 0], abs=1e-9)
    for pose_m in points_m:
        mended_m = put_back(pose_m, beyond)
        assert np.linalg.norm(mended_m[PELVIS] - mended_m[HIPS].mean(axis=0)) < 0.5 * np.hypot(0.0261, 0.0171)
        np.testing.assert_array_equal(np.delete(mended_m, PELVIS, axis=0), np.delete(pose_m, PELVIS, axis=0))


def test_single_poses_do_not_define_anything() -> None:
    """Bent heads and gross errors in some frames: the median counts."""
    points_m = bodies(60)
    points_m[:20] = moved(points_m[:20], HEAD, (0.0, -0.6, 0.6))
    assert not beyond_convention(usual_places(points_m)).any()


def test_unknown_joints_stay_unknown() -> None:
    points_m = bodies()
    points_m[:, HEAD] = np.nan
    points_m[::2, SHOULDERS[0]] = np.nan
    beyond = beyond_convention(usual_places(points_m))
    assert not beyond.any()
    beyond[PELVIS] = [0, 0.1, 0]
    np.testing.assert_array_equal(put_back(points_m[0], beyond), points_m[0])  # no trunk, no frame
    assert np.isnan(put_back(points_m[1], beyond)[HEAD]).all()


def test_a_trunk_that_cannot_be_moves_nothing() -> None:
    """One hip metres too far away, as a wrong disparity puts it."""
    points_m, beyond = bodies(1)[0], np.zeros((17, 3))
    beyond[PELVIS] = [0, 0.2, 0]
    points_m[HIPS[0]] += [0.0, 0.0, 5.0]
    np.testing.assert_array_equal(put_back(points_m, beyond), points_m)
