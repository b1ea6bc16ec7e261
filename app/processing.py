"""Run a source of frame pairs through the pipeline into an output folder: what `video` and `demo` share."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, Self

import numpy as np

from ..calibration.errors import UserError
from ..calibration.rig import StereoRig
from ..models.pose import Pose3D
from ..models.skeleton import BODY17
from .bone_lengths import held_lengths_m, lengths_summary
from .console import progress
from .frames import FramePair
from .lookahead import DEFAULT_FRAMES, LookAhead
from .outputs.files import (
    OUTPUT_FILES,
    OutputError,
    check_output_folder,
    forget_replaced,
    prepare_output_folder,
    restore_replaced,
    write_json,
)
from .outputs.record import PoseRecord, Recording
from .outputs.video_writer import open_video_writer
from .outputs.writers import OutputWriters
from .overlay import Overlay, OverlayFrame, ViewOverlay
from .pipeline import FrameResult, Pipeline, timed
from .quality import ExchangedViews, RunQuality
from .reference import ReferenceFrame, check_world
from .report.trace import RunTrace
from .report.writing import write_comparison
from .smoothing import SmoothedRun, smooth_files

# Pictures that may wait to be drawn; each holds two full frames.
WAITING_RESULTS = 3


class PairSource(Protocol):
    """Frame pairs in order, and what is known about them. Iterate once."""

    frames_per_second: float
    frames: int | None  # how many to expect, None if unknown
    warnings: list[str]  # may grow while iterating
    incomplete: bool  # after the end: whether it broke off early

    @property
    def read_ms(self) -> float:
        """What producing the last pair took."""
        ...

    def __iter__(self) -> Iterator[FramePair]: ...


class RunBrokenOff(UserError):
    """The run ended early for a reason outside the program; what was written so far is readable."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run writes.

    output: the folder, made by the run; force: replace the results of an earlier run in it; overlay: write overlay.mp4;
    world: poses in the rig's world frame, else in the left camera's; smooth_hz: cut-off of the smoothing at the end,
    None for none; report: write the comparison page; observe: called with every result and its record, for callers that
    know more; lookahead: so many frames later it is decided which side of the person is which.
    """

    output: Path
    force: bool = False
    overlay: bool = True
    world: bool = False
    smooth_hz: float | None = None
    report: bool = False
    observe: Callable[[FrameResult, PoseRecord], None] | None = None
    lookahead: int = DEFAULT_FRAMES


@dataclass(slots=True)
class RunReport:
    """How a run went. files: what was written; exit_code: 0, 3 (incomplete) or 130 (interrupted)."""

    summary: dict[str, Any] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    exit_code: int = 0


def level_from_left(rig: StereoRig) -> np.ndarray | None:
    """Rotation of the left camera's frame that makes y point straight down; None when the rig has no world frame.

    The world's z is taken to point up.
    """
    if rig.world_from_left is None:
        return None
    down = -rig.world_from_left.rotation[2]
    # Forward is where the camera looks; when that is straight up or down, where the top of its picture points.
    ahead = np.array([0.0, 0.0, 1.0]) if abs(down[2]) < 0.995 else np.array([0.0, -1.0, 0.0])
    forward = ahead - (ahead @ down) * down
    forward /= np.linalg.norm(forward)
    return np.stack([np.cross(down, forward), down, forward])


def devices_used(pipeline: Pipeline) -> str:
    """Where the networks run: one device, or each with what runs on it."""
    detector, denoiser = pipeline.detector.device, pipeline.denoiser.device
    return detector if detector == denoiser else f"{detector} (detector), {denoiser} (denoiser)"


def run_summary(
    figures: dict[str, Any], warnings: list[str], pipeline: Pipeline, reference: ReferenceFrame
) -> dict[str, Any]:
    """What summary.json holds. figures: of `RunQuality`."""
    return {
        **figures,
        "warnings": warnings,
        "detector": pipeline.detector.name,
        "denoiser": pipeline.denoiser.name,
        "device": devices_used(pipeline),
        "rectification": pipeline.rectifier.mode,
        "frame_of_reference": reference.words,
        "version": version("binopose"),
    }


def check_run(rig: StereoRig, options: RunOptions) -> None:
    """Whether a run can write what it is asked for; cheap, so that it can be asked before networks are loaded.

    Raises UserError when the folder cannot be used or the rig has no world frame for `options.world`.
    """
    check_world(rig, options.world)
    check_output_folder(options.output, options.force)


class StopRequest:
    """Ctrl-C (and SIGTERM) as a wish to stop after the frame in work, so that all files end with the same frame.

    A context manager around a run; `requested` tells. A second Ctrl-C interrupts at once, except while the files are
    being finished and from then on. Outside the main thread, which alone gets signals, nothing happens.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.requested = False
        self.finishing = False

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested and not self.finishing:
            raise KeyboardInterrupt
        self.requested = True

    def __enter__(self) -> Self:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # After an interrupted run only the report is left: another, impatient Ctrl-C must not spoil that.
            signal.signal(number, signal.SIG_IGN if self.requested else handler)


