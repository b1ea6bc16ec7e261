"""Learn what a detector gets wrong on a rig, from recordings of people without ground truth.

python -m binopose.tools.profile LEFT RIGHT --rig rig.toml [--detector NAME|FILE] [-o profile.toml]
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from ..app.commands.common import add_detection_options, add_engine_options
from ..app.console import print_error, print_line, print_warning, progress
from ..app.factory import DenoiserChoice, engine_choice, open_denoiser, open_detector, profile_file
from ..app.live.raw_streams import is_recording
from ..app.live.recorded import RecordedStreams
from ..app.live.sync import SoftSync
from ..app.lookahead import LookAhead
from ..app.pipeline import PersonResult, Pipeline, lift
from ..app.processing import PairSource
from ..app.recording import StereoRecording
from ..calibration.errors import UserError
from ..calibration.rectify import Rectifier
from ..calibration.rig_file import load_rig
from ..engines.denoiser import Denoiser
from ..models.detector_profile import DetectorProfile, save_profile
from ..models.epipolar import RowStatistics
from ..models.skeleton import BODY17
from .datasets.benchmark import Benchmark, load_benchmark
from .profile_learning import MOMENTS_OF_ITS_OWN, ProfileLearner

EPILOG = """\
Record half a minute or more of somebody who turns and moves about in both views; several people and recordings are
better. What comes out: how much the rows of both views differ at each joint, how heavy the tails of that are, and
whether the detector puts pelvis, neck or head where nobody has them. `video` and `live` take the file by itself when it
lies beside the detector's weights (where it is written unless -o says otherwise), any other with --profile FILE.

examples:
  python -m binopose.tools.profile left.mp4 right.mp4 --rig rig.toml
  python -m binopose.tools.profile a-left.mp4 a-right.mp4 b-left.mp4 b-right.mp4 --rig rig.toml --detector rtmpose-m
  python -m binopose.tools.profile session1 session2 --rig rig.toml          folders of `binopose live --record`
