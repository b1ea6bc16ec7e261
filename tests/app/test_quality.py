"""Exchanged views, the figures and the warnings of a run, with made-up detections of a known person and rig."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from binopose.app.frames import FramePair
from binopose.app.pipeline import Pipeline
from binopose.app.quality import ExchangeCheck, ExchangedViews, RunQuality
from binopose.calibration.rectify import Rectifier, RectifyMode
from binopose.calibration.rig import Camera, RigidTransform, StereoRig
from binopose.engines.denoiser import NoDenoiser
from binopose.models.pose import Pose2D
from binopose.models.skeleton import BODY17, COCO17, Skeleton
from scipy.spatial.transform import Rotation

# Metres, x to the person's left, y down, z backward.
PERSON_M = np.array(
    [
        [-0.14, 0.85, 0.05], [-0.12, 0.43, -0.06], [-0.10, 0, 0], [0.10, 0, 0], [0.13, 0.43, 0.02], [0.15, 0.85, 0.1],
        [0, 0, 0], [0, -0.26, 0.02], [0, -0.48, 0], [0, -0.72, 0], [-0.30, 0.04, -0.15], [-0.24, -0.2, 0.02],
        [-0.18, -0.46, 0], [0.18, -0.46, 0], [0.28, -0.22, 0.03], [0.36, -0.02, -0.1], [0, -0.58, -0.1],
    ]
)  # fmt: skip
DISTANCE_M = 3.0
Detections = tuple[Pose2D | None, Pose2D | None]


def camera(terms: float = 1.0) -> Camera:
    matrix = np.array([[900.0, 0, 640], [0, 900, 480], [0, 0, 1]])
    return Camera((1281, 961), matrix, terms * np.array([-0.12, 0.03, 0.001, 0, 0]))


def convergent(degrees: float, baseline_m: float | None = None, tilt_deg: float = 0.0, terms: float = 1.0) -> StereoRig:
    """The right camera on a circle around the person (or beside the left one), looking at them like the left one."""
    turn = np.deg2rad(degrees)
    if baseline_m is None:
        centre_m = np.array([np.sin(turn) * DISTANCE_M, 0.05, (1 - np.cos(turn)) * DISTANCE_M])
    else:
        centre_m = np.array([baseline_m, 0.002, 0])
    rotation = Rotation.from_euler("yx", [-degrees, tilt_deg], degrees=True).as_matrix()
    return StereoRig(camera(terms), camera(terms), RigidTransform(rotation, centre_m).inverse())


RIGS = {
    "parallel 6 cm": convergent(0.3, 0.06),
    "parallel 40 cm": convergent(1.0, 0.4),
    "toed in": convergent(14.0),
    "47 degrees": convergent(47.0),
    "47 degrees and tilted": convergent(47.0, tilt_deg=4.0),
    "90 degrees": convergent(90.0),
}


def seen_px(rig: StereoRig, points_m: np.ndarray) -> list[np.ndarray]:
    """What cv2 says both cameras record of points in the left camera's frame."""
    rotvec = Rotation.from_matrix(rig.right_from_left.rotation).as_rotvec()
    poses = ((rig.left, np.zeros(3), np.zeros(3)), (rig.right, rotvec, rig.right_from_left.translation_m))
    return [
        cv2.projectPoints(points_m, turn, shift, each.matrix, each.distortion)[0].reshape(-1, 2)
        for each, turn, shift in poses
    ]


def walk_m(frames: int) -> list[np.ndarray]:
    """The person steps sideways and turns, (17, 3) each, in the left camera's frame."""
    return [
        Rotation.from_euler("y", 3.0 * n, degrees=True).apply(PERSON_M)
        + np.array([0.1 + 0.02 * np.sin(n), 0.05, DISTANCE_M])
        for n in range(frames)
    ]


def detections(
    rig: StereoRig, frames: int, noise_px: float = 1.0, skeleton: Skeleton = BODY17, confidence: float = 0.9
) -> list[tuple[Pose2D, Pose2D]]:
    """Recorded pixels of both views, joint by joint with noise."""
    rng = np.random.default_rng(0)
    found = []
    for points_m in walk_m(frames):
        poses = []
        for points_px in seen_px(rig, points_m):
            pixels = points_px + rng.normal(0, noise_px, points_px.shape)
            poses.append(Pose2D(pixels, np.full(17, confidence), BODY17).to_skeleton(skeleton))
        found.append((poses[0], poses[1]))
    return found


