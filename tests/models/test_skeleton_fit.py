"""The skeleton fit on a made-up person whose bones have known, constant lengths."""

from __future__ import annotations

import numpy as np
import pytest
from binopose.models.skeleton import BODY17
from binopose.models.skeleton_fit import SkeletonFit, observation_sigma_m
from scipy.spatial.transform import Rotation

# Standing upright in metres, x to the person's left, y down, z backward; what a camera in front sees.
STANDING_M = {
    "Pelvis": (0.0, 0.0, 0.0),
    "RightHip": (-0.11, 0.0, 0.0), "RightKnee": (-0.11, 0.43, 0.0), "RightAnkle": (-0.11, 0.85, 0.03),
    "LeftHip": (0.11, 0.0, 0.0), "LeftKnee": (0.11, 0.43, 0.0), "LeftAnkle": (0.11, 0.85, 0.03),
    "Thorax": (0.0, -0.27, 0.01), "Neck": (0.0, -0.50, 0.0), "Nose": (0.0, -0.60, -0.10), "HeadTop": (0.0, -0.73, 0.0),
    "RightShoulder": (-0.18, -0.46, 0.0), "RightElbow": (-0.21, -0.18, 0.0), "RightWrist": (-0.21, 0.06, -0.06),
    "LeftShoulder": (0.18, -0.46, 0.0), "LeftElbow": (0.21, -0.18, 0.0), "LeftWrist": (0.21, 0.06, -0.06),
}  # fmt: skip
LIMBS = ("Knee", "Ankle", "Elbow", "Wrist")
ACROSS_M, DEPTH_M = 0.015, 0.045
FOCAL_PX, BASELINE_M = 900.0, 0.25
FRAMES = 240


