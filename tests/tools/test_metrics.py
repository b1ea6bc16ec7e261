"""The usual errors against scipy's minimisers and worked numbers."""

from __future__ import annotations

import numpy as np
import pytest
from binopose.tools.metrics import align_similarity, pose_errors
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation


def poses(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal([0, 0, 3], 0.4, (count, 17, 3))


def test_worked_example() -> None:
    truth_m = poses(2)
    found_m = truth_m.copy()
    found_m[0, :, 0] += 0.03  # the whole pose by 30 mm
    found_m[1, 5, 2] += 0.17  # one joint by 170 mm
    errors = pose_errors(found_m, truth_m, root=6)
    assert errors["mpjpe_mm"] == pytest.approx((30 + 170 / 17) / 2)
    assert errors["root_relative_mpjpe_mm"] == pytest.approx(10 / 2)
    assert errors["per_joint_mm"] == pytest.approx([15.0] * 5 + [100.0] + [15.0] * 11)
    assert all(type(error) is float for error in errors["per_joint_mm"])


def test_wrong_root_counts_for_every_other_joint() -> None:
    truth_m = poses(3)
    found_m = truth_m.copy()
    found_m[:, 6, 1] -= 0.05
    errors = pose_errors(found_m, truth_m, root=6)
    assert errors["mpjpe_mm"] == pytest.approx(50 / 17)
    assert errors["root_relative_mpjpe_mm"] == pytest.approx(50 * 16 / 17)


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
def test_similarity_is_undone_exactly(scale: float) -> None:
    truth_m = poses(6)
    rng = np.random.default_rng(1)
    turned_m = np.stack([Rotation.from_quat(rng.normal(size=4)).apply(pose) for pose in truth_m])
    moved_m = scale * turned_m + rng.normal(0, 2, (6, 1, 3))
    np.testing.assert_allclose(align_similarity(moved_m, truth_m), truth_m, atol=1e-12)
    assert pose_errors(moved_m, truth_m, 6)["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-8)


def test_mirror_image_is_not_undone() -> None:
    truth_m = poses(4)
    assert pose_errors(truth_m * [-1, 1, 1], truth_m, 6)["pa_mpjpe_mm"] > 100


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("flat", [1.0, 1e-3], ids=["solid", "flat"])
def test_alignment_is_the_least_squares_one(seed: int, flat: float) -> None:
    """scipy minimises over rotation vector, log scale and shift, from the true pose; flat poses invite reflections."""
    rng = np.random.default_rng(seed)
    truth_m = poses(1, seed)[0] * [1, 1, flat]
    found_m = 1.1 * Rotation.from_rotvec([0.4, -0.3, 0.9]).apply(truth_m + rng.normal(0, 0.08, (17, 3))) + [1, 2, 3]

    def residual_m(parameters: np.ndarray) -> np.ndarray:
        turned_m = np.exp(parameters[3]) * Rotation.from_rotvec(parameters[:3]).apply(found_m) + parameters[4:]
        return (turned_m - truth_m).ravel()

    start = np.array([-0.4, 0.3, -0.9, 0, 0, 0, 0])
    best = least_squares(residual_m, start, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    aligned_m = align_similarity(found_m[None], truth_m[None])[0]
    np.testing.assert_allclose(aligned_m, truth_m + best.fun.reshape(17, 3), atol=1e-6)


def test_errors_are_means_over_poses_and_joints() -> None:
    truth_m, found_m = poses(5), poses(5, seed=8)
    errors = pose_errors(found_m, truth_m, 6)
    by_hand = [float(np.sqrt(((f - t) ** 2).sum())) for fs, ts in zip(found_m, truth_m, strict=True)
               for f, t in zip(fs, ts, strict=True)]  # fmt: skip
    assert errors["mpjpe_mm"] == pytest.approx(1e3 * np.mean(by_hand))
    assert errors["mpjpe_mm"] == pytest.approx(np.mean(errors["per_joint_mm"]))
