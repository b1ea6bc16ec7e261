"""Statistics of errors that are put together from known parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from binopose.calibration.errors import UserError
from binopose.calibration.rectify import RectifiedRig
from binopose.calibration.triangulate import project, triangulate
from binopose.models.skeleton import BODY17
from binopose.tools.datasets.benchmark import load_benchmark
from binopose.tools.datasets.observations import Observations, recorded
from binopose.tools.noise_statistics import mirrored_pairs, noise_statistics, trunk_pairs, view_errors_m

SAMPLES = 3000
BASELINE_M = 0.5
_UPRIGHT = {
    "Pelvis": (0, 0), "Hip": (0.13, 0), "Knee": (0.13, 0.45), "Ankle": (0.13, 0.9), "Thorax": (0, -0.25),
    "Neck": (0, -0.5), "Nose": (0, -0.6), "HeadTop": (0, -0.7), "Shoulder": (0.18, -0.48), "Elbow": (0.2, -0.2),
    "Wrist": (0.2, 0.05),
}  # fmt: skip


def person(seated: bool = False) -> np.ndarray:
    """A person 3 m away facing the cameras, (17, 3); seated with thighs toward them."""
    points_m = np.zeros((17, 3))
    for number, joint in enumerate(BODY17.joints):
        x, y = _UPRIGHT[joint.removeprefix("Right").removeprefix("Left")]
        points_m[number] = [x * BODY17.side[number], y, 3.0]
        if seated and joint.endswith(("Knee", "Ankle")):
            points_m[number, 1:] = [y - 0.45, 2.55]
    return points_m


def observed(truth_m: np.ndarray, errors_m: np.ndarray, run: np.ndarray | None = None) -> Observations:
    """What a rig sees that places joints with these errors across, (N, 17, :2), and in depth."""
    depth_m = truth_m[..., 2]
    # Disparity of a point that much further away; the mean of the views is off by the errors across alone.
    disparity = BASELINE_M / (depth_m + errors_m[..., 2]) - BASELINE_M / depth_m
    true = truth_m[..., :2] / depth_m[..., None]
    middle = true + errors_m[..., :2] / depth_m[..., None]
    half = np.stack([disparity / 2, 0 * disparity], axis=-1)
    shift = np.stack([BASELINE_M / depth_m, 0 * depth_m], axis=-1)
    numbers = np.arange(len(truth_m))
    return Observations(
        truth_m, middle + half, middle - half - shift, np.full(len(truth_m), BASELINE_M),
        numbers if run is None else run, numbers,
    )  # fmt: skip


def many(pose_m: np.ndarray, count: int = SAMPLES) -> np.ndarray:
    """The same pose nearer and further away."""
    away_m = np.random.default_rng(9).uniform(-0.2, 0.2, (count, 1, 1))
    return pose_m + away_m * np.array([0, 0, 1])


def test_triangulation_is_that_of_the_program() -> None:
    rng = np.random.default_rng(0)
    observations = observed(many(person(), 20), rng.normal(0, 0.05, (20, 17, 3)))
    rig = RectifiedRig(700, 300, 310, 200, BASELINE_M, np.eye(3), np.eye(3))
    left_px, right_px = (
        view * rig.focal_px + centre
        for view, centre in zip((observations.left, observations.right), rig.centres_px, strict=True)
    )
    np.testing.assert_allclose(observations.observed_m, triangulate(rig, left_px, right_px), atol=1e-12)
    exact = observed(many(person(), 1), np.zeros((1, 17, 3)))
    np.testing.assert_allclose(exact.observed_m, exact.truth_m, atol=1e-12)
    np.testing.assert_allclose(view_errors_m(exact), 0, atol=1e-12)
    np.testing.assert_allclose(exact.right * 700 + rig.centres_px[1], project(rig, exact.truth_m)[1], atol=1e-9)


def test_independent_normal_errors_are_recognised() -> None:
    sd_m = np.array([0.010, 0.005, 0.030])
    statistics = noise_statistics(
        observed(many(person()), sd_m * np.random.default_rng(1).normal(size=(SAMPLES, 17, 3)))
    )
    np.testing.assert_allclose(statistics.sd_mm, np.tile(1e3 * sd_m, (17, 1)), rtol=0.06)
    np.testing.assert_allclose(statistics.median_mm, np.tile(674.5 * sd_m, (17, 1)), rtol=0.08)
    np.testing.assert_allclose(statistics.kurtosis, 3, atol=0.5)
    np.testing.assert_allclose(statistics.body_share, 1 / 17, atol=0.01)
    np.testing.assert_allclose(statistics.disparity_mm, 1e3 * 0.030 * BASELINE_M / 3, rtol=0.08)
    # Of the errors along x, (mean) +- (difference) / 2, the views share the mean.
    shared, apart = 10**2, (30 * BASELINE_M / 3 / 2) ** 2
    np.testing.assert_allclose(statistics.view_correlation[:, 0], (shared - apart) / (shared + apart), atol=0.05)
    np.testing.assert_allclose(statistics.rows_mm, 0, atol=1e-9)
    for pairs in (mirrored_pairs(), BODY17.bone_indices, trunk_pairs()):
        np.testing.assert_allclose(statistics.correlation_of(pairs), 0, atol=0.05)
    assert statistics.over_time == {}
    assert list(statistics.postures) == ["upright"]


def test_what_joints_have_in_common_is_recognised() -> None:
    rng = np.random.default_rng(2)
    body_m = 0.02 * rng.normal(size=(SAMPLES, 1, 3))
    own_m = 0.02 * rng.normal(size=(SAMPLES, 17, 3))
    own_m[:, BODY17.index("LeftWrist")] = own_m[:, BODY17.index("RightWrist")]
    statistics = noise_statistics(observed(many(person()), body_m + own_m))
    np.testing.assert_allclose(statistics.body_mm, 20, rtol=0.08)
    np.testing.assert_allclose(statistics.body_share, 0.53, atol=0.03)
    # Rank correlation of normal values that correlate by a half.
    np.testing.assert_allclose(statistics.correlation_of(BODY17.bone_indices), 0.483, atol=0.03)
    wrists = [BODY17.index("LeftWrist"), BODY17.index("RightWrist")]
    np.testing.assert_allclose(statistics.correlation_of(np.array([wrists])), 1)


def test_heavy_tails_and_gross_errors_are_recognised() -> None:
    rng = np.random.default_rng(3)
    errors_m = 0.005 * rng.normal(size=(SAMPLES, 17, 3))
    struck = rng.uniform(size=(SAMPLES, 17)) < 0.02
    errors_m[struck, 0] += 0.3
    statistics = noise_statistics(observed(many(person()), errors_m))
    np.testing.assert_allclose(statistics.gross_share.mean(), struck.mean())
    assert statistics.kurtosis[:, 0].min() > 20
    np.testing.assert_allclose(statistics.kurtosis[:, 1], 3, atol=0.5)


def test_correlation_over_time_is_that_of_the_process() -> None:
    rng = np.random.default_rng(4)
    errors_m = rng.normal(size=(SAMPLES, 17, 3))
    for n in range(1, SAMPLES):
        errors_m[n] = 0.8 * errors_m[n - 1] + 0.6 * errors_m[n]
    found = noise_statistics(observed(many(person()), 0.01 * errors_m, np.zeros(SAMPLES, int))).over_time
    assert list(found) == [1, 5, 20]
    for lag, expected in ((1, 0.8), (5, 0.328), (20, 0.012)):
        np.testing.assert_allclose(found[lag], expected, atol=0.04)
    # In runs of two samples there is nothing five samples later, and nothing connects one run with the next.
    cut = noise_statistics(observed(many(person()), 0.01 * errors_m, np.arange(SAMPLES) // 2)).over_time
    assert list(cut) == [1]
    np.testing.assert_allclose(cut[1], 0.8, atol=0.04)


def test_a_trunk_that_slides_along_the_thighs_is_recognised() -> None:
    truth_m = np.concatenate([many(person(), 2000), many(person(seated=True), 500)])
    errors_m = 0.002 * np.random.default_rng(5).normal(size=(2500, 17, 3))
    above = [n for n, joint in enumerate(BODY17.joints) if not joint.endswith(("Knee", "Ankle"))]
    errors_m[2000:, above, 2] -= 0.05
    errors_m[2000:, BODY17.index("Pelvis"), 2] -= 0.02
    postures = noise_statistics(observed(truth_m, errors_m)).postures
    assert postures["seated"].share == pytest.approx(0.2)
    assert postures["seated"].along_thigh_mm == pytest.approx(50, abs=1)
    assert postures["seated"].thigh_mm == pytest.approx(-50, abs=1)
    assert postures["seated"].trunk_mm[2] == pytest.approx(-50, abs=1)
    assert postures["seated"].pelvis_mm[2] == pytest.approx(-20, abs=1)
    assert postures["upright"].along_thigh_mm == pytest.approx(0, abs=1)


def test_no_disparity_is_refused() -> None:
    observations = observed(many(person(), 30), np.zeros((30, 17, 3)))
    right = observations.right.copy()
    right[4, 3] = observations.left[4, 3]
    with pytest.raises(UserError, match=r"1 of 30 samples.*disparity"):
        noise_statistics(replace(observations, right=right))


def test_recorded_files_are_as_their_description_says(shared_data: Path) -> None:
    observations = recorded(load_benchmark(shared_data / "benchmark" / "h36m_s9.npz"))
    assert len(observations) == 1179
    distance_mm = np.linalg.norm(observations.observed_m - observations.truth_m, axis=-1).mean() * 1e3
    assert distance_mm == pytest.approx(26.34, abs=0.3)
    assert observations.baseline_m == pytest.approx(3.908, abs=1e-3)
    assert len(np.unique(observations.run)) == 15
    statistics = noise_statistics(observations)
    # "Very heavy tails", "errors of different joints are nearly independent", rows alike.
    assert np.max(statistics.kurtosis) > 80
    assert abs(statistics.rank_correlation[:, *np.triu_indices(17, 1)].mean()) < 0.1
    assert statistics.rows_mm.max() < 1