def run(check: ExchangeCheck, found: Sequence[Detections]) -> None:
    for pair in found:
        check.observe(pair)


# --- views in the wrong order


@pytest.mark.parametrize("skeleton", [BODY17, COCO17], ids=["body17", "coco17"])
@pytest.mark.parametrize("name", RIGS)
def test_views_in_the_right_order_pass(name: str, skeleton: Skeleton) -> None:
    run(ExchangeCheck(Rectifier(RIGS[name], "points")), detections(RIGS[name], 30, skeleton=skeleton))


@pytest.mark.parametrize("skeleton", [BODY17, COCO17], ids=["body17", "coco17"])
@pytest.mark.parametrize("name", RIGS)
def test_exchanged_views_are_refused_with_what_to_do(name: str, skeleton: Skeleton) -> None:
    rig = RIGS[name]
    exchanged = [(right, left) for left, right in detections(rig, 30, skeleton=skeleton)]
    with pytest.raises(ExchangedViews, match="other way round"):
        run(ExchangeCheck(Rectifier(rig, "points")), exchanged)


@pytest.mark.parametrize("exchanged", [False, True])
@pytest.mark.parametrize("name", RIGS)
def test_coarse_detections_are_judged_alike(name: str, exchanged: bool) -> None:
    """One per cent of the person's height is what detectors miss a joint by."""
    found = detections(RIGS[name], 30, noise_px=4.5)
    check = ExchangeCheck(Rectifier(RIGS[name], "points"))
    if exchanged:
        with pytest.raises(ExchangedViews):
            run(check, [(right, left) for left, right in found])
    else:
        run(check, found)


@pytest.mark.parametrize("name", ["parallel 6 cm", "parallel 40 cm", "toed in"])
def test_rectified_pictures_are_checked_as_well(name: str) -> None:
    """In mode "images" the exchanged pictures went through the wrong maps before the person was found in them."""
    rig = RIGS[name]
    by_points, rectifier = Rectifier(rig, "points"), Rectifier(rig, "images")
    order = {False: (0, 1), True: (1, 0)}
    shown: dict[bool, list[Detections]] = {False: [], True: []}
    for pair in detections(rig, 20):
        for exchanged, views in order.items():
            poses = [
                Pose2D(by_points.rectified_px(slot, pair[view].points_px), pair[view].confidence, BODY17)
                for slot, view in enumerate(views)
            ]
            shown[exchanged].append((poses[0], poses[1]))
    run(ExchangeCheck(rectifier), shown[False])
    with pytest.raises(ExchangedViews):
        run(ExchangeCheck(rectifier), shown[True])


def test_poor_calibration_is_not_called_an_exchange() -> None:
    """Rows off by 50 px, as in a rig whose right camera was bumped: the order is right all the same."""
    for name in ("parallel 40 cm", "47 degrees"):
        found = [
            (left, Pose2D(right.points_px + np.array([0, 50]), right.confidence, BODY17))
            for left, right in detections(RIGS[name], 30, noise_px=5)
        ]
        run(ExchangeCheck(Rectifier(RIGS[name], "points")), found)


def test_few_and_doubtful_people_decide_nothing() -> None:
    rig = RIGS["parallel 40 cm"]
    exchanged = [(right, left) for left, right in detections(rig, 9)]
    run(ExchangeCheck(Rectifier(rig, "points")), exchanged)
    doubtful = [(right, left) for left, right in detections(rig, 40, confidence=0.3)]
    run(ExchangeCheck(Rectifier(rig, "points")), doubtful)
    alone: list[Detections] = [*((None, pair[0]) for pair in detections(rig, 40)), (None, None)]
    run(ExchangeCheck(Rectifier(rig, "points")), alone)


def test_missing_joints_do_not_stop_the_decision() -> None:
    rig = RIGS["parallel 40 cm"]
    rng = np.random.default_rng(2)
    exchanged = []
    for left, right in detections(rig, 30):
        poses = []
        for pose in (right, left):
            hidden = rng.random(17) < 0.4
            poses.append(Pose2D(np.where(hidden[:, None], np.nan, pose.points_px), np.where(hidden, 0, 0.9), BODY17))
        exchanged.append((poses[0], poses[1]))
    with pytest.raises(ExchangedViews):
        run(ExchangeCheck(Rectifier(rig, "points")), exchanged)


