"""Recording while it runs: raw streams, pose files, overlay and summary, in a thread that holds nobody up."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ...calibration.rig import StereoRig
from ...models.skeleton import BODY17
from ..capture import CameraThread, CapturedFrame
from ..outputs.files import OutputError, prepare_output_folder, write_json
from ..outputs.record import PoseRecord, Recording
from ..outputs.video_writer import VideoWriter, open_video_writer
from ..outputs.writers import OutputWriters
from ..pipeline import FrameResult, Pipeline
from ..processing import run_summary
from ..quality import ExchangedViews, RunQuality
from ..reference import ReferenceFrame
from .raw_streams import StreamWriter, start_streams

# What may wait for a slow disk; beyond that pictures are left out of the recording, and counted.
MOST_WAITING_BYTES = 96 << 20
# A pose counts as so much: what its arrays and their wrapping take.
POSE_BYTES, STAGE_BYTES = 8 << 10, 256
# What players are told; the files carry the real times.
NOMINAL_RATE_HZ = 30.0
_NO_PICTURE = np.empty((0, 0, 3), np.uint8)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecordingState:
    """How a recording is doing. lost_frames: raw pictures, lost_poses: frames of the pose files, that a slow disk left
    no room for; failure: why nothing more is written, "" while all is well."""

    folder: Path
    elapsed_s: float
    frames: int
    lost_frames: int
    lost_poses: int
    failure: str

    @property
    def complaint(self) -> str:
        """What its user should know, "" for nothing."""
        if self.failure:
            return f"recording stopped: {self.failure}"
        if self.lost_frames or self.lost_poses:
            lost = f"{self.lost_frames} pictures and {self.lost_poses} poses are not recorded"
            return f"the disk or this machine is too slow: {lost}"
        return ""


class LiveRecorder:
    """Writes one recording into a folder of its own."""

    def __init__(
        self,
        folder: Path,
        rig: StereoRig,
        pipeline: Pipeline,
        reference: ReferenceFrame,
        cameras: tuple[CameraThread, ...] = (),
        overlay: bool = True,
    ) -> None:
        """cameras: whose pictures are recorded as they come; none for a replay. overlay: write overlay.mp4.

        Raises OutputError when the folder is not empty or cannot be written to.
        """
        self.folder = prepare_output_folder(folder)
        self._pipeline, self._reference = pipeline, reference
        self._quality = RunQuality(pipeline.rectifier)
        self._exchanged = ""
        self._start_s = time.monotonic()
        self._time_zero_s = self._start_s if cameras else 0.0
        self._poses = OutputWriters(
            folder, Recording(BODY17.joints, NOMINAL_RATE_HZ, reference.words, z_up=reference.z_up)
        )
        self._streams: tuple[StreamWriter, ...] = ()
        if cameras:
            try:
                self._streams = start_streams(folder, rig, len(cameras) == 1, self._start_s)
            except OutputError:
                self._poses.close()
                raise
        self._wants_overlay = overlay
        self._video: VideoWriter | None = None
        self._drawing = threading.Lock()
        self._changed = threading.Condition()
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._waiting_bytes = 0
        self._frames = self._lost_frames = self._lost_poses = 0
        self._failure = ""
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()
        self._listening = [
            (camera, partial(self._add_frame, writer)) for camera, writer in zip(cameras, self._streams, strict=True)
        ]
        for camera, listener in self._listening:
            camera.add_listener(listener)

    @property
    def state(self) -> RecordingState:
        """How it is doing."""
        with self._changed:
            return RecordingState(
                self.folder,
                time.monotonic() - self._start_s,
                self._frames,
                self._lost_frames,
                self._lost_poses,
                self._failure,
            )

    @property
    def wants_pictures(self) -> bool:
        """Whether `add_picture` has a use for them."""
        return self._wants_overlay and not self._failure

    def add_result(self, result: FrameResult, latency_ms: float) -> None:
        """Record the pose of a pair; returns at once."""
        record = self._reference.record(result)
        record = replace(record, timestamp_s=record.timestamp_s - self._time_zero_s)
        if self._streams and record.timestamp_s < 0:
            return  # seen before the recording began: its pictures are not in it
        # The pictures are none of this thread's business, and waiting with them would take memory.
        result = replace(result, pair=replace(result.pair, left=_NO_PICTURE, right=_NO_PICTURE))
        if not self._put(POSE_BYTES, partial(self._write_pose, record, result, latency_ms)):
            with self._changed:
                self._lost_poses += 1

    def add_picture(self, picture: np.ndarray, timestamp_s: float) -> None:
        """Add a picture to the overlay video, unless its encoder is behind. Called by the drawing thread alone."""
        with self._drawing:
            if not self._wants_overlay or self._failure or self._closing:
                return
            try:
                if self._video is None:
                    size_px = (picture.shape[1], picture.shape[0])
                    self._video = open_video_writer(self.folder / "overlay.mp4", size_px, NOMINAL_RATE_HZ)
                if not self._video.busy:
                    self._video.write(picture, timestamp_s)
            except OutputError as error:
                self._fail(error)

    def add_draw_ms(self, duration_ms: float) -> None:
        """Note what drawing a picture took."""
        self._put(STAGE_BYTES, partial(self._quality.add_stage, "draw", [duration_ms]))

    def close(self) -> list[str]:
        """Write what waits, finish all files and return what its user should know; what comes later is ignored."""
        for camera, listener in self._listening:
            camera.remove_listener(listener)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        with self._drawing:
            video = [self._video.close] if self._video is not None else []
        for finish in (*(stream.close for stream in self._streams), *video, self._finish):
            try:
                finish()
            except OutputError as error:
                self._fail(error)
        return self._warnings()

    # From here on in the thread of a camera, then of the recorder.

    def _add_frame(self, writer: StreamWriter, frame: CapturedFrame) -> None:
        if frame.timestamp_s < self._start_s:
            return
        size = frame.image.nbytes
        if frame.jpeg is not None:
            size, frame = len(frame.jpeg), replace(frame, image=_NO_PICTURE)
        if not self._put(size, partial(self._write_frame, writer, frame)):
            with self._changed:
                self._lost_frames += 1

    def _put(self, size: int, write: Callable[[], None]) -> bool:
        """Have the recorder's thread do something; False when there is no room to wait for it."""
        with self._changed:
            if self._closing:
                return True
            if self._failure or self._waiting_bytes + size > MOST_WAITING_BYTES:
                return False
            self._waiting.append((size, write))
            self._waiting_bytes += size
            self._changed.notify_all()
            return True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                size, write = self._waiting.popleft()
                self._waiting_bytes -= size
            try:
                write()
            except OutputError as error:
                self._fail(error)
                return

    def _write_frame(self, writer: StreamWriter, frame: CapturedFrame) -> None:
        writer.write(frame)
        self._frames += 1

    def _write_pose(self, record: PoseRecord, result: FrameResult, latency_ms: float) -> None:
        try:
            self._quality.observe(result, latency_ms)
        except ExchangedViews as error:
            self._exchanged = str(error)
        self._poses.write(record)

    def _fail(self, error: OutputError) -> None:
        with self._changed:
            if not self._failure:
                self._failure = str(error)
                _log.warning("%s", error)
            self._waiting.clear()
            self._waiting_bytes = 0

    def _finish(self) -> None:
        elapsed_s = time.monotonic() - self._start_s
        try:
            self._poses.close()
        finally:
            figures = self._quality.figures(elapsed_s) | {
                "recorded_frames": self._frames,
                "lost_frames": self._lost_frames,
                "lost_poses": self._lost_poses,
            }
            write_json(
                self.folder / "summary.json", run_summary(figures, self._warnings(), self._pipeline, self._reference)
            )

    def _warnings(self) -> list[str]:
        complaint = self.state.complaint
        return [each for each in (complaint, self._exchanged, *self._quality.warnings()) if each]