def person_m(frames: int, seed: int) -> np.ndarray:
    """Somebody who turns, leans and moves arms and legs 3 m away, (frames, 17, 3); every bone keeps its length."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(frames) / 30

    def swing(amplitude_rad: float) -> Rotation:
        rate, phase = rng.uniform(0.1, 0.5, 3), rng.uniform(0, 2 * np.pi, 3)
        return Rotation.from_rotvec(amplitude_rad * np.sin(2 * np.pi * rate * time_s[:, None] + phase))

    template = np.array([STANDING_M[joint] for joint in BODY17.joints])
    path_m = np.array([0, 0.1, 3.0]) + 0.4 * np.sin(time_s[:, None] * [0.7, 0.3, 0.5] + rng.uniform(0, 6, 3))
    points_m = np.empty((frames, 17, 3))
    points_m[:, BODY17.index("Pelvis")] = path_m
    turns = {"Pelvis": swing(0.5)}
    for child, parent in BODY17.bones:
        limb = child.removeprefix("Right").removeprefix("Left") in LIMBS
        turns[child] = turns[parent] * swing(0.7) if limb else turns[parent]
        offset_m = template[BODY17.index(child)] - template[BODY17.index(parent)]
        points_m[:, BODY17.index(child)] = points_m[:, BODY17.index(parent)] + turns[child].apply(
            np.tile(offset_m, (frames, 1))
        )
    return points_m


def observed_m(truth_m: np.ndarray, seed: int) -> np.ndarray:
    """The truth with noise that is three times larger in depth."""
    return truth_m + np.random.default_rng(1000 + seed).normal(0, [ACROSS_M, ACROSS_M, DEPTH_M], truth_m.shape)


def sigma_of(points_m: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    row_noise_px = DEPTH_M * FOCAL_PX * BASELINE_M / 3.0**2
    return observation_sigma_m(points_m, confidence, FOCAL_PX, BASELINE_M, row_noise_px)


def refine_all(fit: SkeletonFit, seen_m: np.ndarray, confidence: np.ndarray | None = None) -> np.ndarray:
    """Run all frames through the fit, (frames, 17, 3)."""
    confidence = np.ones(seen_m.shape[:2]) if confidence is None else confidence
    frames = zip(seen_m, confidence, strict=True)
    return np.stack([fit.refine(frame_m, sure, sigma_of(frame_m, sure))[0] for frame_m, sure in frames])


def error_m(found_m: np.ndarray, truth_m: np.ndarray) -> np.ndarray:
    return np.linalg.norm(found_m - truth_m, axis=-1)


def test_the_made_up_person_keeps_its_bones() -> None:
    truth_m = person_m(60, 0)
    for child, parent in BODY17.bones:
        length_m = np.linalg.norm(truth_m[:, BODY17.index(child)] - truth_m[:, BODY17.index(parent)], axis=1)
        assert np.ptp(length_m) < 1e-12
    assert np.ptp(truth_m[:, BODY17.index("RightWrist")] - truth_m[:, 6], axis=0).min() > 0.1


@pytest.mark.parametrize("seed", range(4))
def test_noise_falls_clearly(seed: int) -> None:
    truth_m = person_m(FRAMES, seed)
    seen_m = observed_m(truth_m, seed)
    found_m = refine_all(SkeletonFit(), seen_m)
    settled = slice(60, None)
    before, after = error_m(seen_m, truth_m)[settled], error_m(found_m, truth_m)[settled]
    assert after.mean() < 0.88 * before.mean()
    assert np.percentile(after, 95) < np.percentile(before, 95)
    # No joint pays for the others.
    assert (after.mean(axis=0) < 1.05 * before.mean(axis=0)).all()


def test_moving_shoulder_girdle_is_left_to_move() -> None:
    """Shoulders, with their arms, ride up and forward by 4 cm: no bone changes, so nothing is to be corrected."""
    truth_m = person_m(160, 5)
    shrug_m = 0.04 * np.sin(np.arange(160) * 0.15)[:, None, None] * np.array([0, 1, 0.5])
    arms = [n for n, joint in enumerate(BODY17.joints) if any(part in joint for part in ("Shoulder", "Elbow", "Wrist"))]
    truth_m[:, arms] += shrug_m
    found_m = refine_all(SkeletonFit(), truth_m)
    assert error_m(found_m, truth_m)[60:].max() < 0.02


@pytest.mark.parametrize("seed", range(2))
def test_bones_become_steadier(seed: int) -> None:
    truth_m = person_m(FRAMES, seed)
    seen_m = observed_m(truth_m, seed)
    found_m = refine_all(SkeletonFit(), seen_m)
    limbs = np.array([n for n, bone in enumerate(BODY17.rigid_bones) if any(limb in bone[0] for limb in LIMBS)])

    def spread_m(points_m: np.ndarray) -> float:
        ends_m = points_m[60:, BODY17.rigid_bone_indices[limbs]]
        return float(np.linalg.norm(ends_m[:, :, 0] - ends_m[:, :, 1], axis=-1).std(axis=0).mean())

    assert spread_m(found_m) < 0.6 * spread_m(seen_m)


def test_learns_the_bone_lengths() -> None:
    truth_m = person_m(FRAMES, 3)
    fit = SkeletonFit()
    refine_all(fit, truth_m + np.random.default_rng(0).normal(0, 0.003, truth_m.shape))
    ends_m = truth_m[0][BODY17.rigid_bone_indices]
    bones = fit.lengths.median_m[BODY17.rigid_bone_groups]
    np.testing.assert_allclose(bones, np.linalg.norm(ends_m[:, 0] - ends_m[:, 1], axis=1), atol=0.003)
    fit.reset()
    assert np.isnan(fit.lengths.median_m).all()


def test_nothing_is_changed_that_is_right() -> None:
    truth_m = person_m(120, 5)
    found_m = refine_all(SkeletonFit(), truth_m)
    assert error_m(found_m, truth_m)[30:].max() < 0.002


def test_is_causal_and_forgets() -> None:
    seen_m = observed_m(person_m(80, 6), 6)
    fit = SkeletonFit()
    whole_m = refine_all(fit, seen_m)
    np.testing.assert_array_equal(refine_all(SkeletonFit(), seen_m[:50]), whole_m[:50])
    fit.reset()
    np.testing.assert_array_equal(refine_all(fit, seen_m), whole_m)


def test_inputs_stay_as_they_are() -> None:
    seen_m = observed_m(person_m(3, 7), 7)
    seen_m[:, BODY17.index("LeftWrist")] = np.nan
    confidence = np.ones(17)
    fit = SkeletonFit()
    for frame_m in seen_m:
        sigma_m = sigma_of(frame_m, confidence)
        copies = frame_m.copy(), confidence.copy(), sigma_m.copy()
        fit.refine(frame_m, confidence, sigma_m)
        for now, before in zip((frame_m, confidence, sigma_m), copies, strict=True):
            np.testing.assert_array_equal(now, before)


@pytest.mark.parametrize("joint", ["LeftWrist", "RightElbow", "RightKnee", "LeftAnkle", "Nose"])
def test_gross_outlier_moves_back_and_leaves_its_neighbours(joint: str) -> None:
    truth_m = person_m(160, 8)
    seen_m = truth_m + np.random.default_rng(8).normal(0, 0.004, truth_m.shape)
    fit, number = SkeletonFit(), BODY17.index(joint)
    refine_all(fit, seen_m[:120])
    wrong_m = seen_m[120:].copy()
    wrong_m[::4, number, 2] += 0.6
    found_m = refine_all(fit, wrong_m)[::4]
    neighbours = [n for n in range(17) if n != number]
    worst_m = error_m(found_m, truth_m[120::4])[:, neighbours].max(axis=1)
    # A joint moved along one bone may keep the length of the other: then no skeleton tells which joint is wrong.
    assert np.mean(worst_m < 0.1) >= 0.7
    assert error_m(found_m, truth_m[120::4])[:, number].mean() < 0.45


BLAZEPOSE_LACKS = ("Thorax", "Neck", "HeadTop")


@pytest.mark.parametrize("seed", range(3))
def test_joints_no_detector_gives_are_put_where_the_trunk_says(seed: int) -> None:
    truth_m = person_m(120, seed)
    seen_m = truth_m + np.random.default_rng(seed).normal(0, 0.004, truth_m.shape)
    missing = [BODY17.index(joint) for joint in BLAZEPOSE_LACKS]
    confidence = np.ones((120, 17))
    seen_m[:, missing], confidence[:, missing] = np.nan, 0
    found_m = refine_all(SkeletonFit(), seen_m, confidence)
    assert np.isfinite(found_m).all()
    # The proportions come from other people; a head top is placed to a few centimetres, not a head's length.
    assert error_m(found_m, truth_m)[:, missing].mean(axis=0).max() < 0.08
    seen = [n for n in range(17) if n not in missing]
    assert error_m(found_m, truth_m)[40:, seen].mean() < 1.3 * error_m(seen_m, truth_m)[40:, seen].mean()


def test_hidden_wrist_is_carried_along_with_its_arm() -> None:
    truth_m = person_m(160, 2)
    seen_m = truth_m + np.random.default_rng(2).normal(0, 0.004, truth_m.shape)
    fit, wrist = SkeletonFit(), BODY17.index("RightWrist")
    refine_all(fit, seen_m[:120])
    confidence = np.ones((6, 17))
    hidden_m = seen_m[120:126].copy()
    hidden_m[:, wrist], confidence[:, wrist] = np.nan, 0
    found_m = refine_all(fit, hidden_m, confidence)
    assert error_m(found_m, truth_m[120:126])[:, wrist].max() < 0.15
    length_m = np.linalg.norm(found_m[:, wrist] - found_m[:, BODY17.index("RightElbow")], axis=1)
    assert length_m == pytest.approx(np.full(6, np.hypot(0.24, 0.06)), abs=0.03)


def test_sigma_of_inferred_joints_is_larger_than_of_seen_ones() -> None:
    truth_m = person_m(80, 4)
    confidence = np.ones(17)
    fit = SkeletonFit()
    for frame_m in truth_m[:-1]:
        fit.refine(frame_m, confidence, sigma_of(frame_m, confidence))
    _, seen_sigma_m = fit.refine(truth_m[-1], confidence, sigma_of(truth_m[-1], confidence))
    wrist = BODY17.index("LeftWrist")
    hidden_m, hidden_confidence = truth_m[-1].copy(), confidence.copy()
    hidden_m[wrist], hidden_confidence[wrist] = np.nan, 0
    _, sigma_m = fit.refine(hidden_m, hidden_confidence, sigma_of(hidden_m, hidden_confidence))
    assert np.isfinite(sigma_m).all()
    assert sigma_m[wrist].max() > 2 * seen_sigma_m[wrist].max()


def test_fit_is_surer_than_the_observation() -> None:
    seen_m = observed_m(person_m(80, 4), 4)
    confidence = np.ones(17)
    fit = SkeletonFit()
    refine_all(fit, seen_m[:-1])
    before_m = sigma_of(seen_m[-1], confidence)
    _, after_m = fit.refine(seen_m[-1], confidence, before_m)
    usual = [n for n in range(17) if n != BODY17.index("Pelvis")]
    assert (np.median(after_m[usual] / before_m[usual], axis=0) < 1.0).all()


@pytest.mark.parametrize("seed", range(6))
def test_any_pattern_of_missing_joints_is_survived(seed: int) -> None:
    """Nothing, one joint, half of them, everything but the trunk: never an exception, never infinity."""
    rng = np.random.default_rng(seed)
    truth_m = person_m(60, seed)
    seen_m, confidence = observed_m(truth_m, seed), rng.uniform(0.2, 1, (60, 17))
    for frame in range(60):
        missing = rng.random(17) < rng.choice([0, 0.1, 0.5, 0.9, 1.0])
        seen_m[frame, missing], confidence[frame, missing] = np.nan, 0
    fit = SkeletonFit()
    for frame_m, sure in zip(seen_m, confidence, strict=True):
        with np.errstate(all="raise", under="ignore"):
            found_m, sigma_m = fit.refine(frame_m, sure, sigma_of(frame_m, sure))
        assert not np.isinf(found_m).any()
        assert not np.isinf(sigma_m).any()
        known = np.isfinite(frame_m).all(axis=1) & (sure > 0)
        assert np.isfinite(found_m[known]).all()
        assert (np.isfinite(found_m).all(axis=1) == np.isfinite(found_m).any(axis=1)).all()
        assert np.linalg.norm(found_m[known] - frame_m[known], axis=1).max(initial=0) < 0.4


def test_nothing_observed_gives_nothing() -> None:
    nothing_m, confidence = np.full((17, 3), np.nan), np.zeros(17)
    fit = SkeletonFit()
    assert np.isnan(fit.refine(nothing_m, confidence, sigma_of(nothing_m, confidence))[0]).all()
    refine_all(fit, observed_m(person_m(60, 0), 0))
    for _ in range(3):
        assert np.isnan(fit.refine(nothing_m, confidence, sigma_of(nothing_m, confidence))[0]).all()


def test_recovers_after_nobody_was_seen() -> None:
    truth_m = person_m(160, 1)
    seen_m, confidence = observed_m(truth_m, 1), np.ones((160, 17))
    whole_m = refine_all(SkeletonFit(), seen_m)
    seen_m[80:100], confidence[80:100] = np.nan, 0
    found_m = refine_all(SkeletonFit(), seen_m, confidence)
    assert error_m(found_m, truth_m)[100:].mean() < 1.03 * error_m(whole_m, truth_m)[100:].mean()


def test_joint_without_confidence_counts_as_not_observed() -> None:
    truth_m = person_m(60, 2)
    fit = SkeletonFit()
    refine_all(fit, truth_m[:-1])
    astray_m, confidence = truth_m[-1].copy(), np.ones(17)
    wrist = BODY17.index("LeftWrist")
    astray_m[wrist] += 5.0
    confidence[wrist] = 0
    found_m, _ = fit.refine(astray_m, confidence, sigma_of(astray_m, confidence))
    assert error_m(found_m, truth_m[-1])[wrist] < 0.1


def test_doubtful_joints_teach_nothing() -> None:
    truth_m = person_m(60, 3)
    fit = SkeletonFit()
    refine_all(fit, truth_m * 1.3, np.full((60, 17), 0.4))
    assert np.isnan(fit.lengths.median_m).all()


def test_observation_sigma_in_closed_form() -> None:
    points_m = np.array([[0, 0, 2.0], [0, 0, 8.0], [0, 0, 2.0], [np.nan] * 3])
    confidence = np.array([1.0, 1.0, 0.5, 0.0])
    sigma_m = observation_sigma_m(points_m, confidence, 800.0, 0.2, 1.0)
    np.testing.assert_allclose(sigma_m[:, 0], sigma_m[:, 1])
    assert sigma_m[2, 0] == pytest.approx(2 * sigma_m[0, 0])
    # Far away the rows' own noise rules: Z^2 / (f B).
    assert sigma_m[1, 2] == pytest.approx(64 / 160)
    assert sigma_m[0, 2] >= 4 / 160
    # Near, or with rows that agree, depth is still less certain than what lies across the line of sight.
    assert (observation_sigma_m(points_m, confidence, 800.0, 0.2, 0.0)[:3, 2] >= 1.5 * sigma_m[:3, 0]).all()


@pytest.mark.parametrize("jump_m", [0.4, 1.2])
def test_a_joint_in_doubt_is_not_called_certain(jump_m: float) -> None:
    truth_m = person_m(160, 5)
    random = np.random.default_rng(5)
    seen_m = truth_m + random.normal(0, 0.004, truth_m.shape)
    fit = SkeletonFit()
    refine_all(fit, seen_m[:120])
    for frame_m, true_m in zip(seen_m[120:], truth_m[120:], strict=True):
        joint = int(random.integers(17))
        direction = random.normal(size=3)
        wrong_m = frame_m.copy()
        wrong_m[joint] += jump_m * direction / np.linalg.norm(direction)
        found_m, sigma_m = fit.refine(wrong_m, np.ones(17), sigma_of(wrong_m, np.ones(17)))
        off_m = np.linalg.norm(found_m - true_m, axis=1)
        # Where the fit is far off, its own sigma is no smaller than that of a joint nobody doubts.
        assert (sigma_m.max(axis=1)[off_m > 0.1] > 0.01).all()
