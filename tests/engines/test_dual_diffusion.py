"""The learned denoiser at run time, with a session that answers what the test wants, and the shipped one on truth."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from binopose.app.pipeline import lift
from binopose.app.simulation.motion import SimulatedPerson
from binopose.app.simulation.scene import SimulatedScene
from binopose.app.simulation.virtual_rig import virtual_rig
from binopose.calibration.errors import UserError
from binopose.calibration.rectify import RectifiedRig, Rectifier
from binopose.calibration.triangulate import project
from binopose.engines import dual_diffusion
from binopose.engines.denoiser import Denoiser, SkeletonDenoiser
from binopose.engines.detectors.simulated import SimulatedDetector
from binopose.engines.dual_diffusion import DualDiffusionDenoiser
from binopose.engines.engine import Device, Port
from binopose.engines.model_file import ModelCard, ModelFileError
from binopose.engines.session import open_session
from binopose.models.bone_lengths import SETTLED_AFTER, LearntLengths, segments_of
from binopose.models.epipolar import RowStatistics
from binopose.models.pose import Pose2D, Pose3D
from binopose.models.skeleton import BODY17
from binopose.models.trained import denoiser_files
from binopose.tools.datasets.benchmark import load_benchmark

PATH = Path("denoiser.onnx")
JOINTS = len(BODY17)
Answer = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


def ports(batch: int | None = None) -> tuple[Port, ...]:
    shapes = {
        "left_px": (JOINTS, 2),
        "right_px": (JOINTS, 2),
        "confidence": (JOINTS,),
        "rig": (5,),
        "lengths_m": (segments_of(BODY17).groups,),
    }
    return tuple(Port(name, (batch, *shape), np.dtype(np.float32)) for name, shape in shapes.items())


def triangulated(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Z = f B / d from the arrays alone; joints that are not known at the middle of the others, sigma 0.1."""
    focal, baseline, left_x, right_x, row = (column[:, None] for column in arrays["rig"].T)
    left, right = arrays["left_px"], arrays["right_px"]
    known = arrays["confidence"] > 0
    disparity = np.where(known, (left[..., 0] - left_x) - (right[..., 0] - right_x), 1.0)
    depth = focal * baseline / disparity
    x = (left[..., 0] - left_x + right[..., 0] - right_x) * depth / focal / 2 + baseline / 2
    y = (left[..., 1] + right[..., 1] - 2 * row) * depth / focal / 2
    points_m = np.stack([x, y, depth], axis=-1)
    middle_m = (points_m * known[..., None]).sum(axis=1, keepdims=True) / known.sum(axis=1)[:, None, None]
    points_m = np.where(known[..., None], points_m, middle_m)
    sigma_m = np.broadcast_to(np.where(known, 0.01, 0.1)[..., None], points_m.shape)
    return {"points_m": points_m, "sigma_m": np.array(sigma_m), "epipolar_px": left[..., 1] - right[..., 1]}


