"""Score a denoiser on real detections with ground truth, beside the baselines.

python -m binopose.tools.evaluate BENCH.npz [--denoiser NAME] [--mode streaming|single] [--detail] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..app.console import print_error, print_line, progress
from ..app.factory import DENOISERS, DenoiserChoice, open_denoiser
from ..app.outputs.files import write_json
from ..app.pipeline import lift
from ..calibration.errors import UserError
from ..calibration.triangulate import triangulate_dlt
from ..engines.denoiser import Denoiser
from ..models.detector_profile import DetectorProfile, load_profile
from ..models.epipolar import RowStatistics
from ..models.skeleton import BODY17
from .datasets.benchmark import Benchmark, RectifiedSample, load_benchmark
from .evaluation_tables import detail_tables, main_table
from .intervals import inside_interval, mean_interval
from .metrics import ERRORS, PoseErrors, errors_of

ROOT = BODY17.index("Pelvis")
HIPS = [BODY17.index("RightHip"), BODY17.index("LeftHip")]
# Root depths are split into this many groups of the same size.
DEPTH_GROUPS = 4
# Stated intervals that are checked, by the percentage they claim.
COVERAGES = {"coverage_50": 0.5, "coverage_90": 0.9}


@dataclass(frozen=True, slots=True)
class Estimates:
    """What a denoiser makes of a file. points_m, sigma_m: (N, 17, 3) rectified left frame of each sample, NaN where it
    gives none."""

    points_m: np.ndarray
    sigma_m: np.ndarray


def estimate(
    samples: Sequence[RectifiedSample],
    subjects: np.ndarray,
    denoiser: Denoiser,
    streaming: bool,
    profile: DetectorProfile | None = None,
) -> Estimates:
    """All samples through triangulation and denoiser as `video` runs them.

    subjects: (N,) whom each sample shows; streaming: samples in order, everything that is learnt from the stream stays
    until the subject changes; else each sample comes alone, to a denoiser that knows nobody; profile: what is known of
    the detector.
    """
    points_m, sigma_m = (np.full((len(samples), len(BODY17), 3), np.nan) for _ in range(2))
    known = profile.rows if profile is not None else None
    rows = RowStatistics(known)
    denoiser.reset()
    with progress(len(samples), f"evaluate {denoiser.name}", "samples") as bar:
        for number, sample in enumerate(samples):
            if not streaming or (number and subjects[number] != subjects[number - 1]):
                denoiser.reset()
                rows = RowStatistics(known)
            left, right = sample.left, sample.right
            if profile is not None:
                left, right = profile.corrected(sample.rig, left, right)
            raw, _ = lift(sample.rig, rows, left, right, float(number))
            if raw is not None:
                pose = denoiser.denoise(sample.rig, left, right, raw)
                points_m[number], sigma_m[number] = pose.points_m, pose.sigma_m
            bar.update()
    return Estimates(points_m, sigma_m)


class Evaluation:
    """The undamaged samples of one file: the truth, and how it is divided. Everything in each sample's rectified frame.

    truth_m: (N, 17, 3); blocks: (N,) what is resampled as one for intervals: an action of a subject, with all cameras
    that saw it.
    """

    def __init__(self, benchmark: Benchmark, profile: DetectorProfile | None = None) -> None:
        self._benchmark, self._profile = benchmark, profile
        self._samples = [benchmark.rectified(sample) for sample in range(len(benchmark))]
        self._scored = benchmark.scored
        self._rectified_from_world = [sample.world_from_rectified.inverse() for sample in self._samples]
        self.truth_m = self._rectified_m(benchmark.truth_m)
        self.actions = benchmark.action[self._scored]
        subjects = benchmark.subject[self._scored]
        self.blocks = np.array([f"{s}/{a}" for s, a in zip(subjects, self.actions, strict=True)])

    def __len__(self) -> int:
        return len(self.truth_m)

    def _rectified_m(self, points_m: np.ndarray) -> np.ndarray:
        """Poses of all samples in the world, (N, 17, 3), as those that are scored, in their rectified frames."""
        moved_m = [move.apply(pose_m) for move, pose_m in zip(self._rectified_from_world, points_m, strict=True)]
        return np.stack(moved_m)[self._scored]

    def geometric_baselines(self) -> dict[str, np.ndarray]:
        """Estimates that need no denoiser here, (N, 17, 3) each."""
        benchmark = self._benchmark
        triangulated_m = triangulate_dlt(benchmark.projections, benchmark.points_px)
        mid_hip_m = triangulated_m.copy()
        mid_hip_m[:, ROOT] = triangulated_m[:, HIPS].mean(axis=1)
        baselines_m = {"triangulation": triangulated_m, "mid_hip": mid_hip_m, "published": benchmark.published_m}
        return {name: self._rectified_m(points_m) for name, points_m in baselines_m.items()}

    def estimates(self, denoiser: Denoiser, streaming: bool) -> Estimates:
        """What a denoiser makes of the file; damaged samples, too, are part of the stream it sees."""
        found = estimate(self._samples, self._benchmark.subject, denoiser, streaming, self._profile)
        return Estimates(found.points_m[self._scored], found.sigma_m[self._scored])

    def errors(self, points_m: np.ndarray) -> PoseErrors:
        """Errors of an estimate, (N, 17, 3). Raises UserError when a joint has no position."""
        incomplete = np.isnan(points_m.sum(axis=(1, 2)))
        if incomplete.any():
            raise UserError(
                f"{np.count_nonzero(incomplete)} of {incomplete.size} samples have joints without a position: "
                "an error over the rest would flatter"
            )
        return errors_of(points_m, self.truth_m, ROOT)

    def scores(self, errors: PoseErrors) -> dict[str, Any]:
        """The usual errors: over everything, per joint, per action and by the depth of the root."""
        return errors.means() | {
            "per_joint_mm": errors.joints_mm.mean(axis=0).tolist(),
            "per_action": {
                str(action): {"n": int(np.sum(self.actions == action))} | errors.means(self.actions == action)
                for action in np.unique(self.actions)
            },
            "by_depth": [
                {"from_m": from_m, "to_m": to_m, "n": int(chosen.sum())} | errors.means(chosen)
                for from_m, to_m, chosen in self._depth_groups()
            ],
        }

    def _depth_groups(self) -> list[tuple[float, float, np.ndarray]]:
        """Nearest and furthest root, and mask of the samples, of groups of the same size from near to far."""
        depth_m = self.truth_m[:, ROOT, 2]
        ordered = np.array_split(np.argsort(depth_m, kind="stable"), min(DEPTH_GROUPS, len(self)))
        return [
            (float(depth_m[group[0]]), float(depth_m[group[-1]]), np.isin(np.arange(len(self)), group))
            for group in ordered
        ]

    def coverage(self, found: Estimates) -> dict[str, Any]:
        """How many true coordinates lie inside the intervals that sigma states: overall, per axis and per joint."""
        errors_m = found.points_m - self.truth_m
        result: dict[str, Any] = {"sigma_share": float(np.isfinite(found.sigma_m).mean())}
        for name, share in COVERAGES.items():
            inside = np.ma.masked_invalid(inside_interval(errors_m, found.sigma_m, share))
            result[name] = float(np.ma.filled(inside.mean(), np.nan))
            result[f"{name}_per_axis"] = np.ma.filled(inside.mean(axis=(0, 1)), np.nan).tolist()
            result[f"{name}_per_joint"] = np.ma.filled(inside.mean(axis=(0, 2)), np.nan).tolist()
        return result

    def camera_pairs(self, found: Estimates) -> dict[str, Any] | None:
        """Does the difference between two camera pairs' estimates of the same moment stay inside what both state?

        This asks no truth. Errors that a detector makes in all views alike cancel, and with cameras close together so
        does most of the rest: intervals that hold here may still be too narrow, those that do not hold are.
        None when no moment was seen by two pairs of cameras.
        """
        moments, groups = self._benchmark.moment[self._scored], self._benchmark.camera_group[self._scored]
        order = np.lexsort((groups, moments))
        same = (moments[order][1:] == moments[order][:-1]) & (groups[order][1:] != groups[order][:-1])
        if not same.any():
            return None
        world_m, sigma_m = (np.empty_like(found.points_m) for _ in range(2))
        to_world = [self._samples[number].world_from_rectified for number in np.flatnonzero(self._scored)]
        for number, move in enumerate(to_world):
            world_m[number] = move.apply(found.points_m[number])
            sigma_m[number] = np.sqrt(found.sigma_m[number] ** 2 @ (move.rotation**2).T)
        first, second = order[:-1][same], order[1:][same]
        apart_m = world_m[first] - world_m[second]
        stated_m = np.hypot(sigma_m[first], sigma_m[second])
        result: dict[str, Any] = {
            "poses": len(first),
            "difference_mm": float(np.nanmean(np.linalg.norm(apart_m, axis=-1)) * 1e3),
        }
        for name, share in COVERAGES.items():
            inside = np.ma.masked_invalid(inside_interval(apart_m, stated_m, share))
            result[name] = float(np.ma.filled(inside.mean(), np.nan))
        return result

    def difference(self, errors: PoseErrors, baseline: PoseErrors) -> dict[str, list[float]]:
        """Mean of (errors - baseline), negative where the first is better, with its 95 % interval: [low, mean, high]
        for each of ERRORS."""
        interval = mean_interval(errors.poses_mm - baseline.poses_mm, self.blocks)
        return dict(zip(ERRORS, interval.T.tolist(), strict=True))


def evaluate(
    benchmark: Benchmark, denoiser: Denoiser, streaming: bool, profile: DetectorProfile | None = None
) -> dict[str, Any]:
    """Scores of the denoiser and, under "baselines", of what it has to beat, on the undamaged samples.

    profile: of the detector, for the denoiser and the skeleton fit; "difference_to" has the paired differences to each
    baseline.
    """
    evaluation = Evaluation(benchmark, profile)
    found = evaluation.estimates(denoiser, streaming)
    skeleton = open_denoiser(DenoiserChoice("skeleton"))
    fitted = found if denoiser.name == skeleton.name else evaluation.estimates(skeleton, streaming)
    own, pairs = evaluation.errors(found.points_m), evaluation.camera_pairs(found)
    baselines_m = evaluation.geometric_baselines() | {"skeleton_fit": fitted.points_m}
    baselines = {name: evaluation.errors(points_m) for name, points_m in baselines_m.items()}
    return (
        evaluation.scores(own)
        | {"n": len(evaluation), "denoiser": denoiser.name, "mode": "streaming" if streaming else "single"}
        | evaluation.coverage(found)
        | ({"camera_pairs": pairs} if pairs is not None else {})
        | {
            "difference_to": {name: evaluation.difference(own, errors) for name, errors in baselines.items()},
            "baselines": {name: evaluation.scores(errors) for name, errors in baselines.items()},
        }
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m binopose.tools.evaluate",
        description="Score a denoiser on a benchmark file of real stereo detections with ground truth. Damaged frames "
        "are left out; the baselines are scored on the same frames.",
    )
    parser.add_argument("benchmark", type=Path, nargs="+", metavar="BENCH.npz", help="benchmark files")
    parser.add_argument(
        "--denoiser",
        default=DenoiserChoice.name,
        metavar="NAME",
        help=f"{', '.join(DENOISERS)} or an exported denoiser (%(default)s)",
    )
    parser.add_argument("--steps", type=int, default=DenoiserChoice.steps, metavar="K", help="(%(default)s)")
    parser.add_argument("--hypotheses", type=int, default=DenoiserChoice.hypotheses, metavar="N", help="(%(default)s)")
    parser.add_argument(
        "--mode",
        choices=("streaming", "single"),
        default="streaming",
        help="streaming: frames in order, bone lengths learnt causally; single: every frame alone (%(default)s)",
    )
    parser.add_argument(
        "--raw",
        action="store_true",
        help="use the detections before their mean error per joint was removed (what is known of the published model "
        "was made with the others)",
    )
    parser.add_argument(
        "--profile", type=Path, metavar="FILE", help="a profile of the detector, as `tools.profile --benchmark` learns"
    )
    parser.add_argument("--detail", action="store_true", help="also per joint, per action and by depth")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores; with several files, a list")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        results = []
        profile = load_profile(options.profile) if options.profile is not None else None
        for path in options.benchmark:
            benchmark = load_benchmark(path, options.raw)
            denoiser = open_denoiser(DenoiserChoice(options.denoiser, options.steps, options.hypotheses))
            result = evaluate(benchmark, denoiser, options.mode == "streaming", profile)
            results.append(result)
            detections = ", raw detections" if options.raw else ""
            print_line(f"{path.name}: {result['n']} samples, {result['mode']}{detections}")
            for line in main_table(result) + (detail_tables(result) if options.detail else []):
                print_line("  " + line)
        if options.json is not None:
            write_json(options.json, results[0] if len(results) == 1 else {"results": results})
    except UserError as error:
        print_error(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
