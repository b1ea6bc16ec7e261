"""Speed of what surrounds the networks: decoding, rectifying, triangulating, refining, drawing, encoding."""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..app.factory import DenoiserChoice, open_denoiser
from ..app.frames import FramePair
from ..app.outputs.video_writer import open_video_writer
from ..app.overlay import Overlay, OverlayFrame, ViewOverlay
from ..app.pipeline import Pipeline
from ..app.recording import StereoRecording
from ..app.simulation.motion import SimulatedPerson
from ..app.simulation.scene import SimulatedScene, SimulatedSource
from ..app.simulation.virtual_rig import virtual_rig
from ..calibration.errors import UserError
from ..calibration.rectify import Rectifier
from ..calibration.triangulate import triangulate
from ..engines.detectors.simulated import SimulatedDetector
from .timing import Candidate, Row, interleaved

# Of the simulated recording, which is played over and over.
RECORDED_S = 2.0


def record(pairs: list[FramePair], folder: Path, rate: float) -> tuple[Path, Path]:
    """Both views of a recording as videos, written as overlays are."""
    paths = folder / "left.mp4", folder / "right.mp4"
    height, width = pairs[0].left.shape[:2]
    writers = [open_video_writer(path, (width, height), rate) for path in paths]
    for pair in pairs:
        writers[0].write(pair.left, pair.timestamp_s)
        writers[1].write(pair.right, pair.timestamp_s)
    for writer in writers:
        writer.close()
    return paths


class EndlessReader:
    """Reads a recording from its start again whenever it ends."""

    def __init__(self, left: Path, right: Path) -> None:
        self._paths = left, right
        self._recording: StereoRecording | None = None
        self._pairs: Iterator[FramePair] = iter(())

    def read(self) -> FramePair:
        """The next pair."""
        pair = next(self._pairs, None)
        if pair is None:
            self.close()
            self._recording = StereoRecording(*self._paths)
            self._pairs = iter(self._recording)
            pair = next(self._pairs)
        return pair

    def close(self) -> None:
        """Close the files."""
        if self._recording is not None:
            self._recording.close()


@contextmanager
def stage_candidates(folder: Path) -> Iterator[list[Candidate]]:
    """The stages of a simulated recording; files lie in `folder` and are closed at the end."""
    rig = virtual_rig()
    scene = SimulatedScene(rig, SimulatedPerson())
    source = SimulatedSource(scene, RECORDED_S)
    pairs = list(source)
    rectifier = Rectifier(rig, "images")
    denoiser = open_denoiser(DenoiserChoice("skeleton"))
    pipeline = Pipeline(rectifier, SimulatedDetector(scene.truth_m, rectifier), denoiser)
    results = [pipeline.process(replace_pictures(pair, rectifier)) for pair in pairs]
    seen = [(result, result.person) for result in results if result.person is not None]
    if not seen:
        raise UserError("the simulated recording shows nobody")
    result, person = seen[-1]
    points_px = np.concatenate([person.left.points_px, person.right.points_px])
    overlay = Overlay(rig.left.size_px)
    views = [
        ViewOverlay(picture, result.detections[view], rectifier.picture_px(view, person.pose.points_m))
        for view, picture in enumerate((result.pair.left, result.pair.right))
    ]
    content = OverlayFrame(views[0], views[1], person.pose, result.pair.index, result.pair.timestamp_s)
    picture = overlay.compose(content)
    writer = open_video_writer(folder / "overlay.mp4", overlay.size_px, source.frames_per_second)
    times = itertools.count()
    reader = EndlessReader(*record(pairs, folder, source.frames_per_second))
    refine = open_denoiser(DenoiserChoice("skeleton"))
    width, height = rig.left.size_px
    base = Row("", f"{width} x {height}", "cpu")
    what = {
        "decode both videos": reader.read,
        "rectify both pictures": lambda: rectifier.images(pairs[0].left, pairs[0].right),
        "rectify the joints of both views": lambda: rectifier.rectified_px(0, points_px),
        "triangulate": lambda: triangulate(rectifier.rig, person.left.points_px, person.right.points_px),
        "refine (skeleton)": lambda: refine.denoise(rectifier.rig, person.left, person.right, person.raw),
        "draw the overlay": lambda: overlay.compose(content),
        "encode the overlay": lambda: writer.write(picture, next(times) / source.frames_per_second),
    }
    try:
        yield [Candidate(replace(base, what=name), run) for name, run in what.items()]
    finally:
        writer.close()
        reader.close()


def replace_pictures(pair: FramePair, rectifier: Rectifier) -> FramePair:
    """The pair as the pipeline takes it: rectified."""
    left, right = rectifier.images(pair.left, pair.right)
    return replace(pair, left=left, right=right)


def add_part(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe `bench stages`."""
    part = parts.add_parser("stages", help="decoding, rectifying, triangulating, refining, drawing, encoding")
    part.add_argument("--seconds", type=float, default=1.0, metavar="S", help="for each row (default: 1)")
    part.set_defaults(measure=measure)


def measure(options: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """Rows, and facts for the file."""
    with tempfile.TemporaryDirectory() as folder, stage_candidates(Path(folder)) as candidates:
        return interleaved(candidates, options.seconds), {}