@dataclass
class FakeSession:
    """Answers by a function, and remembers what it was asked."""

    answer: Answer = triangulated
    card: ModelCard | None = field(default_factory=lambda: ModelCard("denoiser", BODY17.joints, 2, "none", "0" * 64))
    inputs: tuple[Port, ...] = field(default_factory=ports)
    outputs: tuple[Port, ...] = ()
    engine: str = "fake 1"
    device: Device = "cpu"
    hardware: str = "none"
    asked: list[dict[str, np.ndarray]] = field(default_factory=list)

    def run(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.asked.append({name: np.array(array) for name, array in arrays.items()})
        return self.answer(self.asked[-1])

    def close(self) -> None:
        raise AssertionError("nobody asked for that")


def make_rig(baseline_m: float = 0.3) -> RectifiedRig:
    return RectifiedRig(900.0, 650.0, 610.0, 360.0, baseline_m, np.eye(3), np.eye(3))


def person_m(seconds: float = 0.0, distance_m: float = 3.0, seed: int = 0) -> np.ndarray:
    """Somebody upright in front of a camera, (J, 3)."""
    world_m = SimulatedPerson(seed=seed).pose_at(seconds)
    standing_m = (world_m - world_m[BODY17.index("Pelvis")]) @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    return standing_m + np.array([0.1, 0.0, distance_m])


Scene = tuple[RectifiedRig, Pose2D, Pose2D, Pose3D]


def seen(points_m: np.ndarray, rig: RectifiedRig, noise_px: float = 0.0, missing: tuple[int, ...] = ()) -> Scene:
    """What a denoiser is given for a person at a place."""
    random = np.random.default_rng(int(abs(points_m).sum() * 1e6))
    views_px = project(rig, points_m) + random.normal(0, noise_px, (2, JOINTS, 2))
    confidence = np.full(JOINTS, 0.9)
    views_px[:, list(missing)], confidence[list(missing)] = np.nan, 0.0
    left, right = (Pose2D(view, confidence, BODY17) for view in views_px)
    raw, _ = lift(rig, RowStatistics(), left, right, 1.5)
    assert raw is not None
    return rig, left, right, raw


def opened(session: FakeSession | None = None, hypotheses: int = 1) -> DualDiffusionDenoiser:
    return DualDiffusionDenoiser(session or FakeSession(), PATH, SkeletonDenoiser(), hypotheses)


def assert_same(found: Pose3D, expected: Pose3D) -> None:
    for name in ("points_m", "sigma_m", "confidence"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert found.timestamp_s == expected.timestamp_s


# --- what it makes of an answer


def test_the_answer_of_the_network_is_the_pose() -> None:
    rig, left, right, raw = seen(person_m(), make_rig(), noise_px=1.0)
    session = FakeSession()
    denoiser = opened(session)
    pose = denoiser.denoise(rig, left, right, raw)
    (asked,) = session.asked
    np.testing.assert_array_equal(asked["left_px"], left.points_px[None])
    np.testing.assert_array_equal(asked["right_px"], right.points_px[None])
    np.testing.assert_array_equal(asked["confidence"], raw.confidence[None])
    np.testing.assert_array_equal(asked["rig"], [[900.0, 0.3, 650.0, 610.0, 360.0]])
    np.testing.assert_allclose(pose.points_m, raw.points_m, atol=1e-9)
    np.testing.assert_allclose(pose.sigma_m, 0.01)
    np.testing.assert_array_equal(pose.confidence, raw.confidence)
    assert (pose.timestamp_s, denoiser.steps, denoiser.device) == (1.5, 2, "cpu")


def test_missing_joints_are_filled_and_vague_ones_left_out() -> None:
    missing = (0, 5, 16)

    def vague_nose(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers = triangulated(arrays)
        answers["sigma_m"][:, 16, 2] = dual_diffusion.VAGUE_M + 0.01
        answers["sigma_m"][:, 10, 2] = dual_diffusion.VAGUE_M + 0.01
        return answers

    session = FakeSession(vague_nose)
    rig, left, right, raw = seen(person_m(), make_rig(), missing=missing)
    pose = opened(session).denoise(rig, left, right, raw)
    assert not session.asked[0]["left_px"][0, missing].any()
    assert not session.asked[0]["confidence"][0, missing].any()
    assert all(np.isfinite(array).all() for array in session.asked[0].values())
    assert not pose.confidence[list(missing)].any()
    assert np.isfinite(pose.points_m[[0, 5]]).all()
    np.testing.assert_allclose(pose.sigma_m[[0, 5]], 0.1)
    assert np.isnan(pose.points_m[16]).all()
    assert np.isnan(pose.sigma_m[16]).all()
    # The wrist was seen: it stays, however unsure.
    assert np.isfinite(pose.points_m[10]).all()


# --- when the skeleton refiner answers instead


@pytest.mark.parametrize(
    ("distance_m", "baseline_m", "said"),
    [
        (0.5, 0.1, "closer or farther"),
        (14.0, 1.0, "closer or farther"),
        (6.0, 0.05, "shorter or longer"),
        (1.5, 3.5, "shorter or longer"),
    ],
)
def test_outside_its_limits_the_network_is_not_asked(
    distance_m: float, baseline_m: float, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    session = FakeSession()
    denoiser, skeleton = opened(session), SkeletonDenoiser()
    scene = seen(0.2 * (person_m() - person_m()[6]) + [0, 0, distance_m], make_rig(baseline_m))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert_same(denoiser.denoise(*scene), skeleton.denoise(*scene))
    assert not session.asked
    assert len(caplog.records) == 1
    assert said in caplog.text
    assert "refined by bone lengths alone" in caplog.text


def spoiled(name: str, value: float) -> Answer:
    def answer(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers = triangulated(arrays)
        answers[name][0, 3, 1] = value
        return answers

    return answer


def moved(joints: slice, offset_m: float) -> Answer:
    def answer(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers = triangulated(arrays)
        answers["points_m"][:, joints, 2] += offset_m
        return answers

    return answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (spoiled("points_m", np.nan), "no number"),
        (spoiled("points_m", np.inf), "no number"),
        (spoiled("sigma_m", np.nan), "no number"),
        (moved(slice(None), 0.3), "moved a body"),
        (moved(slice(None), -0.3), "moved a body"),
    ],
)
def test_what_cannot_be_is_not_believed(answer: Answer, said: str, caplog: pytest.LogCaptureFixture) -> None:
    denoiser, skeleton = opened(FakeSession(answer)), SkeletonDenoiser()
    scene = seen(person_m(), make_rig(), noise_px=1.0)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert_same(denoiser.denoise(*scene), skeleton.denoise(*scene))
    assert [said in record.getMessage() for record in caplog.records] == [True]


def test_a_single_joint_may_move_far() -> None:
    scene = seen(person_m(), make_rig())
    pose = opened(FakeSession(moved(slice(10, 11), 0.5))).denoise(*scene)
    np.testing.assert_allclose(pose.points_m[10, 2], scene[3].points_m[10, 2] + 0.5)


def test_each_trouble_is_told_once_and_the_next_good_frame_is_the_networks(caplog: pytest.LogCaptureFixture) -> None:
    session = FakeSession()
    denoiser = opened(session)
    good = seen(person_m(), make_rig())
    for answer in (spoiled("points_m", np.nan), moved(slice(None), 0.4), triangulated, spoiled("points_m", np.nan)):
        session.answer = answer
        pose = denoiser.denoise(*good)
        if answer is triangulated:
            np.testing.assert_allclose(pose.sigma_m, 0.01)
    assert len(caplog.records) == 2


def test_nobody_in_both_views_is_no_pose_and_no_numpy_warning() -> None:
    rig, left, right, raw = seen(person_m(), make_rig())
    nothing = replace(raw, points_m=np.full((JOINTS, 3), np.nan), confidence=np.zeros(JOINTS))
    session = FakeSession()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pose = opened(session).denoise(rig, left, right, nothing)
    assert not session.asked
    assert np.isnan(pose.points_m).all()
    assert not pose.confidence.any()


# --- what the stream teaches


def stream(count: int, seed: int = 0) -> list[Scene]:
    return [seen(person_m(0.1 * n, seed=seed), make_rig(), noise_px=0.5) for n in range(count)]


def test_the_network_is_told_the_lengths_of_the_stream_once_they_are_settled() -> None:
    session = FakeSession()
    denoiser, lengths = opened(session), LearntLengths(BODY17)
    for number, scene in enumerate(stream(2 * SETTLED_AFTER)):
        denoiser.denoise(*scene)
        lengths.observe(scene[3].points_m, scene[3].confidence)
        told = session.asked[-1]["lengths_m"][0]
        np.testing.assert_array_equal(told, lengths.settled_m)
        if number == 0:
            assert not told.any()
    told = session.asked[-1]["lengths_m"][0]
    true_m = person_m()
    ends_m = true_m[segments_of(BODY17).ends]
    true_lengths_m = np.linalg.norm(ends_m[:, 0] - ends_m[:, 1], axis=1)
    rigid = segments_of(BODY17).rigid
    np.testing.assert_allclose(told[segments_of(BODY17).group[:rigid]], true_lengths_m[:rigid], atol=0.02)


def length_errors_m(points_m: np.ndarray, lengths_m: np.ndarray) -> np.ndarray:
    """By how much the rigid bones of a pose differ from lengths by group."""
    segments = segments_of(BODY17)
    ends_m = points_m[segments.ends[: segments.rigid]]
    found_m = np.linalg.norm(ends_m[:, 0] - ends_m[:, 1], axis=1)
    return np.abs(found_m - lengths_m[segments.group[: segments.rigid]])


def test_with_settled_lengths_the_answer_is_pulled_toward_them() -> None:
    def blurred(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers = triangulated(arrays)
        answers["points_m"] += np.random.default_rng(5).normal(0, 0.02, (JOINTS, 3))
        answers["sigma_m"][:] = 0.02
        return answers

    session = FakeSession(blurred)
    denoiser = opened(session)
    frames = stream(2 * SETTLED_AFTER)
    first = denoiser.denoise(*frames[0])
    np.testing.assert_array_equal(first.points_m, blurred(session.asked[0])["points_m"][0])
    for scene in frames[1:-1]:
        denoiser.denoise(*scene)
    pose = denoiser.denoise(*frames[-1])
    answer_m = blurred(session.asked[-1])["points_m"][0]
    settled_m = denoiser.lengths.settled_m
    assert settled_m.all()
    before_m, after_m = length_errors_m(answer_m, settled_m), length_errors_m(pose.points_m, settled_m)
    assert after_m.mean() < 0.6 * before_m.mean()
    assert np.linalg.norm(pose.points_m - answer_m, axis=1).max() < 0.06


def test_later_frames_change_nothing_before() -> None:
    frames = stream(14)
    other = [*frames[:12], *stream(2, seed=1)]
    first, second = opened(), opened()
    for number, (one, two) in enumerate(zip(frames, other, strict=True)):
        if number < 12:
            assert_same(first.denoise(*one), second.denoise(*two))


def test_reset_forgets_the_person() -> None:
    session = FakeSession()
    denoiser = opened(session)
    for scene in stream(12):
        denoiser.denoise(*scene)
    assert session.asked[-1]["lengths_m"].any()
    denoiser.reset()
    denoiser.denoise(*stream(1)[0])
    assert not session.asked[-1]["lengths_m"].any()
    assert np.isfinite(denoiser.lengths.median_m).any()


# --- several starts


def test_one_hypothesis_is_the_plain_run() -> None:
    scene, session = seen(person_m(), make_rig(), noise_px=1.0), FakeSession()
    opened(session, hypotheses=1).denoise(*scene)
    assert session.asked[0]["left_px"].shape == (1, JOINTS, 2)
    np.testing.assert_array_equal(session.asked[0]["left_px"][0], scene[1].points_px)


@pytest.mark.parametrize("hypotheses", [2, 5, 32])
def test_starts_lie_around_the_detections(hypotheses: int) -> None:
    scene = seen(person_m(), make_rig(), noise_px=1.0, missing=(16,))
    session = FakeSession()
    pose = opened(session, hypotheses).denoise(*scene)
    (asked,) = session.asked
    assert asked["left_px"].shape == (hypotheses, JOINTS, 2)
    starts_m = triangulated(asked)["points_m"]
    raw, around_m = scene[3], starts_m - scene[3].points_m
    # In metres every start has its opposite, an odd one is the detections themselves.
    half = hypotheses // 2
    np.testing.assert_allclose(around_m[:half, :16], -around_m[half : 2 * half, :16], atol=1e-9)
    np.testing.assert_allclose(around_m[2 * half :, :16], 0, atol=1e-9)
    assert np.abs(around_m[:half, :16]).min(axis=-1).max() > 0
    if hypotheses == 32:
        spread = around_m[:, :16].std(axis=0) / raw.sigma_m[:16]
        assert np.median(spread) == pytest.approx(dual_diffusion.START_SPREAD, rel=0.15)
    assert not asked["left_px"][:, 16].any()
    # The mean is the plain run's, the variance what the network states and what its answers differ by.
    np.testing.assert_allclose(pose.points_m[:16], raw.points_m[:16], atol=1e-9)
    np.testing.assert_allclose(pose.sigma_m[:16] ** 2, 0.01**2 + starts_m.var(axis=0)[:16], rtol=1e-9)


def test_the_same_frame_gives_the_same_answer_again() -> None:
    scene = seen(person_m(), make_rig(), noise_px=1.0)
    assert_same(opened(hypotheses=4).denoise(*scene), opened(hypotheses=4).denoise(*scene))


@pytest.mark.parametrize("hypotheses", [0, -1, 33])
def test_impossible_numbers_of_hypotheses(hypotheses: int) -> None:
    with pytest.raises(UserError, match=f"hypotheses: expected 1 to 32, found {hypotheses}"):
        opened(hypotheses=hypotheses)


def test_a_file_for_a_fixed_number_of_poses() -> None:
    with pytest.raises(ModelFileError, match="takes 1 poses at once, 4 hypotheses"):
        opened(FakeSession(inputs=ports(1)), 4)
    assert opened(FakeSession(inputs=ports(4)), 4).steps == 2


@pytest.mark.parametrize(
    ("session", "said"),
    [
        (FakeSession(card=None), "without its description"),
        (FakeSession(card=ModelCard("detector", BODY17.joints, 0, "", "")), "expected a denoiser, found a detector"),
        (FakeSession(card=ModelCard("denoiser", BODY17.joints[::-1], 1, "", "")), "expected the 17 joints of body17"),
        (FakeSession(inputs=ports()[:4]), "expected a network with"),
    ],
)
def test_files_that_are_no_such_denoiser_are_refused(session: FakeSession, said: str) -> None:
    with pytest.raises(ModelFileError, match=said):
        opened(session)


# --- the shipped network on simulated people


FRAMES, RATE_HZ = 80, 10
REMOVED = 3
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Run:
    """Over a simulated stream, mm: errors of joints in both views before and after, without those chosen; of those.

    ratio: error over sigma, (..., 3).
    """

    raw_mm: np.ndarray
    refined_mm: np.ndarray
    chosen_mm: np.ndarray
    ratio: np.ndarray


def run_simulated(denoiser: Denoiser, seed: int, remove: bool = False) -> Run:
    """A simulated person and detector. remove: REMOVED joints of every frame are taken from one view or from both."""
    rig = virtual_rig(seed)
    rectifier = Rectifier(rig)
    scene = SimulatedScene(rig, SimulatedPerson(seed=seed))
    detector = SimulatedDetector(scene.truth_m, rectifier, seed=seed)
    picture = np.zeros((*rig.left.size_px[::-1], 3), np.uint8)
    random, rows = np.random.default_rng(seed), RowStatistics()
    parts: list[list[np.ndarray]] = [[], [], [], []]
    for number in range(FRAMES):
        chosen = random.choice(JOINTS, REMOVED, replace=False)
        others = ~np.isin(np.arange(JOINTS), chosen)
        views = []
        for view, detection in enumerate(detector.detect(picture, picture, number / RATE_HZ)):
            assert detection is not None
            taken = ~others & (remove and number % 3 in (view, 2))
            points_px = np.where(taken[:, None], np.nan, detection.points_px)
            views.append(Pose2D(rectifier.points(view, points_px), np.where(taken, 0, detection.confidence), BODY17))
        raw, _ = lift(rectifier.rig, rows, views[0], views[1], number / RATE_HZ)
        assert raw is not None
        pose = denoiser.denoise(rectifier.rig, views[0], views[1], raw)
        truth_m = scene.truth_m(number / RATE_HZ) @ rectifier.rig.left_from_rectified
        raw_mm, refined_mm = (1e3 * np.linalg.norm(one.points_m - truth_m, axis=1) for one in (raw, pose))
        compared = others & np.isfinite(raw_mm)
        known = np.isfinite(raw_mm)
        ratio = np.abs(pose.points_m - truth_m)[known] / pose.sigma_m[known]
        for part, values in zip(
            parts, (raw_mm[compared], refined_mm[compared], refined_mm[chosen], ratio), strict=True
        ):
            part.append(values)
    return Run(*(np.concatenate(part) for part in parts))


def shipped(steps: int = 1, hypotheses: int = 1) -> DualDiffusionDenoiser:
    path = denoiser_files()[steps]
    return DualDiffusionDenoiser(open_session(path, "cpu"), path, SkeletonDenoiser(), hypotheses)


@pytest.fixture(scope="module", params=SEEDS)
def simulated(request: pytest.FixtureRequest) -> tuple[int, Run]:
    """A seed, and the shipped network on it, nothing removed."""
    return request.param, run_simulated(shipped(), request.param)


def test_the_shipped_network_beats_geometry_on_simulated_truth(simulated: tuple[int, Run]) -> None:
    seed, run = simulated
    skeleton = run_simulated(SkeletonDenoiser(), seed)
    np.testing.assert_array_equal(run.raw_mm, skeleton.raw_mm)
    assert 15 < run.raw_mm.mean() < 60
    assert run.refined_mm.mean() < 0.9 * run.raw_mm.mean()
    assert run.refined_mm.mean() < 0.95 * skeleton.refined_mm.mean()


def test_removed_joints_are_filled_and_cost_the_others_little(simulated: tuple[int, Run]) -> None:
    seed, whole = simulated
    removed = run_simulated(shipped(), seed, remove=True)
    filled = np.isfinite(removed.chosen_mm)
    assert filled.mean() > 0.9
    assert removed.chosen_mm[filled].mean() < 80
    # Removed and filled they cannot be as good as seen: the joints really were away.
    assert removed.chosen_mm[filled].mean() > 1.5 * whole.chosen_mm.mean()
    assert removed.refined_mm.mean() - whole.refined_mm.mean() < 2


def test_more_steps_and_hypotheses_do_not_make_the_mean_worse() -> None:
    seed = SEEDS[0]
    once = run_simulated(shipped(), seed)
    assert run_simulated(shipped(hypotheses=4), seed).refined_mm.mean() < once.refined_mm.mean() + 0.2
    assert run_simulated(shipped(steps=5), seed).refined_mm.mean() < once.refined_mm.mean() + 1.5


@pytest.mark.parametrize("name", ["mhad_s08", "h36m_s9"])
def test_sigma_holds_the_share_of_real_errors_that_it_states(name: str, shared_data: Path) -> None:
    """Within 8 points of 50 and 90 %, over a sixth of a file's undamaged samples."""
    benchmark = load_benchmark(shared_data / "benchmark" / f"{name}.npz")
    denoiser, rows, ratios = shipped(), RowStatistics(), []
    for number in range(0, len(benchmark), 6):
        sample = benchmark.rectified(number)
        raw, _ = lift(sample.rig, rows, sample.left, sample.right, float(number))
        assert raw is not None
        pose = denoiser.denoise(sample.rig, sample.left, sample.right, raw)
        if benchmark.scored[number]:
            truth_m = sample.world_from_rectified.inverse().apply(benchmark.truth_m[number])
            ratios.append(np.abs(pose.points_m - truth_m) / pose.sigma_m)
    inside_50, inside_90 = ((np.array(ratios) < deviations).mean() for deviations in (0.6745, 1.6449))
    assert inside_50 == pytest.approx(0.5, abs=0.08)
    assert inside_90 == pytest.approx(0.9, abs=0.08)
