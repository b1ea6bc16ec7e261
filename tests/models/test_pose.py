"""Poses: what they refuse, how joint sets are exchanged, how frames are."""

from __future__ import annotations

import numpy as np
import pytest
from binopose.models.pose import Pose2D, Pose3D
from binopose.models.skeleton import BLAZEPOSE33, BODY17, COCO17, HALPE26, Skeleton
from scipy.spatial.transform import Rotation

SKELETONS = {skeleton.name: skeleton for skeleton in (BODY17, COCO17, HALPE26, BLAZEPOSE33)}


def numbered(skeleton: Skeleton) -> Pose2D:
    """Joint n lies at (10 n, 10 n + 1) with confidence (n + 1) / 100."""
    n = np.arange(len(skeleton))
    return Pose2D(np.stack([10.0 * n, 10.0 * n + 1], axis=1), (n + 1) / 100, skeleton)


def test_wrong_shapes_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"points_px: expected shape \(17, 2\), got \(33, 2\)"):
        Pose2D(np.zeros((33, 2)), np.ones(17), BODY17)
    with pytest.raises(ValueError, match=r"confidence: expected shape \(17,\), got \(17, 1\)"):
        Pose2D(np.zeros((17, 2)), np.ones((17, 1)), BODY17)
    with pytest.raises(ValueError, match="sigma_m"):
        Pose3D(np.zeros((17, 3)), np.ones(17), np.zeros(17), BODY17, 0.0)
    with pytest.raises(ValueError, match="points_m"):
        Pose3D(np.zeros((17, 2)), np.ones(17), np.zeros((17, 3)), BODY17, 0.0)


def test_blazepose_becomes_body17_by_its_published_numbers() -> None:
    body = numbered(BLAZEPOSE33).to_skeleton(BODY17)
    sources = {0: 28, 1: 26, 2: 24, 3: 23, 4: 25, 5: 27, 10: 16, 11: 14, 12: 12, 13: 11, 14: 13, 15: 15, 16: 0}
    for joint, source in sources.items():
        np.testing.assert_array_equal(body.points_px[joint], [10 * source, 10 * source + 1])
        assert body.confidence[joint] == (source + 1) / 100
    np.testing.assert_allclose(body.points_px[6], [235, 236])  # the middle of 23 and 24
    assert body.confidence[6] == 0.24
    assert np.isnan(body.points_px[7:10]).all()
    assert (body.confidence[7:10] == 0).all()


def test_halpe_brings_its_own_pelvis_neck_and_head() -> None:
    body = numbered(HALPE26).to_skeleton(BODY17)
    for joint, source in ((6, 19), (8, 18), (9, 17)):
        np.testing.assert_array_equal(body.points_px[joint], [10 * source, 10 * source + 1])
    assert np.isnan(body.points_px[7]).all()


@pytest.mark.parametrize("missing", ["LeftHip", "RightHip"])
def test_derived_joint_is_not_observed_when_a_source_is_not(missing: str) -> None:
    pose = numbered(COCO17)
    points_px, confidence = pose.points_px.copy(), pose.confidence.copy()
    points_px[COCO17.index(missing)], confidence[COCO17.index(missing)] = np.nan, 0
    body = Pose2D(points_px, confidence, COCO17).to_skeleton(BODY17)
    assert np.isnan(body.points_px[6]).all()
    assert body.confidence[6] == 0


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=list(SKELETONS))
def test_own_skeleton_changes_nothing(skeleton: Skeleton) -> None:
    pose = numbered(skeleton)
    same = pose.to_skeleton(skeleton)
    np.testing.assert_array_equal(same.points_px, pose.points_px)
    np.testing.assert_array_equal(same.confidence, pose.confidence)


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=list(SKELETONS))
def test_confidence_is_zero_exactly_where_nothing_was_observed(skeleton: Skeleton) -> None:
    for target in SKELETONS.values():
        found = numbered(skeleton).to_skeleton(target)
        assert (np.isnan(found.points_px).any(axis=1) == (found.confidence == 0)).all()


def test_moved_pose_keeps_what_is_not_a_place() -> None:
    rng = np.random.default_rng(0)
    points_m, confidence = rng.normal(size=(17, 3)), rng.random(17)
    points_m[4] = np.nan
    turn = Rotation.from_rotvec([0.3, -0.2, 1.1])
    moved = Pose3D(points_m, confidence, np.full((17, 3), 0.01), BODY17, 2.5).moved(
        turn.as_matrix(), np.array([1.0, 2, 3])
    )
    expected_m = turn.apply(np.delete(points_m, 4, 0)) + np.array([1.0, 2, 3])
    np.testing.assert_allclose(np.delete(moved.points_m, 4, 0), expected_m)
    assert np.isnan(moved.points_m[4]).all()
    np.testing.assert_array_equal(moved.confidence, confidence)
    assert moved.timestamp_s == 2.5
    # The same uncertainty in every direction stays so, whichever way it is turned.
    np.testing.assert_allclose(moved.sigma_m, 0.01)


def test_turned_sigma_is_that_of_turned_noise() -> None:
    rng = np.random.default_rng(1)
    turn = Rotation.from_rotvec([0.4, 0.9, -0.3])
    sigma_m = np.tile([0.01, 0.02, 0.08], (17, 1))
    moved = Pose3D(np.zeros((17, 3)), np.ones(17), sigma_m, BODY17, 0.0).moved(turn.as_matrix())
    noise_m = turn.apply(rng.normal(size=(200_000, 3)) * sigma_m[0])
    np.testing.assert_allclose(moved.sigma_m[0], noise_m.std(axis=0), rtol=0.02)
    np.testing.assert_allclose(moved.sigma_m, np.tile(moved.sigma_m[0], (17, 1)))
