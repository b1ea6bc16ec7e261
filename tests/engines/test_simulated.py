"""The simulated detector: exact without noise, and with it as wrong as its profile and real detections say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.calibration.rectify import Rectifier, RectifyMode
from binopose.calibration.rig import Camera, RigidTransform, StereoRig
from binopose.calibration.triangulate import triangulate
from binopose.engines.detectors.simulated import DetectorNoise, SimulatedDetector
from binopose.models.pose import Pose2D
from binopose.models.skeleton import BODY17
from scipy.stats import kurtosis, rankdata

NO_NOISE = DetectorNoise(
    common_sd_px=0.0, disparity_sd_px=0.0, row_sd_px=0.0, gross_share=0.0, missing_share=0.0, confidence_log_sd=0.0
)


SIZE_PX = (1280, 720)
PICTURE = np.broadcast_to(np.uint8(0), (720, 1280, 3))

# Somebody standing 1.65 m tall from ankle to head top, around the origin, x right, y down.
STANDING_M = np.array([
    [-0.1, 0.85, 0], [-0.1, 0.43, 0], [-0.1, 0.0, 0], [0.1, 0.0, 0], [0.1, 0.43, 0], [0.1, 0.85, 0], [0, 0, 0],
    [0, -0.27, 0.02], [0, -0.54, 0], [0, -0.8, 0], [-0.3, 0.02, -0.1], [-0.25, -0.23, 0], [-0.18, -0.5, 0],
    [0.18, -0.5, 0], [0.25, -0.23, 0], [0.3, 0.02, -0.1], [0, -0.65, -0.09],
])  # fmt: skip


def standing_at(x_m: float = 0.0, depth_m: float = 3.0) -> np.ndarray:
    return STANDING_M + np.array([x_m, 0.0, depth_m])


def make_rig(turn_rad: float = 0.03) -> StereoRig:
    matrix = np.array([[930.0, 0, 645.0], [0, 931.0, 355.0], [0, 0, 1]])
    left = Camera(SIZE_PX, matrix, np.array([-0.2, 0.05, 0.001, -0.0005, 0]))
    right = Camera(
        SIZE_PX, matrix + np.array([[5, 0, -8], [0, 5, 6], [0, 0, 0]]), np.array([-0.15, 0.03, -0.001, 0.0008, 0])
    )
    rotation, _ = cv2.Rodrigues(np.array([0.004, turn_rad, -0.006]))
    # The right camera 0.25 m to the right of the left one.
    return StereoRig(left, right, RigidTransform(rotation, -rotation @ [0.25, 0.0, 0.0]))


def detect_all(
    detector: SimulatedDetector, times_s: np.ndarray, picture: np.ndarray = PICTURE
) -> tuple[np.ndarray, np.ndarray]:
    """Points (T, 2, 17, 2) px and confidences (T, 2, 17)."""
    found = []
    for time_s in times_s:
        left, right = detector.detect(picture, picture, float(time_s))
        assert left is not None
        assert right is not None
        found.append((left, right))
    return (
        np.array([[pose.points_px for pose in pair] for pair in found]),
        np.array([[pose.confidence for pose in pair] for pair in found]),
    )


def errors_of(noise: DetectorNoise, times_s: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Errors in pixels of the crop, (T, 2, 17, 2), and confidences (T, 2, 17), for somebody standing still."""
    rectifier, truth_m = Rectifier(make_rig()), standing_at()
    noisy_px, confidence = detect_all(SimulatedDetector(lambda _: truth_m, rectifier, noise, seed), times_s)
    exact_px, _ = detect_all(SimulatedDetector(lambda _: truth_m, rectifier, NO_NOISE), times_s[:1])
    crop_side_px = noise.crop_per_person * np.ptp(exact_px[0, :, :, 1], axis=1).mean()
    return (noisy_px - exact_px) * noise.crop_px / crop_side_px, confidence


