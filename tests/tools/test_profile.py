"""Learning a detector's errors without ground truth: from made-up errors, from real detections, from a real video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from binopose.app.frames import FramePair
from binopose.app.lookahead import LookAhead
from binopose.app.pipeline import PersonResult, Pipeline
from binopose.app.simulation.motion import SimulatedPerson
from binopose.app.simulation.scene import SimulatedScene
from binopose.app.simulation.virtual_rig import virtual_rig
from binopose.calibration.errors import UserError
from binopose.calibration.rectify import RectifiedRig, Rectifier
from binopose.calibration.rig_file import save_rig
from binopose.calibration.rig_import import import_rig
from binopose.calibration.triangulate import project
from binopose.engines.denoiser import SkeletonDenoiser
from binopose.engines.detectors.simulated import DetectorNoise, SimulatedDetector
from binopose.models.detector_profile import load_profile, save_profile
from binopose.models.pose import Pose2D, Pose3D
from binopose.models.skeleton import BODY17
from binopose.tools.datasets.benchmark import load_benchmark
from binopose.tools.evaluate import evaluate
from binopose.tools.profile import learn_from_detections, main
from binopose.tools.profile_learning import ProfileLearner, freedom_of_tails, row_statistics

PELVIS = BODY17.index("Pelvis")


@pytest.mark.parametrize("freedom", [2.0, 4.0, 10.0])
def test_tails_of_student_t(freedom: float) -> None:
    deviations = np.abs(np.random.default_rng(0).standard_t(freedom, 40_000))
    assert freedom_of_tails(3.7 * deviations) == pytest.approx(freedom, rel=0.12)


def test_tails_of_a_normal_distribution_and_of_next_to_nothing() -> None:
    assert freedom_of_tails(np.abs(np.random.default_rng(0).standard_normal(40_000))) > 30
    assert freedom_of_tails(np.ones(5)) == 4.0


def test_rows_of_each_joint() -> None:
    """Each joint has a noise of its own, one is never sure; 400 moments are enough to believe it."""
    rng = np.random.default_rng(0)
    true = np.linspace(0.004, 0.03, 17)
    rows = rng.standard_t(5.0, (4000, 17)) * true
    rows[:, 3] = np.nan
    noise, freedom = row_statistics(rows, np.arange(4000) // 10)
    # The robust standard deviation of Student's t with 5 degrees of freedom is 1.4826 times its quartile, 0.727.
    sure = np.arange(17) != 3
    assert noise[sure] == pytest.approx(1.4826 * 0.727 * true[sure], rel=0.08)
    assert freedom[sure] == pytest.approx(5.0, rel=0.35)
    assert np.isnan([noise[3], freedom[3]]).all()


def test_few_moments_say_that_joints_are_alike() -> None:
    rng = np.random.default_rng(0)
    true = np.repeat([0.005, 0.02], [8, 9])
    rows = rng.normal(0, 1, (600, 17)) * true
    contrasts = [
        np.log(noise[-1] / noise[0]) for noise, _ in (row_statistics(rows, np.arange(600) // each) for each in (300, 3))
    ]
    assert contrasts[0] < 0.4 * contrasts[1]
    assert contrasts[1] == pytest.approx(np.log(4), rel=0.15)


def test_rows_made_equal_tell_nothing() -> None:
    rows = np.random.default_rng(0).normal(0, 1e-6, (200, 17))
    assert all(np.isnan(values).all() for values in row_statistics(rows, np.arange(200)))


def learnt(noise: DetectorNoise, frames: int = 900) -> ProfileLearner:
    """What a learner sees of the simulated person."""
    rig = virtual_rig(4)
    rectifier, scene = Rectifier(rig), SimulatedScene(rig, SimulatedPerson(seed=4))
    ahead = LookAhead(Pipeline(rectifier, SimulatedDetector(scene.truth_m, rectifier, noise, 4), SkeletonDenoiser()))
    learner, picture = ProfileLearner(), np.zeros((720, 1280, 3), np.uint8)
    results = [r for n in range(frames) for r in ahead.push(FramePair(picture, picture, n / 30, n))]
    for result in [*results, *ahead.finish()]:
        if result.person is not None:
            learner.observe(result.person, 0)
    return learner


def test_the_noise_of_the_simulated_detector_is_found() -> None:
    """A row difference of 3 px in a crop of 384 whose side is 1.25 times the person; nothing else is out of order."""
    noise = DetectorNoise(row_sd_px=3.0, level_log_sd=0.0, gross_share=0.0, confidence_half_px=200.0)
    profile = learnt(noise).profile("simulated", virtual_rig(4), {})
    inner = [BODY17.index(joint) for joint in ("RightHip", "LeftHip", "RightShoulder", "LeftShoulder", "Neck", "Nose")]
    assert np.median(profile.row_noise[inner]) == pytest.approx(3.0 * 1.25 / 384, rel=0.15)
    assert not profile.definition_offset.any()
    assert profile.learnt_from["independent_moments"] == 60
    assert set(profile.figures["bones"]) == {f"{outer}_{inner}" for outer, inner in BODY17.rigid_bones}


def test_too_little_is_refused() -> None:
    with pytest.raises(UserError, match="in 20 frames; at least 60 are needed"):
        learnt(DetectorNoise(), frames=20).profile("simulated", virtual_rig(4), {})


def test_a_pelvis_that_nobody_calls_so_is_found_and_put_back(shared_data: Path) -> None:
    """Real detections whose pelvis is nine centimetres too high; the truth is asked for the score alone."""
    path = shared_data / "benchmark" / "mhad_s08.npz"
    whole = load_benchmark(path, raw_detections=True)
    part = type(whole)(**{name: getattr(whole, name)[:2327:4] for name in whole.__dataclass_fields__})
    profile = learn_from_detections(part, SkeletonDenoiser(), {})
    assert np.flatnonzero(profile.definition_offset.any(axis=1)).tolist() == [PELVIS]
    assert np.isnan(profile.row_noise).all(), "the rows of this file were made equal"
    without, with_profile = (evaluate(part, SkeletonDenoiser(), True, each) for each in (None, profile))
    assert with_profile["mpjpe_mm"] < without["mpjpe_mm"] - 2.0
    assert with_profile["root_relative_mpjpe_mm"] < 0.4 * without["root_relative_mpjpe_mm"]


def test_detections_in_order_are_left_alone(shared_data: Path) -> None:
    benchmark = load_benchmark(shared_data / "benchmark" / "h36m_s9.npz")
    assert not learn_from_detections(benchmark, SkeletonDenoiser(), {}).definition_offset.any()


def test_a_real_video(tmp_path: Path, shared_data: Path, blazepose_weights: Path) -> None:
    folder = shared_data / "stereo" / "pose2sim-single-person"
    rig, output = tmp_path / "rig.toml", tmp_path / "profile.toml"
    save_rig(import_rig([folder / "calibration" / "Calib.qca.txt"], "cam01", "cam02"), rig)
    videos = [str(folder / "videos" / f"{name}.mp4") for name in ("cam01", "cam02")]
    assert main([*videos, "--rig", str(rig), "-o", str(output)]) == 0
    profile = load_profile(output)
    assert (profile.detector, profile.learnt_from["frames"]) == ("blazepose", 100)
    assert profile.learnt_from["recordings"] == ["cam01.mp4", "cam02.mp4"]
    seen = np.isfinite(profile.row_noise)
    assert [BODY17.joints[joint] for joint in np.flatnonzero(~seen)] == ["Thorax", "Neck", "HeadTop"]
    # The views disagree by 9 px of about 720, in the median.
    assert 0.005 < np.median(profile.row_noise[seen]) < 0.03


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["left.mp4", "right.mp4"], "--rig is missing"),
        (["left.mp4", "--rig", "rig.toml"], "videos come in pairs"),
        (["a.npz", "--benchmark"], "-o is missing"),
        (["a.npz", "b.npz", "--benchmark", "-o", "new.toml"], "--benchmark: expected one file, found 2"),
        (["left.mp4", "right.mp4", "-o", "there.toml"], "exists already; use --force"),
        (["left.mp4", "right.mp4", "--detector", "nobody"], 'no weights are called "nobody"'),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "there.toml").write_text("mine")
    save_rig(virtual_rig(), tmp_path / "rig.toml")
    assert main(arguments) == 2
    assert complaint in capsys.readouterr().err
    assert (tmp_path / "there.toml").read_text() == "mine"
    assert not (tmp_path / "new.toml").exists()


def seen_person(points_m: np.ndarray, confidence: np.ndarray, rows_px: np.ndarray, time_s: float) -> PersonResult:
    """A person as the pipeline gives one; rows_px: (17,) by how much the left view is lower."""
    rig = RectifiedRig(900.0, 640.0, 600.0, 360.0, 0.5, np.eye(3), np.eye(3))
    left_px, right_px = project(rig, points_m)
    left_px[:, 1] += rows_px
    left, right = (Pose2D(points_px, confidence, BODY17) for points_px in (left_px, right_px))
    pose = Pose3D(points_m, confidence, np.full((17, 3), 0.02), BODY17, time_s)
    return PersonResult(left, right, pose, pose, rows_px)


def standing_m() -> np.ndarray:
    """Facing the cameras at 3 m; joints of no interest in the middle."""
    points_m = np.full((17, 3), [0.0, 0.2, 3.0])
    for side, x in (("Right", -0.15), ("Left", 0.15)):
        points_m[BODY17.index(side + "Hip")] = [0.7 * x, 0.2, 3.0]
        points_m[BODY17.index(side + "Shoulder")] = [x, -0.3, 3.0]
        points_m[BODY17.index(side + "Ankle")] = [0.7 * x, 1.0, 3.0]
    return points_m


@pytest.mark.parametrize("trunks_up", [0.3, 3.0])
@pytest.mark.parametrize("seconds", [1.2, 30.0])
def test_whatever_is_learnt_can_be_loaded(tmp_path: Path, trunks_up: float, seconds: float) -> None:
    """A pelvis put elsewhere counts when many moments show it and it is still on the body."""
    learner, points_m = ProfileLearner(), standing_m()
    points_m[PELVIS, 1] -= 0.5 * trunks_up
    rng = np.random.default_rng(0)
    for number in range(70):
        rows_px = rng.normal(0, 500.0 if trunks_up > 1 else 3.0, 17)
        learner.observe(seen_person(points_m, np.ones(17), rows_px, seconds * number / 70), 0)
    save_profile(tmp_path / "p.toml", learner.profile("made up", virtual_rig(), {}))
    found = load_profile(tmp_path / "p.toml")
    assert found.definition_offset[PELVIS].any() == (trunks_up < 1 and seconds > 5)


def test_somebody_who_is_hardly_there_teaches_no_rows() -> None:
    learner, confidence = ProfileLearner(), np.zeros(17)
    confidence[PELVIS] = 1.0
    rows_px = np.where(np.arange(17) == PELVIS, 2.0, np.nan)
    for number in range(70):
        learner.observe(seen_person(standing_m(), confidence, rows_px, number / 2), 0)
    assert np.isnan(learner.profile("made up", virtual_rig(), {}).row_noise).all()