def test_joints_without_a_rectified_place_are_survived() -> None:
    """Cameras at 150 degrees see a good part of the person beyond the common image plane."""
    rig = convergent(150.0)
    found = detections(rig, 20)
    rectifier = Rectifier(rig, "points")
    assert any(np.isnan(rectifier.rectified_px(0, left.points_px)).any() for left, _ in found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(ExchangeCheck(rectifier), found)


# --- figures and warnings


class Played:
    """Gives prepared detections one after another."""

    name = "played"
    device = "cpu"
    skeleton = BODY17

    def __init__(self, found: Sequence[Detections]) -> None:
        self._found = iter(found)

    def detect(self, left: np.ndarray, right: np.ndarray, timestamp_s: float) -> Detections:
        return next(self._found)

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


def observed(rig: StereoRig, found: Sequence[Detections], mode: RectifyMode = "points") -> RunQuality:
    """Run detections through the real pipeline, without a denoiser."""
    rectifier = Rectifier(rig, mode)
    pipeline, quality = Pipeline(rectifier, Played(found), NoDenoiser()), RunQuality(rectifier)
    nothing = np.zeros((16, 16, 3), dtype=np.uint8)
    for number in range(len(found)):
        quality.observe(pipeline.process(FramePair(nothing, nothing, number / 30, number)), latency_ms=20.0 + number)
    return quality


def shifted(found: Sequence[tuple[Pose2D, Pose2D]], shifts_px: np.ndarray) -> list[Detections]:
    """The right view moved down by `shifts_px`, (frames,)."""
    return [
        (left, Pose2D(right.points_px + np.array([0, shift]), right.confidence, BODY17))
        for (left, right), shift in zip(found, shifts_px, strict=True)
    ]


PLAIN = convergent(0.0, 0.4, terms=0.0)


def test_figures_of_a_known_shift() -> None:
    """Rows 6 px apart: the joint is put in the middle, 3 px from either view."""
    plain = StereoRig(PLAIN.left, PLAIN.right, RigidTransform(np.eye(3), np.array([-0.4, 0, 0])))
    quality = observed(plain, shifted(detections(plain, 40, noise_px=0), np.full(40, 6.0)))
    figures = quality.figures(elapsed_s=2.0)
    assert (figures["frames"], figures["frames_with_pose"], figures["frames_in_one_view"]) == (40, 40, 0)
    assert figures["pairs_per_second"] == 20.0
    assert figures["raw_reprojection_px"]["mean"] == pytest.approx(3.0, abs=0.01)
    assert figures["raw_reprojection_px"]["median"] == pytest.approx(3.0, rel=0.006)
    assert figures["epipolar_px"]["mean"] == pytest.approx(6.0, abs=0.01)
    assert figures["epipolar_px"]["p95"] == pytest.approx(6.0, rel=0.006)
    assert figures["epipolar_px"]["bias"] == pytest.approx(-6.0, abs=0.5)  # left minus right
    assert figures["latency_ms"]["median"] == pytest.approx(20 + 19.5, rel=0.02)
    assert set(figures["stage_ms"]) == {"detect", "sides", "triangulate", "refine"}


@pytest.mark.parametrize("name", ["parallel 40 cm", "47 degrees"])
def test_exact_detections_have_no_errors_and_no_warnings(name: str) -> None:
    quality = observed(RIGS[name], detections(RIGS[name], 40, noise_px=0))
    figures = quality.figures(1.0)
    assert figures["raw_reprojection_px"]["mean"] == pytest.approx(0, abs=0.01)
    assert figures["epipolar_px"]["mean"] == pytest.approx(0, abs=0.01)
    assert figures["frames_with_exchanged_sides"] == 0
    assert quality.warnings() == []


@pytest.mark.parametrize("name", RIGS)
def test_ordinary_noise_is_no_reason_to_worry(name: str) -> None:
    quality = observed(RIGS[name], detections(RIGS[name], 60, noise_px=1.5))
    assert quality.warnings() == []
    assert quality.figures(1.0)["frames_with_pose"] == 60
    # |N(0, sqrt 2 * 1.5)| has the mean 1.69, which rectification of convergent views enlarges.
    assert 1.6 < quality.figures(1.0)["epipolar_px"]["mean"] < 1.69 * (1.8 if name == "90 degrees" else 1.3)


def person_height_px() -> float:
    return 900 / DISTANCE_M * (0.85 + 0.72)


@pytest.mark.parametrize(
    ("share", "told"),
    [(0.004, None), (0.02, "less accurate than they could be"), (0.05, "mean little")],
)
def test_steady_row_difference_blames_the_calibration(share: float, told: str | None) -> None:
    found = shifted(detections(PLAIN, 40), np.full(40, share * person_height_px()))
    disagreement = [warning for warning in observed(PLAIN, found).warnings() if "rows differ" in warning]
    if told is None:
        assert disagreement == []
        return
    (warning,) = disagreement
    assert told in warning
    assert "calibration does not fit" in warning
    assert "synchronised" not in warning


def test_changing_row_difference_leaves_both_causes_open() -> None:
    shifts_px = 0.06 * person_height_px() * np.sin(np.arange(60) * 0.7)
    (warning,) = observed(PLAIN, shifted(detections(PLAIN, 60), shifts_px)).warnings()
    assert "not synchronised" in warning
    assert "all the time" not in warning


def test_lost_people_are_counted() -> None:
    found: list[Detections] = list(detections(PLAIN, 100))
    for number in range(40, 52):
        found[number] = (found[number][0], None)
    for number in range(70, 75):
        found[number] = (None, None)
    quality = observed(PLAIN, found)
    figures = quality.figures(1.0)
    assert (figures["frames"], figures["frames_with_pose"], figures["frames_in_one_view"]) == (100, 83, 12)
    (warning,) = quality.warnings()
    assert "no pose in 17 of 100 frames (longest gap 12" in warning
    assert "12 times the person was seen in one view only" in warning


def test_nobody_at_all_is_said() -> None:
    quality = observed(PLAIN, [(None, None)] * 20)
    (warning,) = quality.warnings()
    assert "nobody was found" in warning
    figures = quality.figures(1.0)
    assert figures["frames_with_pose"] == 0
    assert np.isnan(figures["raw_reprojection_px"]["mean"])


def test_no_frames_at_all_are_survived() -> None:
    quality = observed(PLAIN, [])
    assert quality.figures(0.0)["frames"] == 0
    assert quality.warnings() == []


@pytest.mark.parametrize("view", [0, 1])
def test_exchanged_sides_are_counted(view: int) -> None:
    found: list[Detections] = list(detections(PLAIN, 80))
    other = [
        BODY17.joints.index(joint.replace("Left", "*").replace("Right", "Left").replace("*", "Right"))
        for joint in BODY17.joints
    ]
    for number in range(50, 62):
        pair = list(found[number])
        pose = pair[view]
        assert pose is not None
        pair[view] = Pose2D(pose.points_px[other], pose.confidence[other], BODY17)
        found[number] = (pair[0], pair[1])
    quality = observed(PLAIN, found)
    figures = quality.figures(1.0)
    assert figures["frames_with_exchanged_sides"] == pytest.approx(12, abs=1)
    nothing = {"whole_body": 0, "arms": 0, "legs": 0}
    counted = {("left", "right")[view]: nothing | {"whole_body": figures["frames_with_exchanged_sides"]}}
    assert figures["exchanged_sides"] == {"left": nothing, "right": nothing} | counted
    assert (figures["outliers"], figures["reacquisitions"]) == ({"joints": 0, "frames": 0}, 0)
    assert any("exchanged left and right of the person" in warning for warning in quality.warnings())


def test_exchanged_views_stop_the_run() -> None:
    rig = RIGS["47 degrees"]
    with pytest.raises(ExchangedViews):
        observed(rig, [(right, left) for left, right in detections(rig, 30)])


def test_stages_beside_the_pipeline_are_reported() -> None:
    quality = RunQuality(Rectifier(PLAIN))
    quality.add_stage("overlay", [4.0, 5.0, 6.0])
    quality.add_stage("overlay", [5.0, 50.0])
    shown = quality.figures(1.0)["stage_ms"]["overlay"]
    assert shown["median"] == pytest.approx(5, rel=0.01)
    assert shown["p95"] == pytest.approx(50, rel=0.01)
