"""Score a denoiser on real detections with ground truth, beside the baselines.

python -m binopose.tools.evaluate BENCH.npz [--denoiser NAME] [--mode streaming|single] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..app.console import print_error, print_line, progress
from ..app.factory import DENOISERS, open_denoiser
from ..app.outputs.files import write_json
from ..app.pipeline import lift
from ..calibration.errors import UserError
from ..calibration.triangulate import triangulate_dlt
from ..engines.denoiser import Denoiser
from ..models.epipolar import RowStatistics
from ..models.pose import Pose2D
from ..models.skeleton import BODY17
from .datasets.benchmark import Benchmark, load_benchmark
from .metrics import pose_errors

ROOT = BODY17.index("Pelvis")
HIPS = [BODY17.index("RightHip"), BODY17.index("LeftHip")]


def denoised_m(benchmark: Benchmark, denoiser: Denoiser, streaming: bool) -> np.ndarray:
    """Poses of all samples through triangulation and denoiser as `video` runs them, world frame, (N, 17, 3).

    streaming: samples in order, everything that is learnt from the stream stays, until the subject changes; else each
    sample comes alone, to a denoiser that knows nobody.
    """
    points_m = np.full((len(benchmark), len(BODY17), 3), np.nan)
    rows = RowStatistics()
    confidence = np.ones(len(BODY17))
    with progress(len(benchmark), f"evaluate {denoiser.name}", "samples") as bar:
        for sample in range(len(benchmark)):
            if not streaming or (sample and benchmark.subject[sample] != benchmark.subject[sample - 1]):
                denoiser.reset()
                rows = RowStatistics()
            rectifier = benchmark.rectifier(sample)
            left, right = (
                Pose2D(rectifier.points(view, benchmark.points_px[sample, view]), confidence, BODY17) for view in (0, 1)
            )
            raw, _ = lift(rectifier.rig, rows, left, right, float(sample))
            if raw is not None:
                found_m = denoiser.denoise(rectifier.rig, left, right, raw).points_m
                points_m[sample] = benchmark.world_from_rectified(rectifier, sample, found_m)
            bar.update()
    return points_m


def _scores(benchmark: Benchmark, points_m: np.ndarray) -> dict[str, Any]:
    incomplete = np.isnan(points_m[benchmark.scored].sum(axis=(1, 2)))
    if incomplete.any():
        raise UserError(
            f"{np.count_nonzero(incomplete)} of {incomplete.size} samples have joints without a position: "
            "an error over the rest would flatter"
        )
    return pose_errors(points_m[benchmark.scored], benchmark.truth_m[benchmark.scored], ROOT)


def evaluate(benchmark: Benchmark, denoiser: Denoiser, streaming: bool) -> dict[str, Any]:
    """Scores of the denoiser and, under "baselines", of what it has to beat, on the undamaged samples."""
    triangulated_m = triangulate_dlt(benchmark.projections, benchmark.points_px)
    mid_hip_m = triangulated_m.copy()
    mid_hip_m[:, ROOT] = triangulated_m[:, HIPS].mean(axis=1)
    skeleton = open_denoiser("skeleton")
    own_m = denoised_m(benchmark, denoiser, streaming)
    same = denoiser.name == skeleton.name
    return _scores(benchmark, own_m) | {
        "n": int(benchmark.scored.sum()),
        "denoiser": denoiser.name,
        "mode": "streaming" if streaming else "single",
        "baselines": {
            "triangulation": _scores(benchmark, triangulated_m),
            "mid_hip": _scores(benchmark, mid_hip_m),
            "skeleton_fit": _scores(benchmark, own_m if same else denoised_m(benchmark, skeleton, streaming)),
            "published": _scores(benchmark, benchmark.published_m),
        },
    }


def _table(result: dict[str, Any]) -> list[str]:
    lines = [f"{'mm':<20} {'MPJPE':>8} {'root-rel':>9} {'Procrustes':>11}"]
    for name, scores in [*result["baselines"].items(), (f"this: {result['denoiser']}", result)]:
        mpjpe, relative, procrustes = (scores[key] for key in ("mpjpe_mm", "root_relative_mpjpe_mm", "pa_mpjpe_mm"))
        lines.append(f"{name:<20} {mpjpe:8.2f} {relative:9.2f} {procrustes:11.2f}")
    joints = ", ".join(
        f"{joint} {error:.1f}" for joint, error in zip(BODY17.joints, result["per_joint_mm"], strict=True)
    )
    return [*lines, f"per joint: {joints}"]


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m binopose.tools.evaluate",
        description="Score a denoiser on a benchmark file of real stereo detections with ground truth. Damaged frames "
        "are left out; the baselines are scored on the same frames.",
    )
    parser.add_argument("benchmark", type=Path, nargs="+", metavar="BENCH.npz", help="benchmark files")
    parser.add_argument("--denoiser", default="skeleton", metavar="NAME", help=f"{', '.join(DENOISERS)} (%(default)s)")
    parser.add_argument(
        "--mode",
        choices=("streaming", "single"),
        default="streaming",
        help="streaming: frames in order, bone lengths learnt causally; single: every frame alone (%(default)s)",
    )
    parser.add_argument(
        "--raw", action="store_true", help="use the detections before their mean error per joint was removed"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores; with several files, a list")
    options = parser.parse_args(arguments)
    try:
        results = []
        for path in options.benchmark:
            benchmark = load_benchmark(path, options.raw)
            result = evaluate(benchmark, open_denoiser(options.denoiser), options.mode == "streaming")
            results.append(result)
            print_line(f"{path.name}: {result['n']} samples, {result['mode']}")
            for line in _table(result):
                print_line("  " + line)
        if options.json is not None:
            write_json(options.json, results[0] if len(results) == 1 else {"results": results})
    except UserError as error:
        print_error(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
