"""`binopose demo`: a simulated person in front of a simulated rig, through the real pipeline."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ...calibration.errors import UserError
from ...calibration.rectify import Rectifier
from ...calibration.rig import StereoRig
from ...engines.detectors.simulated import SimulatedDetector
from ...models.skeleton import BODY17
from ..console import print_line, print_warning
from ..outputs.record import PoseRecord
from ..pipeline import FrameResult, Pipeline
from ..processing import RunOptions, process_recording, report_lines
from ..simulation.motion import SimulatedPerson
from ..simulation.scene import SimulatedScene, SimulatedSource
from ..simulation.virtual_rig import virtual_rig
from .common import add_output_option, add_processing_options, denoiser_of

DESCRIPTION = """\
Everything here is simulated: a procedural person walks and reaches in front of a virtual pair of webcams (0.25 m
apart, 2 to 4 m away, with lens distortion), and a simulated detector errs as real ones do. What follows is the real
program: rectification, triangulation, refinement, the same files as `binopose video`. Since the truth is known, the
errors are printed. Needs no camera, no file and no download.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "demo",
        help="a simulated person and rig: no camera, no file, no download",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_output_option(parser, Path("demo-out"))
    parser.add_argument("--duration", type=float, default=10.0, metavar="S", help="seconds (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another rig, person and noise, from 0 on (default: 0)")
    add_processing_options(parser)
    parser.set_defaults(run=run)


class TruthComparison:
    """Distances of the joints that were observed from where they really are, in the frame of the results."""

    def __init__(self, scene: SimulatedScene, rig: StereoRig, world: bool) -> None:
        self._scene = scene
        self._output_from_left = rig.world_from_left if world else None
        self._distances_m: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])

    def observe(self, result: FrameResult, record: PoseRecord) -> None:
        """Add one frame."""
        truth_m = self._scene.truth_m(result.pair.timestamp_s)
        if self._output_from_left is not None:
            truth_m = self._output_from_left.apply(truth_m)
        observed = record.confidence > 0
        for points_m, distances_m in zip((record.raw_points_m, record.points_m), self._distances_m, strict=True):
            distances_m.append(np.linalg.norm(points_m - truth_m, axis=1)[observed])

    def errors_mm(self) -> tuple[float, float]:
        """Mean distance of the triangulated and of the refined joints; NaN when there was no pose."""
        triangulated, refined = (
            float(np.concatenate(distances_m).mean() * 1e3) if any(map(len, distances_m)) else float("nan")
            for distances_m in self._distances_m
        )
        return triangulated, refined


def run(options: argparse.Namespace) -> int:
    """Run the demonstration. Returns the exit code."""
    if not 0.1 <= options.duration <= 3600:
        raise UserError(f"--duration: expected 0.1 to 3600 seconds, found {options.duration:g}")
    if options.seed < 0:
        raise UserError(f"--seed: expected 0 or more, found {options.seed}")
    print_line("Simulated: a made-up person in front of a made-up rig; the pipeline and the files are the real ones.")
    rig = virtual_rig(options.seed)
    scene = SimulatedScene(rig, SimulatedPerson(seed=options.seed))
    rectifier = Rectifier(rig)
    detector = SimulatedDetector(scene.truth_m, rectifier, seed=options.seed)
    comparison = TruthComparison(scene, rig, options.world)
    pipeline = Pipeline(rectifier, detector, denoiser_of(options))
    report = process_recording(
        SimulatedSource(scene, options.duration),
        rig,
        pipeline,
        RunOptions(options.output, options.force, not options.no_overlay, options.world, observe=comparison.observe),
    )
    for line in report_lines(report):
        print_line(line)
    for warning in report.summary["warnings"]:
        print_warning(warning)
    triangulated_mm, refined_mm = comparison.errors_mm()
    print_line(
        f"mean error against the known truth ({len(BODY17)} joints, where observed): "
        f"triangulated {triangulated_mm:.1f} mm, refined ({pipeline.denoiser.name}) {refined_mm:.1f} mm"
    )
    return report.exit_code