class _OverlayThread:
    """Draws and encodes beside the main loop; keeps at most WAITING_RESULTS pictures waiting."""

    def __init__(self, path: Path, pipeline: Pipeline, rig: StereoRig, view_size_px: tuple[int, int], rate: float):
        self._overlay = Overlay(view_size_px, level_from_left(rig))
        self._writer = open_video_writer(path, self._overlay.size_px, rate)
        self._pipeline = pipeline
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="overlay")
        self._waiting: deque[Future[float]] = deque()

    def submit(self, result: FrameResult, pose: Pose3D | None, status: str) -> list[float]:
        """Queue one picture; returns the milliseconds that drawing took for those finished meanwhile."""
        self._waiting.append(self._thread.submit(self._draw, result, pose, status))
        finished = []
        while self._waiting and (len(self._waiting) > WAITING_RESULTS or self._waiting[0].done()):
            finished.append(self._waiting.popleft().result())
        return finished

    def _draw(self, result: FrameResult, pose: Pose3D | None, status: str) -> float:
        stage_ms: dict[str, float] = {}
        with timed(stage_ms, "draw"):
            refined_m = result.person.pose.points_m if result.person is not None else None
            left, right = (
                ViewOverlay(
                    image,
                    result.detections[view],
                    self._pipeline.rectifier.picture_px(view, refined_m) if refined_m is not None else None,
                )
                for view, image in enumerate((result.pair.left, result.pair.right))
            )
            content = OverlayFrame(
                left, right, pose, result.pair.index, result.pair.timestamp_s, result.stage_ms, status
            )
            picture = self._overlay.compose(content)
        self._writer.write(picture, result.pair.timestamp_s)
        return stage_ms["draw"]

    def close(self) -> list[float]:
        """Finish what waits and the file."""
        try:
            return [future.result() for future in self._waiting]
        finally:
            self._thread.shutdown(cancel_futures=True)
            self._writer.close()


