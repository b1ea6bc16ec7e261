"""Whether to believe a calibration: good, usable or refused, why, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .boards import Board
from .measure import CameraMeasures, RigMeasures
from .solve import MIN_PAIRS, RigFit

Verdict = Literal["good", "usable", "refused"]

# Limits beyond which a calibration is refused, and within which it is good; between them it is usable.
REFUSED_RMS_PX, GOOD_RMS_PX = 2.0, 0.6
REFUSED_BASELINE_PART, GOOD_BASELINE_PART = 0.05, 0.005
REFUSED_FOCAL_PART, GOOD_FOCAL_PART = 0.05, 0.01
REFUSED_SCALE_PART, GOOD_SCALE_PART = 0.02, 0.005
REFUSED_TILT_DEG, GOOD_TILT_DEG = 5.0, 25.0
GOOD_COVERED = 0.5
GOOD_PAIRS = 10
GOOD_DISTANCE_RATIO = 1.3
GOOD_BORDER = 0.95
# Pixel limits hold for pictures this wide and grow with wider ones.
REFERENCE_WIDTH_PX = 1280
# Boards and rigs outside these sizes exist, but a square size in the wrong unit is far more common: ask.
BOARD_LENGTH_M = (0.04, 2.0)
BASELINE_M = (0.01, 10.0)


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding: what was seen, and what to do (empty when there is nothing to do)."""

    severity: Verdict
    what: str
    advice: str = ""

    def sentence(self) -> str:
        """Both in one line."""
        return f"{self.what}: {self.advice}" if self.advice else self.what


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict is the worst of its reasons."""

    reasons: tuple[Reason, ...]

    @property
    def verdict(self) -> Verdict:
        """good, usable or refused."""
        for verdict in ("refused", "usable"):
            if any(reason.severity == verdict for reason in self.reasons):
                return verdict
        return "good"


def refused(what: str, advice: str) -> Judgement:
    """A judgement for when nothing could be solved."""
    return Judgement((Reason("refused", what, advice),))


def judge_sizes(board: Board, baseline_m: float | None) -> list[Reason]:
    """Whether lengths are of the size boards and rigs have; a wrong unit is off by ten or a thousand."""
    longest = max(board.size_m)
    square_mm = board.square_m * 1e3
    found = []
    if not BOARD_LENGTH_M[0] <= longest <= BOARD_LENGTH_M[1]:
        found.append(f"squares of {square_mm:g} mm would make the board {_length(longest)} long")
    if baseline_m is not None and not BASELINE_M[0] <= baseline_m <= BASELINE_M[1]:
        found.append(f"squares of {square_mm:g} mm would put the cameras {_length(baseline_m)} apart")
    if not found:
        return []
    advice = (
        "is the square size right? Measure a square's side on the board and give it in millimetres (--square-mm); "
        "if the size is right all the same, confirm it with --confirm-size"
    )
    return [Reason("refused", " and ".join(found), advice)]


def judge(found: RigFit, measures: RigMeasures | None, size_confirmed: bool = False) -> Judgement:
    """Judge a solved rig. measures: None when the numbers describe no possible rig."""
    reasons = _judge_pairs(found)
    if measures is None:
        sizes = [] if size_confirmed else judge_sizes(found.corners.board, found.baseline_m)
        advice = "take new pictures with the board tilted differently in each"
        impossible = Reason("refused", "the numbers found describe no possible pair of cameras", advice)
        return Judgement((*reasons, *(sizes or [impossible])))
    if found.unsynchronised:
        # Everything else follows from views that do not belong together and would only distract.
        return Judgement(tuple(reasons))
    if not size_confirmed:
        reasons += judge_sizes(found.corners.board, measures.baseline_m)
    reasons += _judge_residuals(found, measures)
    reasons += _judge_certainty(measures)
    reasons += _judge_views(measures)
    if measures.right_side_m < -0.5 * measures.baseline_m:
        reasons.append(Reason(
            "usable", "the camera given as RIGHT stands on the left of the one given as LEFT",
            "if both see the scene from the front, exchange LEFT and RIGHT and calibrate again; the rig works as it "
            "is, "
            "with the names of the two views exchanged",
        ))  # fmt: skip
    order = {"refused": 0, "usable": 1, "good": 2}
    reasons.sort(key=lambda reason: order[reason.severity])
    if not any(reason.severity != "good" for reason in reasons):
        reasons.insert(0, Reason("good", _summary(found, measures)))
    return Judgement(tuple(reasons))


def _length(length_m: float) -> str:
    if length_m < 1e-3:
        return f"{length_m * 1e6:.3g} micrometres"
    return f"{length_m * 1e3:.3g} mm" if length_m < 1 else f"{length_m:.3g} m"


def _summary(found: RigFit, measures: RigMeasures) -> str:
    sure_mm, off = measures.uncertainty.baseline_m * 1e3, abs(measures.boards.scale - 1) * 100
    return (
        f"{int(found.used.sum())} pairs agree to {measures.stereo_rms_px:.2f} px, the cameras stand "
        f"{measures.baseline_m * 1e3:.2f} mm apart (sure to {sure_mm:.2g} mm), and lengths on the board measured back "
        "in "
        f"space are right to {max(off, 0.01):.2g} %"
    )


def _judge_pairs(found: RigFit) -> list[Reason]:
    both = int(np.isfinite(found.pair_rms_px).sum())
    misfits, used = int(found.misfits.sum()), int(found.used.sum())
    if found.unsynchronised:
        alone, pair = np.nanmedian(found.alone_rms_px), np.nanmedian(found.pair_rms_px)
        return [Reason(
            "refused",
            f"the two views of {misfits} of {both} pairs do not fit together: each camera alone fits to {alone:.2f} "
            "px, the "
            f"pairs only to {pair:.2f} px; a synchronisation problem, or the board was in motion",
            "the cameras did not take the pictures at the same moment, or the rig moved between pairs. Hold the board "
            "still (on a chair or stand) for a second in every position, check that the pictures are paired rightly "
            "and "
            "that the cameras are fixed to each other",
        )]  # fmt: skip
    reasons = []
    if used < MIN_PAIRS:
        reasons.append(Reason(
            "refused", f"only {used} usable pairs, at least {MIN_PAIRS} are needed",
            "take 15 to 20 pairs with the whole board visible in both pictures",
        ))  # fmt: skip
    elif used < GOOD_PAIRS:
        reasons.append(Reason("usable", f"only {used} usable pairs", "take 15 to 20"))
    if misfits:
        reasons.append(Reason(
            "usable", f"{misfits} of {both} pairs left out because their two views do not fit together",
            "hold the board still in every position",
        ))  # fmt: skip
    return reasons


def _judge_residuals(found: RigFit, measures: RigMeasures) -> list[Reason]:
    reasons = []
    if not found.robust.converged:
        advice = "take new pictures with more tilt and more of the picture covered"
        reasons.append(Reason("refused", "the fit did not settle", advice))
    grown = max(1.0, found.corners.left_size_px[0] / REFERENCE_WIDTH_PX)
    rms = measures.stereo_rms_px
    if rms > REFUSED_RMS_PX * grown:
        what = f"corners are {rms:.2f} px off on average, at most {REFUSED_RMS_PX * grown:.1f} can be accepted"
        advice = "use a flat, sharply printed board, hold it still, focus the cameras"
        reasons.append(Reason("refused", what, advice))
    elif rms > GOOD_RMS_PX * grown:
        what = f"corners are {rms:.2f} px off on average (good: below {GOOD_RMS_PX * grown:.1f})"
        advice = "check that the board is flat, that nothing is blurred, and that autofocus is off"
        reasons.append(Reason("usable", what, advice))
    off = abs(measures.boards.scale - 1)
    if off > GOOD_SCALE_PART:
        severity: Verdict = "refused" if off > REFUSED_SCALE_PART else "usable"
        what = f"board lengths measured back in space are {off * 100:.1f} % off"
        reasons.append(Reason(severity, what, "take more pairs with different tilt and distance"))
    return reasons


def _judge_certainty(measures: RigMeasures) -> list[Reason]:
    reasons = []
    part = measures.uncertainty.baseline_m / measures.baseline_m
    if part > GOOD_BASELINE_PART:
        severity: Verdict = "refused" if part > REFUSED_BASELINE_PART else "usable"
        reasons.append(Reason(
            severity,
            f"the baseline is loose: {measures.baseline_m * 1e3:.1f} mm, sure only to "
            f"{measures.uncertainty.baseline_m * 1e3:.1f} "
            f"mm ({part * 100:.1f} %)",
            "add pairs with more tilt, nearer to the edges of both pictures and at different distances; pictures of "
            "one "
            "camera alone (--left-extra, --right-extra) help too",
        ))  # fmt: skip
    for name, camera in zip(("left", "right"), measures.cameras, strict=True):
        focal_part = float((camera.focal_sd_px / camera.focal_px).max())
        if focal_part > GOOD_FOCAL_PART:
            severity = "refused" if focal_part > REFUSED_FOCAL_PART else "usable"
            reasons.append(Reason(
                severity, f"the {name} focal length is sure only to {focal_part * 100:.1f} %",
                "tilt the board more (30 to 45 degrees, about both axes) and come closer",
            ))  # fmt: skip
    return reasons


def _judge_views(measures: RigMeasures) -> list[Reason]:
    reasons = []
    tilt = measures.tilt_deg
    tilt_advice = "tilt the board by 30 to 45 degrees, left, right, up and down"
    if tilt < REFUSED_TILT_DEG:
        what = (
            f"the board is nearly parallel in all views (they differ by {tilt:.0f} degrees); focal length and distance "
            "cannot be told apart"
        )
        reasons.append(Reason("refused", what, tilt_advice))
    elif tilt < GOOD_TILT_DEG:
        reasons.append(Reason("usable", f"the boards differ in tilt by {tilt:.0f} degrees only", tilt_advice))
    for name, camera in zip(("left", "right"), measures.cameras, strict=True):
        if camera.covered < GOOD_COVERED:
            share = f"corners cover {camera.covered * 100:.0f} % of the {name} picture"
            advice = "hold the board there too, closer to the edges"
            reasons.append(Reason("usable", f"{share}, missing: {missing_regions(camera)}", advice))
        if camera.border_one_to_one < GOOD_BORDER:
            outside = (1 - camera.border_one_to_one) * 100
            what = (
                f"the {name} lens model does not hold at {outside:.0f} % of the picture's border, where no corner was "
                "seen"
            )
            reasons.append(Reason("usable", what, "hold the board closer to the edges and corners of the picture"))
    near, far = measures.board_distance_m
    if far < GOOD_DISTANCE_RATIO * near:
        what = f"all boards are between {_length(near)} and {_length(far)} away"
        reasons.append(Reason("usable", what, "vary the distance: some twice as far as others"))
    return reasons


def missing_regions(camera: CameraMeasures) -> str:
    """The thirds of the picture with the fewest corners, in words."""
    cells = camera.coverage > 0
    third = cells.shape[0] // 3
    words = []
    for row, vertical in enumerate(("top", "middle", "bottom")):
        for column, horizontal in enumerate(("left", "centre", "right")):
            part = cells[row * third : (row + 1) * third, column * third : (column + 1) * third]
            if part.mean() < 0.3:
                words.append("centre" if (row, column) == (1, 1) else f"{vertical} {horizontal}")
    return ", ".join(words) if words else "spots throughout"