def parts_of(errors_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Common (T, 17, 2) and left minus right (T, 17, 2)."""
    return errors_px.mean(axis=1), errors_px[:, 0] - errors_px[:, 1]


def opencv_pixels(rig: StereoRig, truth_m: np.ndarray) -> np.ndarray:
    """Pixels of both recorded pictures, (2, 17, 2)."""
    turn, _ = cv2.Rodrigues(rig.right_from_left.rotation)
    left, _ = cv2.projectPoints(truth_m, np.zeros(3), np.zeros(3), rig.left.matrix, rig.left.distortion)
    right, _ = cv2.projectPoints(
        truth_m, turn, rig.right_from_left.translation_m, rig.right.matrix, rig.right.distortion
    )
    return np.stack([left.reshape(-1, 2), right.reshape(-1, 2)])


@pytest.mark.parametrize("mode", ["images", "points"])
def test_without_noise_it_tells_the_truth(mode: RectifyMode) -> None:
    rig, truth_m = make_rig(), standing_at(0.2, 3.1)
    rectifier = Rectifier(rig, mode)
    detector = SimulatedDetector(lambda _: truth_m, rectifier, NO_NOISE)
    points_px, confidence = detect_all(detector, np.array([0.0]))
    expected_px = opencv_pixels(rig, truth_m)
    if mode == "images":
        rotations = (rectifier.rig.left_from_rectified.T, rectifier.rig.right_from_rectified.T)
        for view, (camera, rotation) in enumerate(zip((rig.left, rig.right), rotations, strict=True)):
            target = np.eye(3) * [rectifier.rig.focal_px, rectifier.rig.focal_px, 1]
            target[:2, 2] = rectifier.rig.centres_px[view]
            criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
            expected_px[view] = cv2.undistortPoints(
                expected_px[view][:, None], camera.matrix, camera.distortion, R=rotation, P=target, criteria=criteria
            ).reshape(-1, 2)
    np.testing.assert_allclose(points_px[0], expected_px, atol=1e-4)
    assert (confidence == 1).all()
    rectified_m = triangulate(rectifier.rig, rectifier.points(0, points_px[0, 0]), rectifier.points(1, points_px[0, 1]))
    np.testing.assert_allclose(rectified_m @ rectifier.rig.left_from_rectified.T, truth_m, atol=1e-5)


# Far apart, so that every moment is a fresh draw.
FRESH_S = np.arange(4000) * 100.0
COMPLETE = DetectorNoise(missing_share=0.0)


@pytest.fixture(scope="module")
def fresh_errors() -> tuple[np.ndarray, np.ndarray]:
    """Errors and confidences of the default profile without missing joints."""
    return errors_of(COMPLETE, FRESH_S)


def test_the_parts_of_the_error_are_as_large_as_asked(fresh_errors: tuple[np.ndarray, np.ndarray]) -> None:
    errors_px, _ = fresh_errors
    common, between = parts_of(errors_px)
    for axis in (0, 1):
        assert common[..., axis].std() == pytest.approx(COMPLETE.common_sd_px, rel=0.05)
    assert between[..., 0].std() == pytest.approx(COMPLETE.disparity_sd_px, rel=0.05)
    assert between[..., 1].std() == pytest.approx(COMPLETE.row_sd_px, rel=0.05)
    assert abs(common.mean()) < 0.1
    # Parts are independent, so the views' correlation follows from their sizes.
    expected = (3.8**2 - 0.25**2) / (3.8**2 + 0.25**2)
    assert np.corrcoef(errors_px[:, 0, :, 0].ravel(), errors_px[:, 1, :, 0].ravel())[0, 1] == pytest.approx(
        expected, abs=0.001
    )


@pytest.mark.parametrize(
    "noise",
    [
        COMPLETE,
        replace(COMPLETE, gross_share=0.0, level_log_sd=0.0),
        replace(COMPLETE, gross_factor=4.0, level_log_sd=0.2),
    ],
)
def test_the_tails_are_as_heavy_as_the_profile_says(noise: DetectorNoise) -> None:
    common, between = parts_of(errors_of(noise, FRESH_S)[0])
    for values in (common[..., 0], common[..., 1], between[..., 0]):
        assert kurtosis(values.ravel(), fisher=False) == pytest.approx(noise.kurtosis, rel=0.2)
    if noise.gross_share == 0:
        assert noise.kurtosis == 3


def test_errors_drift_at_the_given_pace() -> None:
    noise = replace(COMPLETE, level_log_sd=0.0, gross_share=0.0, slow_time_s=1.5)
    common = parts_of(errors_of(noise, np.arange(4000) * 0.05)[0])[0]
    for lag in (1, 3, 10):
        measured = (common[:-lag] * common[lag:]).mean() / common.var()
        elapsed_s = 0.05 * lag
        expected = 0.65 * np.exp(-elapsed_s / noise.fast_time_s) + 0.35 * np.exp(-elapsed_s / 1.5)
        assert measured == pytest.approx(expected, abs=0.03)


def test_the_level_varies_between_frames_and_is_shared_by_the_joints() -> None:
    noise = replace(COMPLETE, gross_share=0.0, body_share=0.0)
    common = parts_of(errors_of(noise, FRESH_S)[0])[0]
    level_log = np.log(np.square(common).mean(axis=(1, 2))) / 2
    # The mean of 34 squared normals scatters by itself: variance of its logarithm about 2 / 34.
    assert level_log.std() == pytest.approx(np.sqrt(0.4**2 + 2 / 34 / 4), rel=0.08)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.6])
def test_joints_err_together_as_much_as_asked(share: float) -> None:
    noise = replace(COMPLETE, body_share=share, level_log_sd=0.0, gross_share=0.0)
    for part in parts_of(errors_of(noise, FRESH_S[:1500])[0]):
        between_joints = np.corrcoef(part[..., 0].T)[np.triu_indices(17, 1)]
        assert between_joints.mean() == pytest.approx(share, abs=0.04)


def test_missing_joints_are_as_frequent_and_as_long_as_asked() -> None:
    noise = replace(COMPLETE, missing_share=0.1, missing_time_s=0.5)
    step_s = 0.02
    errors_px, confidence = errors_of(noise, np.arange(5000) * step_s)
    missing = np.isnan(errors_px[..., 0])
    assert missing.mean() == pytest.approx(0.1, abs=0.02)
    np.testing.assert_array_equal(missing, np.isnan(errors_px[..., 1]))
    np.testing.assert_array_equal(missing, confidence == 0)
    ends = (missing[:-1] & ~missing[1:]).sum()
    assert missing.sum() * step_s / ends == pytest.approx(0.5, rel=0.2)
    assert (missing[:, 0] != missing[:, 1]).any()


def test_confidence_falls_with_the_error(fresh_errors: tuple[np.ndarray, np.ndarray]) -> None:
    errors_px, confidence = fresh_errors
    size_px = np.linalg.norm(errors_px, axis=-1)
    ranks = rankdata([size_px.ravel(), confidence.ravel()], axis=1)
    assert -0.95 < np.corrcoef(ranks)[0, 1] < -0.5
    assert (confidence > 0).all()
    assert (confidence <= 1).all()
    assert np.median(confidence) > 0.8
    assert np.median(confidence[size_px > 25]) < 0.3


def test_errors_grow_with_the_person_in_the_picture() -> None:
    rectifier = Rectifier(make_rig())
    errors = []
    for depth_m in (2.5, 5.0):
        truth_m = standing_at(depth_m=depth_m)
        truth_m[:, 2] = depth_m  # flat, so that twice as far is exactly half as large
        noisy, _ = detect_all(SimulatedDetector(lambda _, t=truth_m: t, rectifier, COMPLETE), np.arange(20.0))
        exact, _ = detect_all(SimulatedDetector(lambda _, t=truth_m: t, rectifier, NO_NOISE), np.arange(1.0))
        errors.append(noisy - exact)
    np.testing.assert_allclose(errors[0], 2 * errors[1], rtol=0.02, atol=1e-6)


def test_the_same_seed_and_times_give_the_same_detections() -> None:
    rectifier, times_s = Rectifier(make_rig()), np.arange(30) / 30

    def fresh(seed: int) -> SimulatedDetector:
        return SimulatedDetector(lambda _: standing_at(), rectifier, seed=seed)

    detector = fresh(3)
    first, first_confidence = detect_all(detector, times_s)
    detector.reset()
    again, again_confidence = detect_all(detector, times_s)
    other, _ = detect_all(fresh(3), times_s)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first_confidence, again_confidence)
    np.testing.assert_array_equal(first, other)
    assert np.nanmax(np.abs(first - detect_all(fresh(4), times_s)[0])) > 1


def test_asked_twice_for_the_same_moment_the_error_stays() -> None:
    points_px, _ = detect_all(
        SimulatedDetector(lambda _: standing_at(), Rectifier(make_rig()), COMPLETE), np.array([0.5, 0.5])
    )
    np.testing.assert_array_equal(points_px[0], points_px[1])


def test_joints_outside_the_picture_are_missing_and_nobody_is_none() -> None:
    rectifier = Rectifier(make_rig())
    near = SimulatedDetector(lambda _: standing_at(depth_m=1.4), rectifier, NO_NOISE)
    points_px, confidence = detect_all(near, np.array([0.0]))
    given = confidence[0, 0] > 0
    assert not given[[BODY17.index("RightAnkle"), BODY17.index("HeadTop")]].any()
    assert given[[BODY17.index("Pelvis"), BODY17.index("LeftElbow")]].all()
    np.testing.assert_array_equal(np.isnan(points_px[0, 0]).any(axis=1), ~given)
    gone = SimulatedDetector(lambda _: standing_at(x_m=8.0), rectifier, NO_NOISE)
    assert gone.detect(PICTURE, PICTURE, 0.0) == (None, None)
    behind = SimulatedDetector(lambda _: standing_at(depth_m=-3.0), rectifier)
    assert behind.detect(PICTURE, PICTURE, 0.0) == (None, None)


def test_somebody_at_the_edge_is_seen_by_one_camera_only() -> None:
    # Left of what the right camera sees.
    detector = SimulatedDetector(lambda _: standing_at(x_m=-1.85, depth_m=2.6), Rectifier(make_rig()), NO_NOISE)
    left, right = detector.detect(PICTURE, PICTURE, 0.0)
    assert isinstance(left, Pose2D)
    assert right is None or (right.confidence > 0).sum() < (left.confidence > 0).sum()


def test_only_the_observed_joints_are_given() -> None:
    observed = [joint for joint in BODY17.joints if joint not in ("Thorax", "Neck", "HeadTop")]
    detector = SimulatedDetector(lambda _: standing_at(), Rectifier(make_rig()), NO_NOISE, observed=observed)
    points_px, confidence = detect_all(detector, np.array([0.0]))
    np.testing.assert_array_equal(np.flatnonzero(confidence[0, 0] == 0), [7, 8, 9])
    assert np.isnan(points_px[0, :, 7:10]).all()


@pytest.mark.parametrize(
    ("field", "value"), [("common_sd_px", -1.0), ("gross_share", 1.0), ("crop_px", 0.0), ("fast_time_s", 0.0)]
)
def test_a_profile_that_cannot_be_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        replace(COMPLETE, **{field: value})


def test_the_default_profile_is_like_real_detections(
    shared_data: Path, fresh_errors: tuple[np.ndarray, np.ndarray]
) -> None:
    """Against detections of Berkeley MHAD subject 8 at a baseline of 0.22 m, errors recomputed from the file."""
    with np.load(shared_data / "benchmark" / "mhad_s08.npz") as real:
        truth = np.concatenate([real["gt"], np.ones((*real["gt"].shape[:2], 1))], axis=-1)
        projected = np.einsum("nvij,nkj->nvki", real["proj"], truth)
        real_px = (real["points2d"] - projected[..., :2] / projected[..., 2:]) * 192
        pair, frame = real["camera_group"], real["frame_id"]
    real_common, real_between = parts_of(real_px)
    common, between = parts_of(fresh_errors[0])
    for share in (0.5, 0.75, 0.9, 0.95, 0.99):
        assert np.quantile(np.abs(common), share) == pytest.approx(np.quantile(np.abs(real_common), share), rel=0.3)
        assert np.quantile(np.abs(between[..., 0]), share) == pytest.approx(
            np.quantile(np.abs(real_between[..., 0]), share), rel=0.4
        )
    assert COMPLETE.kurtosis == pytest.approx(kurtosis(real_common.ravel(), fisher=False), rel=0.5)
    # Frames of MHAD are 1/22 s apart.
    drifting = parts_of(errors_of(COMPLETE, np.arange(3000) / 22)[0])[0]
    following = (pair[1:] == pair[:-1]) & (frame[1:] == frame[:-1] + 1)
    for values, kept in ((real_common, following), (drifting, np.ones(2999, dtype=bool))):
        assert (values[:-1] * values[1:])[kept].mean() / values.var() == pytest.approx(0.8, abs=0.08)


def test_triangulated_it_is_as_wrong_as_real_detectors_at_a_short_baseline() -> None:
    """Triangulating real detections at 0.22 m and 2.4 to 3 m gives 32 mm (MHAD S08); 25 to 45 mm is the class."""
    rectifier = Rectifier(make_rig())
    errors_m = []
    for seed, depth_m in enumerate((2.4, 3.0, 3.6)):
        truth_m = standing_at(x_m=0.1, depth_m=depth_m)
        points_px, _ = detect_all(SimulatedDetector(lambda _, t=truth_m: t, rectifier, seed=seed), FRESH_S[:600])
        found_m = triangulate(rectifier.rig, points_px[:, 0], points_px[:, 1]) @ rectifier.rig.left_from_rectified.T
        errors_m.append(np.linalg.norm(found_m - truth_m, axis=-1))
    assert 0.025 < np.nanmean(errors_m) < 0.045
