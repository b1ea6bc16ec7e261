"""Green, amber or red: whether to believe what is shown, and the reason."""

from __future__ import annotations

from collections import deque

import numpy as np

from ...calibration.people import BAD_RESIDUAL, STEADY, SUSPECT_RESIDUAL
from ...calibration.rectify import Rectifier
from ..capture import StereoStatus
from ..pipeline import FrameResult
from ..quality import ExchangeCheck, ExchangedViews
from .update import Health

# Calibration is judged by so many of the last pairs with a person, and not before so many.
PAIRS, FEWEST_PAIRS = 150, 20
CONFIDENT = 0.5
# A camera that delivers less than this part of what the other one delivers is said to be slow.
HALF_RATE = 0.7
# Frames of a camera that found no partner lately, beyond which it is said to lose pictures.
LOSING_SHARE = 0.1
LOSS_WINDOW_S = 3.0
FEWEST_FRAMES = 20
FEWEST_JOINTS = 5


def camera_troubles(status: StereoStatus | None) -> tuple[str, str]:
    """What is the matter with the left and the right view, "" for nothing."""
    if status is None:
        return "", ""
    left = status.left.reason
    return left, left if status.right is None else status.right.reason


class CalibrationWatch:
    """The running row difference between the views: does the calibration still fit?"""

    def __init__(self) -> None:
        self._relative: deque[float] = deque(maxlen=PAIRS)
        self._rows_px: deque[np.ndarray] = deque(maxlen=PAIRS)

    def observe(self, result: FrameResult) -> None:
        """Look at one pair."""
        person = result.person
        if person is None:
            return
        sure = (np.minimum(person.left.confidence, person.right.confidence) > CONFIDENT) & (person.raw.confidence > 0)
        rows_px = np.where(sure, person.epipolar_px, np.nan)
        if np.count_nonzero(np.isfinite(rows_px)) < FEWEST_JOINTS:
            return
        height_px = float(np.nanmax(person.left.points_px[:, 1]) - np.nanmin(person.left.points_px[:, 1]))
        self._relative.append(float(np.nanmedian(np.abs(rows_px))) / max(height_px, 1.0))
        self._rows_px.append(rows_px)

    @property
    def relative(self) -> float:
        """Median row difference as a share of the person's height; NaN while too little was seen."""
        return float(np.median(self._relative)) if len(self._relative) >= FEWEST_PAIRS else np.nan

    def judge(self) -> Health:
        """What the views say of the calibration."""
        relative = self.relative
        if np.isnan(relative):
            seen = "being checked" if self._relative else "not checked yet: nobody was seen in both views"
            return Health("amber", f"calibration {seen}")
        if relative <= SUSPECT_RESIDUAL:
            return Health("green", "")
        rows_px = np.stack(self._rows_px)
        seen = np.isfinite(rows_px).sum(axis=0) >= FEWEST_PAIRS
        median_px = float(np.nanmedian(np.abs(rows_px)))
        steady = seen.any() and float(np.median(np.abs(np.nanmedian(rows_px[:, seen], axis=0)))) > STEADY * median_px
        cause = "always the same way: has a camera moved?" if steady else "calibration or synchronisation is off"
        light = "red" if relative > BAD_RESIDUAL else "amber"
        return Health(light, f"rows differ by {median_px:.1f} px ({relative:.1%} of the person), {cause}")


class ExchangeWatch:
    """Notices when the cameras are swapped, and when they are back, from a few pairs with a person each time."""

    def __init__(self, rectifier: Rectifier) -> None:
        self._rectifier = rectifier
        self._check = ExchangeCheck(rectifier)
        self.exchanged = False

    def observe(self, result: FrameResult) -> None:
        """Look at one pair."""
        try:
            self._check.observe(result.detections)
        except ExchangedViews:
            self.exchanged = True
        else:
            self.exchanged &= not self._check.decided
        if self._check.decided:
            self._check = ExchangeCheck(self._rectifier)


class LossWatch:
    """Notices a camera that is slower than the other, or loses pictures, from what the capture counts."""

    def __init__(self) -> None:
        self._counts: deque[tuple[float, np.ndarray]] = deque()  # time; per view: received, damaged, without partner

    def judge(self, status: StereoStatus | None, now_s: float) -> str:
        """What is the matter, "" for nothing. To be asked about once per pair."""
        if status is None or status.right is None:
            return ""
        views = (status.left, status.right)
        rates = [view.rate_hz for view in views]
        for name, own_hz, other_hz in (("left", *rates), ("right", *reversed(rates))):
            if own_hz < HALF_RATE * other_hz:
                return f"the {name} camera delivers {own_hz:.0f} pictures per second, the other one {other_hz:.0f}"
        counts = np.array(
            [
                (view.frames_received, view.decode_failures + view.wrong_size_frames, alone)
                for view, alone in zip(views, status.unpaired, strict=True)
            ]
        )
        self._counts.append((now_s, counts))
        while self._counts[0][0] < now_s - LOSS_WINDOW_S:
            self._counts.popleft()
        for name, other, (received, damaged, alone) in zip(
            ("left", "right"), ("right", "left"), counts - self._counts[0][1], strict=True
        ):
            if received + damaged < FEWEST_FRAMES:
                continue
            if damaged > LOSING_SHARE * (received + damaged):
                return f"{damaged / (received + damaged):.0%} of the {name} camera's pictures are damaged"
            if alone > LOSING_SHARE * received:
                return (
                    f"{alone / received:.0%} of the {name} camera's pictures have no partner: the {other} camera drops "
                    "some, or this machine is too slow"
                )
        return ""


class HealthWatch:
    """Everything together; the most serious reason first."""

    def __init__(self, rectifier: Rectifier) -> None:
        self._calibration, self._exchange, self._loss = CalibrationWatch(), ExchangeWatch(rectifier), LossWatch()

    def observe(self, result: FrameResult) -> None:
        """Look at one pair."""
        self._exchange.observe(result)
        if not self._exchange.exchanged:
            self._calibration.observe(result)

    def judge(self, status: StereoStatus | None, now_s: float, complaints: tuple[str, ...] = ()) -> Health:
        """How things stand. complaints: of other parts, each reason enough for amber."""
        for name, trouble in zip(("left", "right"), camera_troubles(status), strict=True):
            if trouble:
                which = "camera" if status is not None and status.right is None else f"{name} camera"
                return Health("red", f"{which}: {trouble}")
        if self._exchange.exchanged:
            return Health("red", "left and right cameras are swapped: exchange them, or LEFT and RIGHT of the command")
        calibration = self._calibration.judge()
        loss = self._loss.judge(status, now_s)
        if calibration.light == "red":
            return calibration
        for complaint in (*complaints, loss):
            if complaint:
                return Health("amber", complaint)
        return calibration
