"""The loop of a guided calibration: newest pair, board search, selection, guidance, preview."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...calibration.boards import Board
from ...calibration.errors import UserError
from ...calibration.lens import LensName
from ...calibration.pictures import PicturePair
from ...calibration.solve import MIN_PAIRS
from ..capture import CameraState, CapturedPair, StereoCapture
from ..window import PreviewFile, Window
from .guide import (
    Attitude,
    Guide,
    Task,
    attitude_of,
    missing_tasks,
    reachable_thirds,
    thirds_of,
    would_do,
)
from .panel import GuideFrame, GuidePanel, Mood
from .search import PairSearch, SearchedPair
from .selection import Outcome, PairSelection, PictureFolder
from .verdict import Finding, RunningVerdict

# Between two pictures of the window: more would only take time from the search.
SHOW_INTERVAL_S = 1 / 20
FIRST_PICTURE_S = 20.0
# How long a kept pair lights up.
FLASH_S = 1.2
# Corners older than this are not drawn: the picture has moved on.
CORNERS_AGE_S = 0.5
# A good verdict may lack so many of the newest pairs: they come faster than verdicts.
VERDICT_BEHIND = 2
ONLY_CAMERA = "camera"
HOLD_IT = "Just right: hold it still"

_SAYINGS: dict[Outcome, tuple[str, Mood]] = {
    "kept": ("kept", "good"),
    "no board": ("no board", "plain"),
    "moving": ("moving", "plain"),
    "blurred": ("blurred: more light, or stiller", "warning"),
    "seen before": ("kept already: move on", "plain"),
    "out of step": ("cameras out of step: hold still", "warning"),
}
_STATES = {
    CameraState.OPENING: "opening",
    CameraState.STALLED: "no pictures",
    CameraState.RETRYING: "lost, trying again",
    CameraState.ENDED: "at its end",
    CameraState.CLOSED: "closed",
}


class TooFewPairsError(UserError):
    """The session ended before there were enough pairs."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """pairs_wanted: the session ends when it has so many; lens, size_confirmed: as for `calibrate`."""

    pairs_wanted: int
    lens: LensName | None = None
    size_confirmed: bool = False


def capture_guided(
    capture: StereoCapture,
    board: Board,
    folder: PictureFolder,
    options: SessionOptions,
    say: Callable[[str], None],
    window: Window | None = None,
    preview: PreviewFile | None = None,
) -> tuple[PicturePair, ...]:
    """Take pairs until all is well, the user finishes (also with Ctrl-C), or a file ends; the pairs to calibrate from.

    The capture belongs to the caller. say: called with a sentence whenever something happens. Raises CaptureError when
    a camera gives nothing at the start, and TooFewPairsError.
    """
    capture.wait_until_running()
    pairs = CalibrationSession(capture, board, folder, options, say, window, preview).run()
    if len(pairs) < MIN_PAIRS:
        raise TooFewPairsError(
            f"{len(pairs)} pairs were taken, at least {MIN_PAIRS} are needed and 15 to 20 are good; run the command "
            "again and follow the preview" + (f". The pictures are kept in {folder.path}" if pairs else "")
        )
    return pairs


class CalibrationSession:
    """The loop and what it knows; cameras must be running."""

    def __init__(
        self,
        capture: StereoCapture,
        board: Board,
        folder: PictureFolder,
        options: SessionOptions,
        say: Callable[[str], None],
        window: Window | None,
        preview: PreviewFile | None,
    ) -> None:
        self._capture, self._board, self._options = capture, board, options
        self._say, self._window, self._preview = say, window, preview
        self._newest = _first_pair(capture)
        left, right = self._newest.pair.left, self._newest.pair.right
        self._sizes_px = (left.shape[1], left.shape[0]), (right.shape[1], right.shape[0])
        self._search = PairSearch(board)
        self._verdict = RunningVerdict(board, self._sizes_px, options.lens, options.size_confirmed)
        self._selection = PairSelection(board, self._sizes_px, folder)
        self._guide, self._panel = Guide(), GuidePanel(board, self._sizes_px)
        self._found: SearchedPair | None = None
        self._outcome: Outcome = "no board"
        self._attitudes: tuple[Attitude, ...] = ()
        self._current: Attitude | None = None
        self._reachable = np.ones((3, 3), dtype=bool), np.ones((3, 3), dtype=bool)
        self._tasks: list[Task] = []
        self._task: Task | None = None
        self._kept_s = -np.inf
        self._guided_s = self._shown_s = time.monotonic()
        self._troubles: dict[str, str] = {}
        self._help = self._finished = False

    def run(self) -> tuple[PicturePair, ...]:
        """Loop to the end; the files of the kept pairs."""
        try:
            with self._search, self._verdict:
                while not self._finished:
                    self._step()
        except KeyboardInterrupt:
            self._say("finishing with the pairs so far")
        if self._preview is not None:
            self._preview.write(self._panel.compose(self._frame()))
        return tuple(pair.files for pair in self._selection.kept)

    def _step(self) -> None:
        captured = self._capture.newest(SHOW_INTERVAL_S / 2)
        if captured is not None:
            self._newest = captured
        found = self._search.finished()
        if found is not None:
            self._take(found)
        if captured is not None and self._search.idle:
            self._search.start(captured)
        if self._verdict.update(self._selection.kept):
            self._hear_verdict()
        self._watch_cameras()
        now_s = time.monotonic()
        if now_s - self._shown_s >= SHOW_INTERVAL_S and (self._window or (self._preview and self._preview.due)):
            self._shown_s = now_s
            self._show()
        finding, kept = self._verdict.latest, len(self._selection.kept)
        if reason := reason_to_end(kept, self._options.pairs_wanted, finding, bool(self._guide.pending(self._tasks))):
            self._say(reason)
        self._finished |= self._capture.over or bool(reason)

    def _take(self, found: SearchedPair) -> None:
        """Judge what was found and ask for the next thing."""
        self._found = found
        left_px, right_px = found.seen.left_px, found.seen.right_px
        self._current = None if left_px is None else self._attitude(left_px)
        before = len(self._selection.kept)
        self._outcome = self._selection.consider(found)
        if len(self._selection.kept) > before:
            self._pair_kept()
        now_s = time.monotonic()
        elapsed_s, self._guided_s = now_s - self._guided_s, now_s
        self._tasks = missing_tasks(self._attitudes, self._missing_thirds())
        in_view = left_px is not None and right_px is not None
        self._task = self._guide.next_task(self._tasks, elapsed_s, in_view)

    def _missing_thirds(self) -> tuple[np.ndarray, np.ndarray]:
        """Thirds of both pictures without a corner that can have one."""
        left, right = self._selection.missing_thirds()
        return left & self._reachable[0], right & self._reachable[1]

    def _pair_kept(self) -> None:
        self._kept_s = time.monotonic()
        self._describe_kept()
        last = self._selection.kept[-1]
        self._say(f"pair {len(self._selection.kept)} kept ({last.files.left.name}, {last.files.right.name})")

    def _describe_kept(self) -> None:
        attitudes = [self._attitude(p.seen.left_px) for p in self._selection.kept if p.seen.left_px is not None]
        self._attitudes = tuple(attitude for attitude in attitudes if attitude is not None)

    def _attitude(self, corners_px: np.ndarray) -> Attitude | None:
        finding = self._verdict.latest
        focal_px = None if finding is None or finding.rig is None else float(finding.rig.left.matrix[0, 0])
        return attitude_of(corners_px, self._board, self._sizes_px[0], focal_px)

    def _hear_verdict(self) -> None:
        finding = self._verdict.latest
        assert finding is not None
        self._describe_kept()  # the focal length is known better now
        if finding.rig is not None and finding.board_distance_m is not None:
            self._reachable = reachable_thirds(finding.rig, finding.board_distance_m)
        text = f"verdict on {len(finding.numbers)} pairs: {finding.judgement.verdict}"
        if finding.baseline_m is not None and finding.baseline_sd_m is not None:
            text += f", baseline {finding.baseline_m * 1e3:.2f} +- {finding.baseline_sd_m * 1e3:.2g} mm"
        self._say(text)

    def _watch_cameras(self) -> None:
        """Say when a camera is lost or back."""
        status = self._capture.status()
        troubles = {}
        for name, camera in (("left", status.left), ("right", status.right)):
            if camera is None or camera.state in (CameraState.RUNNING, CameraState.ENDED):
                continue
            which = f"{name} camera" if status.right is not None else ONLY_CAMERA
            troubles[which] = _STATES[camera.state]
            if self._troubles.get(which) != troubles[which]:
                self._say(f"{which}: {camera.reason}")
        for which in self._troubles.keys() - troubles.keys():
            self._say(f"{which}: back")
        self._troubles = troubles

    # What is shown.

    def _show(self) -> None:
        picture = self._panel.compose(self._frame())
        if self._preview is not None and self._preview.due:
            self._preview.write(picture)
        if self._window is not None:
            self._obey(self._window.show(picture))

    def _obey(self, key: str) -> None:
        if key in ("q", "escape"):
            self._finished = True
        elif key == "h":
            self._help = not self._help
        elif key == "u":
            undone = self._selection.undo()
            self._describe_kept()
            self._say("nothing to undo" if undone is None else f"pair {len(self._selection.kept) + 1} dropped")
        elif key == " ":
            fresh = self._fresh()
            if fresh is not None and self._selection.keep_anyway(fresh):
                self._pair_kept()
            else:
                self._say("not kept: the board is not in both pictures")

    def _frame(self) -> GuideFrame:
        """All that the newest picture shows."""
        now_s = time.monotonic()
        flash = now_s - self._kept_s < FLASH_S
        fresh = self._fresh()
        state, mood = _SAYINGS[self._outcome] if fresh is not None else ("searching", "plain")
        if flash:
            state, mood = f"pair {len(self._selection.kept)} kept", "good"
        status = self._capture.status()
        facts = []
        if status.right is not None and np.isfinite(status.skew_mean_s):
            facts.append(f"skew {status.skew_mean_s * 1e3:.1f} \u00b1 {status.skew_sd_s * 1e3:.1f} ms")
        if np.isfinite(status.rate_hz):
            facts.append(f"{status.rate_hz:.0f} pairs/s")
        return GuideFrame(
            images=(self._newest.pair.left, self._newest.pair.right),
            corners_px=(None, None) if fresh is None else (fresh.seen.left_px, fresh.seen.right_px),
            kept=self._selection.kept,
            attitudes=self._attitudes,
            current=self._current if fresh is not None else None,
            missing_thirds=self._selection.missing_thirds(),
            reachable_thirds=self._reachable,
            task=self._task,
            instruction=self._instruction(fresh),
            state=state,
            mood=mood,
            flash=flash,
            finding=self._verdict.latest,
            working=self._verdict.working,
            pairs_to_first_verdict=MIN_PAIRS - len(self._selection.kept),
            facts=tuple(facts),
            keys=self._window is not None,
            help=self._help,
            lost=self._lost(),
        )

    def _fresh(self) -> SearchedPair | None:
        """What was found last, if it still tells what the pictures show."""
        found = self._found
        return found if found is not None and time.monotonic() - found.finished_s < CORNERS_AGE_S else None

    def _lost(self) -> tuple[str, str]:
        """What is the matter with the left and the right view, "" for nothing."""
        both = self._troubles.get(ONLY_CAMERA, "")
        return self._troubles.get("left camera", both), self._troubles.get("right camera", both)

    def _is_there(self, task: Task, fresh: SearchedPair) -> bool:
        """Whether the board is where the task wants it, and not kept there yet."""
        if fresh.seen.left_px is None or fresh.seen.right_px is None or self._outcome == "seen before":
            return False
        views = (fresh.seen.left_px, fresh.seen.right_px)
        thirds = [thirds_of(corners, size) for corners, size in zip(views, self._sizes_px, strict=True)]
        return would_do(task, self._attitudes, self._current, thirds)

    def _instruction(self, fresh: SearchedPair | None) -> str:
        if self._troubles:
            which, state = next(iter(self._troubles.items()))
            return f"The {which} gives no pictures ({state})"
        if fresh is not None:
            hidden = [
                name
                for name, corners in (("left", fresh.seen.left_px), ("right", fresh.seen.right_px))
                if corners is None
            ]
            if len(hidden) == 1:
                return f"The {hidden[0]} camera does not see the whole board"
            if hidden and not self._selection.kept:
                return "Show the board to both cameras"
        if not self._selection.kept:
            return "Hold the board still for a moment"
        if self._task is not None:
            return HOLD_IT if fresh is not None and self._is_there(self._task, fresh) else self._task.words
        return "Hold the board still at a few more places and angles"


def reason_to_end(kept: int, wanted: int, finding: Finding | None, something_missing: bool) -> str:
    """Why the session is complete, in words; "" while it is not. kept, wanted: numbers of pairs."""
    if kept >= wanted:
        return f"{kept} pairs, as many as wanted"
    if finding is None or finding.judgement.verdict != "good" or something_missing:
        return ""
    if kept - len(finding.numbers) > VERDICT_BEHIND:
        return ""
    return "the verdict is good and nothing is missing"


def _first_pair(capture: StereoCapture) -> CapturedPair:
    deadline_s = time.monotonic() + FIRST_PICTURE_S
    while time.monotonic() < deadline_s and not capture.over:
        captured = capture.newest(0.2)
        if captured is not None:
            return captured
    raise TooFewPairsError(
        "both cameras deliver pictures, but no two of the same time; do both run at the rate asked for?"
    )
