"""The comparison page: measured by other means, and what it says about good and bad runs."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from binopose.app.factory import DenoiserChoice, open_denoiser
from binopose.app.frames import FramePair
from binopose.app.pipeline import FrameResult, PersonResult, Pipeline
from binopose.app.processing import RunOptions, process_recording
from binopose.app.report.charts import MOST_POINTS, Axis, Line, axis_around, chart, round_values
from binopose.app.report.findings import findings
from binopose.app.report.measures import BONE_NAMES, Step, steps_of
from binopose.app.report.page import comparison_page
from binopose.app.report.trace import RunTrace
from binopose.app.simulation.motion import SimulatedPerson
from binopose.app.simulation.scene import SimulatedScene, SimulatedSource
from binopose.app.simulation.virtual_rig import virtual_rig
from binopose.calibration.rectify import Rectifier
from binopose.calibration.triangulate import project
from binopose.engines.detectors.simulated import SimulatedDetector
from binopose.models.pose import Pose2D, Pose3D
from binopose.models.sides import NO_EXCHANGE, SideExchange
from binopose.models.skeleton import BODY17

RIG = virtual_rig()
SCENE = SimulatedScene(RIG, SimulatedPerson())
RATE_HZ = 30.0
NO_PICTURE = np.zeros((1, 1, 3), np.uint8)
WHOLE_BODY_RIGHT = SideExchange(((0, 0), (3, 3)))
SUMMARY: dict[str, Any] = {
    "frames": 60, "frames_with_pose": 60, "detector": "<simulated>", "denoiser": "skeleton", "warnings": [],
}  # fmt: skip


def simulated_pipeline() -> Pipeline:
    rectifier = Rectifier(RIG)
    return Pipeline(rectifier, SimulatedDetector(SCENE.truth_m, rectifier), open_denoiser(DenoiserChoice("skeleton")))


class Page(HTMLParser):
    """What a browser would complain about, and the text."""

    VOID = ("meta", "img", "br")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"closed and never opened: {tag}"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def trace_of(
    poses_m: np.ndarray, rate_hz: float = RATE_HZ, exchange: SideExchange = NO_EXCHANGE, noise_px: float = 0.0
) -> RunTrace:
    """A run that saw these poses, (N, 17, 3) rectified, NaN where nobody; refining did nothing."""
    pipeline = simulated_pipeline()
    trace, rng = RunTrace(pipeline), np.random.default_rng(0)
    for frame, points_m in enumerate(poses_m):
        pair = FramePair(NO_PICTURE, NO_PICTURE, frame / rate_hz, frame)
        person = None
        if np.isfinite(points_m).any():
            views_px = project(trace.rig, points_m) + rng.normal(0, noise_px, (2, 17, 2))
            left, right = (Pose2D(view_px, np.full(17, 0.9), BODY17) for view_px in views_px)
            pose = Pose3D(points_m, np.full(17, 0.9), np.full((17, 3), 0.02), BODY17, pair.timestamp_s)
            person = PersonResult(left, right, pose, pose, left.points_px[:, 1] - right.points_px[:, 1])
        trace.observe(FrameResult(pair, (None, None), person, {}, exchange))
    return trace


def standing_m(frames: int = 60) -> np.ndarray:
    """The simulated person, in the rectified left frame."""
    rectifier = Rectifier(RIG)
    left_m = np.stack([SCENE.truth_m(frame / RATE_HZ) for frame in range(frames)])
    return left_m @ rectifier.rig.left_from_rectified


def page_of(trace: RunTrace, smooth_hz: float | None = 6.0) -> Page:
    return Page(comparison_page(trace, steps_of(trace, True, smooth_hz), SUMMARY))


def wrong(step_m: np.ndarray, rate_hz: float = RATE_HZ) -> str:
    """What is found wrong with poses that come straight from a detector."""
    trace = trace_of(step_m, rate_hz)
    return "\n".join(findings(steps_of(trace, False, None), trace.time_s, SUMMARY))


def test_a_whole_run_writes_a_page_that_needs_nothing_else(tmp_path: Path) -> None:
    options = RunOptions(tmp_path / "out", overlay=False, smooth_hz=6.0, report=True)
    report = process_recording(SimulatedSource(SCENE, 1.5), RIG, simulated_pipeline(), options)
    path = tmp_path / "out" / "report" / "report.html"
    assert path in report.files
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert not page.links, "no picture or script from elsewhere"
    assert "http" not in html.replace("http-equiv", "")
    assert "script" not in page.tags
    assert html.index("look") < html.index("Bone lengths"), "what looks wrong comes first"
    for heading in ("Bone lengths", "Agreement with the pictures", "Jitter", "Speed", "Joint by joint"):
        assert heading in page.text
    assert "nan" not in page.text.lower().replace("refinan", "")
    again = process_recording(
        SimulatedSource(SCENE, 0.3), RIG, simulated_pipeline(), RunOptions(tmp_path / "out", force=True, overlay=False)
    )
    assert not path.exists(), "a page of an earlier run does not outlive its results"
    assert path not in again.files


def test_the_figures_are_those_of_the_poses() -> None:
    poses_m = standing_m()
    trace = trace_of(poses_m, noise_px=2.0)
    detected, smoothed = steps_of(trace, False, 6.0)
    assert [detected.name, smoothed.name] == ["as detected", "smoothed"]
    shin = BONE_NAMES.index("left shin")
    knee, ankle = BODY17.index("LeftKnee"), BODY17.index("LeftAnkle")
    lengths_m = np.linalg.norm(smoothed.points_m[:, knee] - smoothed.points_m[:, ankle], axis=1)
    assert smoothed.bone_mean_m[shin] == pytest.approx(lengths_m.mean())
    assert smoothed.bone_variation[shin] == pytest.approx(lengths_m.std() / lengths_m.mean())
    assert smoothed.jitter_m_s3 < 0.5 * detected.jitter_m_s3
    shown_px = project(trace.rig, detected.points_m)
    off_px = np.linalg.norm(shown_px[1, 7] - trace.fixed_px[1, 7], axis=1)
    np.testing.assert_allclose(detected.reprojection_px[7, 1], off_px, atol=1e-3)
    # Rows differ by two independent errors of 2 px; what triangulation leaves of them is half of the difference.
    assert np.nanstd(detected.rows_px) == pytest.approx(2 * np.sqrt(2), rel=0.1)
    assert np.nanmean(detected.reprojection_px) == pytest.approx(np.sqrt(2) * np.sqrt(2 / np.pi), rel=0.1)


def test_what_the_detector_exchanged_shows_as_it_was_detected() -> None:
    steps = steps_of(trace_of(standing_m(), exchange=WHOLE_BODY_RIGHT), True, None)
    assert [step.name for step in steps] == ["as detected", "sides and outliers", "refined"]
    detected, fixed = steps[0], steps[1]
    assert np.nanmean(fixed.bone_variation) < 0.01 < np.nanmean(detected.bone_variation)
    assert np.nanmedian(np.abs(detected.rows_px)) > np.nanmedian(np.abs(fixed.rows_px))
    np.testing.assert_allclose(fixed.points_m, standing_m(), atol=1e-5)


def test_nothing_looks_wrong_when_nothing_is() -> None:
    page = page_of(trace_of(standing_m()))
    assert "Nothing looks wrong." in page.text
    assert "<simulated>" in page.text, "names are text, not HTML"


def test_each_fault_is_found_and_named() -> None:
    good_m = standing_m()
    knee, wrist = BODY17.index("LeftKnee"), BODY17.index("RightWrist")
    unsteady_m = good_m.copy()
    unsteady_m[::2, knee] += [0.0, 0.15, 0.0]
    assert "left thigh" in wrong(unsteady_m)
    assert "change their length" in wrong(unsteady_m)
    jumping_m = good_m.copy()
    jumping_m[30, wrist] += [0.0, 1.0, 0.0]
    assert "RightWrist; first at 0.97 s" in wrong(jumping_m)
    lopsided_m = good_m.copy()
    ankle = BODY17.index("LeftAnkle")
    lopsided_m[:, ankle] = lopsided_m[:, knee] + 0.75 * (lopsided_m[:, ankle] - lopsided_m[:, knee])
    assert "the left shin comes out 25% shorter" in wrong(lopsided_m)
    assert "unit of length" in wrong(good_m * 2.0)
    trembling_m = good_m + np.random.default_rng(1).normal(0, 0.01, good_m.shape)
    assert "tremble" in wrong(trembling_m)
    assert wrong(good_m) == ""


def test_warnings_of_the_run_come_first() -> None:
    trace = trace_of(standing_m())
    found = findings(steps_of(trace, False, None), trace.time_s, SUMMARY | {"warnings": ["tracking was lost"]})
    assert found[0] == "tracking was lost"


@pytest.mark.parametrize("frames", [0, 1, 2, 3, 5])
def test_short_runs_and_runs_without_anybody(frames: int) -> None:
    page_of(trace_of(standing_m(frames)) if frames else RunTrace(simulated_pipeline()))
    nobody = page_of(trace_of(np.full((frames, 17, 3), np.nan)) if frames else RunTrace(simulated_pipeline()))
    assert "no pose in this run" in nobody.text


def test_gaps_are_shown() -> None:
    poses_m = standing_m()
    poses_m[20:23] = np.nan
    page = page_of(trace_of(poses_m))
    assert "no pose: 3" in page.text
    assert "gap closed: 3" in page.text


def test_spikes_survive_in_long_charts() -> None:
    time_s, values = np.arange(50_000.0), np.zeros(50_000)
    values[12_345] = 0.9
    html = chart("Long", "m", [Line("s0", time_s, values)], Axis(0.0, 1.0))
    (path,) = re.findall(r'<path class="line s0" d="([^"]*)"', html)
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]
    assert len(heights) <= MOST_POINTS
    assert min(heights) < 40 < max(heights)


def test_a_gap_breaks_the_line() -> None:
    values = np.array([0.1, 0.2, np.nan, 0.3, 0.4])
    assert chart("Gap", "m", [Line("s0", np.arange(5.0), values)], Axis(0.0, 1.0)).count("M") == 2


def test_axes_are_round_and_single_spikes_do_not_rule_them() -> None:
    assert round_values(0.0, 1.0, 5) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert round_values(31.0, 47.0, 4) == pytest.approx([35, 40, 45])
    values = np.append(np.random.default_rng(0).normal(40, 1, 999), 1e4)
    axis = axis_around([values], 1.0)
    assert 30 < axis.low < axis.high < 50
    assert Axis(10.0, 1e4, True).ticks() == [10, 100, 1000, 10000]
    assert axis_around([np.full(3, np.nan)], 2.0, 0.0) == Axis(0.0, 2.0)


def test_a_step_of_nothing_has_no_figures() -> None:
    step: Step = steps_of(trace_of(np.full((5, 17, 3), np.nan)), False, None)[0]
    assert np.isnan(step.bone_mean_m).all()
    assert np.isnan(step.jitter_m_s3)