"""


def _sources(paths: list[Path]) -> Iterator[contextlib.AbstractContextManager[StereoRecording | RecordedStreams]]:
    """The recordings that the arguments name: folders by themselves, videos in pairs. Raises UserError."""
    rest = list(paths)
    while rest:
        first = rest.pop(0)
        if is_recording(first):
            yield RecordedStreams(first)
        elif rest:
            yield StereoRecording(first, rest.pop(0))
        else:
            raise UserError(f"{first}: videos come in pairs, LEFT RIGHT; the right one is missing")


def _people(
    source: PairSource, rectifier: Rectifier, options: argparse.Namespace, words: str
) -> Iterator[PersonResult]:
    """Everybody in a recording, with sides put right."""
    engine = engine_choice(options.device, options.allow_inexact)
    detector = open_detector(options.detector, rectifier, engine)
    try:
        # Without a profile: what an earlier one corrects would otherwise look right.
        sync = SoftSync() if isinstance(source, RecordedStreams) else None
        ahead = LookAhead(Pipeline(rectifier, detector, open_denoiser(DenoiserChoice(), engine), sync))
        with progress(source.frames, words, "pairs") as bar:
            for pair in source:
                left, right = rectifier.images(pair.left, pair.right)
                for result in ahead.push(replace(pair, left=left, right=right)):
                    if result.person is not None:
                        yield result.person
                bar.update()
            for result in ahead.finish():
                if result.person is not None:
                    yield result.person
    finally:
        detector.close()


def learn_from_recordings(options: argparse.Namespace) -> DetectorProfile:
    """The profile of the detector on the recordings that the options name. Raises UserError."""
    if options.rig is None:
        raise UserError("--rig is missing: the calibration of the cameras that took these recordings")
    calibrated = load_rig(options.rig)
    learner, rig = ProfileLearner(), calibrated
    for number, opened in enumerate(_sources(options.recordings)):
        with opened as source:
            rig, notes = calibrated.adapted_to(source.sizes_px)
            rectifier = Rectifier(rig, None if options.rectify == "auto" else options.rectify)
            for person in _people(source, rectifier, options, f"recording {number + 1}"):
                learner.observe(person, number)
            for warning in [*notes, *source.warnings]:
                print_warning(f"recording {number + 1}: {warning}")
    return learner.profile(Path(options.detector).name, rig, _provenance(options.recordings))


def learn_from_detections(
    benchmark: Benchmark, denoiser: Denoiser, learnt_from: Mapping[str, object]
) -> DetectorProfile:
    """The profile of the detections in a benchmark file; its ground truth is not looked at. Raises UserError."""
    learner, rows = ProfileLearner(), RowStatistics()
    with progress(len(benchmark), "detections", "samples") as bar:
        for number in range(len(benchmark)):
            sample = benchmark.rectified(number)
            raw, rows_px = lift(sample.rig, rows, sample.left, sample.right, float(number))
            if raw is not None:
                pose = denoiser.denoise(sample.rig, sample.left, sample.right, raw)
                learner.observe(PersonResult(sample.left, sample.right, raw, pose, rows_px), 0)
            bar.update()
    return learner.profile("", benchmark.rig(0), learnt_from)


def _provenance(recordings: list[Path]) -> dict[str, object]:
    return {"recordings": [path.name for path in recordings], "version": version("binopose")}


def profile_lines(profile: DetectorProfile) -> list[str]:
    """What was learnt, for the terminal."""
    frames, moments = (profile.learnt_from[key] for key in ("frames", "independent_moments"))
    agreement = profile.figures["triangulated_from_refined_mm"]
    lines = [
        f"learnt from {frames} frames, {moments} independent moments",
        f"{'':14}  rows, % of height  tails (t)  triangulated from refined, mm",
    ]
    for number, joint in enumerate(BODY17.joints):
        noise = profile.row_noise[number]
        cells = f"{noise * 100:17.2f}  {profile.freedom[number]:9.1f}" if noise == noise else f"{'-':>17}  {'-':>9}"
        lines.append(f"{joint:14}  {cells}  {agreement.get(joint, '-'):>29}")
    lines.append(f"{'':26}  varies by, %: triangulated, refined")
    lines += [
        f"{bone:26}  {each['spread_percent']:26.1f}  {each['refined_spread_percent']:7.1f}"
        for bone, each in profile.figures["bones"].items()
    ]
    off = [joint for joint, offset in zip(BODY17.joints, profile.definition_offset, strict=True) if offset.any()]
    lines += [
        f"{joint}: outside every convention by {np.round(profile.definition_offset[BODY17.index(joint)], 2).tolist()} "
        "of the trunk's length (to the left, up, forward); will be put back"
        for joint in off
    ] or ["pelvis, thorax, neck, head and nose, as far as detected, lie where some convention has them"]
    return lines


def profile_doubts(profile: DetectorProfile) -> list[str]:
    """What to think of when using it."""
    doubts = []
    if profile.learnt_from["independent_moments"] < MOMENTS_OF_ITS_OWN:
        doubts.append(
            "this is little to learn from, so that all joints are taken to be much alike: record half a minute or more"
        )
    if not np.isfinite(profile.row_noise).any():
        doubts.append(
            "rows tell nothing about noise here: no joint was sure in both views, or both views were made equal before"
        )
    return doubts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m binopose.tools.profile",
        description="Learn what a detector gets wrong on a rig, from recordings of people without ground truth, and "
        "write it to a file that `binopose video` and `live` use.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "recordings", type=Path, nargs="+", metavar="RECORDING", help="LEFT RIGHT videos, or folders of `live --record`"
    )
    parser.add_argument("--rig", type=Path, metavar="rig.toml", help="the calibrated rig")
    add_detection_options(parser)
    add_engine_options(parser)
    parser.add_argument(
        "--benchmark", action="store_true", help="RECORDING is one file of detections as `tools.evaluate` scores them"
    )
    parser.add_argument("--raw", action="store_true", help="of a benchmark: detections with their mean error")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="(default: beside the detector's weights)")
    parser.add_argument("--force", action="store_true", help="replace an existing profile")
    return parser


def run(options: argparse.Namespace) -> int:
    """Learn and write. Returns the exit code; raises UserError."""
    if options.benchmark and options.output is None:
        raise UserError("-o is missing: detections from a file belong to no detector that is here")
    if options.benchmark and len(options.recordings) != 1:
        raise UserError(f"--benchmark: expected one file, found {len(options.recordings)}")
    output = options.output or profile_file(options.detector)
    if output.exists() and not options.force:
        raise UserError(f"{output}: exists already; use --force to replace it, or another file (-o)")
    if options.benchmark:
        benchmark = load_benchmark(options.recordings[0], options.raw)
        profile = learn_from_detections(benchmark, open_denoiser(DenoiserChoice()), _provenance(options.recordings))
    else:
        profile = learn_from_recordings(options)
    for line in profile_lines(profile):
        print_line(line)
    save_profile(output, profile)
    print_line(f"written: {output}")
    for doubt in profile_doubts(profile):
        print_warning(doubt)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    try:
        return run(_parser().parse_args(arguments))
    except UserError as error:
        print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        print_error("interrupted; nothing was written")
        return 130


if __name__ == "__main__":
    sys.exit(main())