class _Run:
    """The state of one run."""

    def __init__(self, source: PairSource, rig: StereoRig, pipeline: Pipeline, options: RunOptions) -> None:
        self._source, self._rig, self._pipeline, self._options = source, rig, pipeline, options
        self._quality = RunQuality(pipeline.rectifier)
        self._overlay: _OverlayThread | None = None
        self._smoothed: SmoothedRun | None = None
        self._trace = RunTrace(pipeline) if options.report else None
        self._reference = ReferenceFrame(rig, pipeline.rectifier, options.world)
        self._made_folder = not options.output.exists()
        prepare_output_folder(options.output, options.force)

    def execute(self) -> RunReport:
        """Process everything; files are valid on every way out."""
        report = RunReport()
        started_s = time.perf_counter()
        with StopRequest() as stop:
            try:
                self._write_everything(stop)
            except ExchangedViews:
                restore_replaced(self._options.output)
                if self._made_folder:
                    with contextlib.suppress(OSError):
                        self._options.output.rmdir()
                raise
            except OutputError as error:
                with contextlib.suppress(OutputError):
                    self._write_summary(report, started_s, str(error))
                raise RunBrokenOff(str(error)) from error
            self._write_summary(report, started_s, "interrupted by the user" if stop.requested else "")
        complete = self._quality.poses and not self._source.incomplete
        report.exit_code = 130 if stop.requested else 0 if complete else 3
        return report

    def _write_everything(self, stop: StopRequest) -> None:
        reference = self._reference
        recording = Recording(BODY17.joints, self._source.frames_per_second, reference.words, reference.z_up)
        with OutputWriters(self._options.output, recording) as writers:
            try:
                self._loop(writers, stop)
            except KeyboardInterrupt:
                pass  # asked twice; the files are finished all the same
            finally:
                stop.finishing = True
                if self._overlay is not None:
                    self._quality.add_stage("draw", self._overlay.close())
        if self._options.smooth_hz is not None:
            held_m = held_lengths_m(self._pipeline.denoiser)
            self._smoothed = smooth_files(self._options.output, recording, self._options.smooth_hz, held_m)

    def _loop(self, writers: OutputWriters, stop: StopRequest) -> None:
        ahead = LookAhead(self._pipeline, self._options.lookahead)
        with progress(self._source.frames, "poses", "pairs") as bar:
            for pair in self._source:
                if stop.requested:
                    break
                began_s = time.perf_counter()
                stage_ms = {"read": self._source.read_ms}
                with timed(stage_ms, "rectify"):
                    left, right = self._pipeline.rectifier.images(pair.left, pair.right)
                for result in ahead.push(replace(pair, left=left, right=right), stage_ms):
                    self._keep(result, (time.perf_counter() - began_s) * 1e3, writers)
                bar.update()
            for result in ahead.finish():
                self._keep(result, sum(result.stage_ms.values()), writers)

    def _keep(self, result: FrameResult, latency_ms: float, writers: OutputWriters) -> None:
        """Write and draw one result."""
        record = self._reference.record(result)
        self._quality.observe(result, latency_ms)
        if self._quality.views_decided:
            forget_replaced(self._options.output)
        writers.write(record)
        if self._trace is not None:
            self._trace.observe(result)
        if self._options.overlay:
            self._draw(result)
        if self._options.observe is not None:
            self._options.observe(result, record)

    def _draw(self, result: FrameResult) -> None:
        if self._overlay is None:
            height, width = result.pair.left.shape[:2]
            self._overlay = _OverlayThread(
                self._options.output / "overlay.mp4",
                self._pipeline,
                self._rig,
                (width, height),
                self._source.frames_per_second,
            )
        pose = result.person.pose.moved(self._reference.left_from_rectified) if result.person is not None else None
        self._quality.add_stage("draw", self._overlay.submit(result, pose, self._quality.status(result)))

    def _write_summary(self, report: RunReport, started_s: float, broken_off: str) -> None:
        elapsed_s = time.perf_counter() - started_s
        warnings = [*self._source.warnings, *self._quality.warnings()]
        if self._smoothed is not None:
            warnings += self._smoothed.warnings
        if broken_off:
            warnings.insert(0, f"the run ended early: {broken_off}")
        figures = self._quality.figures(elapsed_s)
        figures["bone_lengths"], doubts = lengths_summary(self._pipeline.denoiser)
        warnings += doubts
        figures["smoothing"] = self._smoothed.figures if self._smoothed is not None else None
        report.summary = run_summary(figures, warnings, self._pipeline, self._reference)
        write_json(self._options.output / "summary.json", report.summary)
        if self._trace is not None:
            write_comparison(
                self._trace,
                report.summary,
                self._options.output / "report" / "report.html",
                refined=self._pipeline.denoiser.name != "off",
                smooth_hz=self._smoothed.figures["cutoff_hz"] if self._smoothed is not None else None,
                held_m=held_lengths_m(self._pipeline.denoiser),
            )
        forget_replaced(self._options.output)
        report.files = [path for name in OUTPUT_FILES if (path := self._options.output / name).is_file()]


def process_recording(source: PairSource, rig: StereoRig, pipeline: Pipeline, options: RunOptions) -> RunReport:
    """Poses of all pairs of a source into `options.output`.

    Ctrl-C ends the run early, with valid files. Raises UserError before anything is done when the folder cannot be used
    or the rig lacks what the options ask for, ExchangedViews (nothing is left behind), RunBrokenOff when the disk is
    full.
    """
    return _Run(source, rig, pipeline, options).execute()


def report_lines(report: RunReport) -> list[str]:
    """What to tell the user at the end."""
    summary = report.summary
    lines = [
        f"{summary['frames_with_pose']} of {summary['frames']} frames with a pose, "
        f"{summary['pairs_per_second']:.1f} pairs/s",
        "reprojection of the refined pose: mean {mean:.1f} px, median {median:.1f} px".format(
            **summary["reprojection_px"]
        ),
        "row difference between the views: median {median:.1f} px (bias {bias:+.1f} px)".format(
            **summary["epipolar_px"]
        ),
    ]
    if not summary["frames_with_pose"]:
        lines = lines[:1]
    lines.append("written: " + ", ".join(str(path) for path in report.files))
    return lines
