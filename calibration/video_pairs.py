"""Board pictures out of two videos: the sharpest, stillest and most different moments, written as picture files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .boards import Board
from .corners import find_corners_quickly
from .pictures import PicturePair, PicturesError, PictureSet
from .view_choice import MAX_EDGE_PX, Candidate, choose_views, edge_width_px, make_candidate, motion_px

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
# Moments looked at per second: enough to find the still ones, few enough to be quick.
LOOKS_PER_SECOND = 10.0
DEFAULT_PAIRS = 25
# Clips that run at rates further apart than this are matched by time and not by number.
SAME_RATE = 0.005


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What the file's header says. frames: may be off by a few."""

    path: Path
    size_px: tuple[int, int]
    frames: int
    rate_hz: float


def is_video(source: str) -> bool:
    """Whether a LEFT or RIGHT argument names a video file."""
    return Path(source).suffix.lower() in VIDEO_SUFFIXES


def _open(path: Path) -> tuple[cv2.VideoCapture, VideoFacts]:
    if not path.is_file():
        raise PicturesError(f"{path}: no such file; expected a video")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise PicturesError(f"{path}: cannot be opened as a video; expected one of {', '.join(VIDEO_SUFFIXES)}")
    rate = capture.get(cv2.CAP_PROP_FPS)
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return capture, VideoFacts(path, size, frames, rate if np.isfinite(rate) and rate > 1 else 30.0)


def _frames_at(path: Path, numbers: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    """The frames of the given ascending numbers, read from the start: seeking lands elsewhere in many files."""
    capture, _ = _open(path)
    try:
        at = 0
        for number in numbers:
            while at < number:
                if not capture.grab():
                    return
                at += 1
            read, image = capture.read()
            at += 1
            if not read:
                return
            yield number, image
    finally:
        capture.release()


def frame_numbers(left: VideoFacts, right: VideoFacts) -> tuple[list[int], list[int]]:
    """Frames to look at in both videos, of the same moments, both counted from a common start."""
    step = max(1, round(left.rate_hz / LOOKS_PER_SECOND))
    ratio = right.rate_hz / left.rate_hz
    ratio = 1.0 if abs(ratio - 1) < SAME_RATE else ratio
    count = min(left.frames, int(right.frames / ratio))
    numbers = list(range(0, count, step))
    return numbers, [round(number * ratio) for number in numbers]


def pick_pairs(
    left: Path,
    right: Path,
    board: Board,
    folder: Path,
    wanted: int = DEFAULT_PAIRS,
    on_moment: Callable[[int], None] = lambda total: None,
) -> PictureSet:
    """Write the chosen moments of two videos into a folder as `left_000123.png`, `right_000123.png`.

    The videos must have been started together. on_moment: called after each moment looked at, with their total number.
    """
    facts = []
    for path in (left, right):
        capture, found = _open(path)
        capture.release()
        facts.append(found)
    numbers = frame_numbers(*facts)
    candidates = _look(facts, numbers, board, on_moment)
    if not candidates:
        raise PicturesError(
            f"the {board.describe()} is never visible in both videos at once ({len(numbers[0])} moments looked at); "
            "is the "
            "number of inner corners right, and does the board appear whole in both?"
        )
    chosen = choose_views(candidates, wanted)
    at = [numbers[0].index(frame) for frame in chosen]
    folder.mkdir(parents=True, exist_ok=True)
    written: list[list[Path]] = []
    for side, path, all_numbers in zip(("left", "right"), (left, right), numbers, strict=True):
        names = []
        for frame, (_, image) in zip(chosen, _frames_at(path, [all_numbers[k] for k in at]), strict=False):
            name = folder / f"{side}_{frame:06d}.png"
            cv2.imwrite(str(name), image)
            names.append(name)
        written.append(names)
    return PictureSet(tuple(PicturePair(a, b) for a, b in zip(*written, strict=False)))


def _look(
    facts: list[VideoFacts], numbers: tuple[list[int], list[int]], board: Board, on_moment: Callable[[int], None]
) -> list[Candidate]:
    """Every moment with the board in both views, sharp, with how much it moves."""
    sizes = facts[0].size_px, facts[1].size_px
    step = numbers[0][1] - numbers[0][0] if len(numbers[0]) > 1 else 1
    seen: list[tuple[int, np.ndarray, np.ndarray] | None] = []
    for (number, left), (_, right) in zip(
        _frames_at(facts[0].path, numbers[0]), _frames_at(facts[1].path, numbers[1]), strict=False
    ):
        corners = find_corners_quickly(left, board), find_corners_quickly(right, board)
        on_moment(len(numbers[0]))
        if corners[0] is None or corners[1] is None or _blurred(left, corners[0], board, right, corners[1]):
            seen.append(None)
            continue
        seen.append((number, corners[0], corners[1]))
    candidates = []
    for k, now in enumerate(seen):
        if now is None:
            continue
        neighbours = [
            other for other in (seen[k - 1] if k else None, seen[k + 1] if k + 1 < len(seen) else None) if other
        ]
        moves = [
            max(motion_px(other[1], now[1], sizes[0][0]), motion_px(other[2], now[2], sizes[1][0]))
            for other in neighbours
        ]
        # Still toward one side is still: boards are put down and taken up again.
        motion = min(moves) / step if moves else 10 * step
        candidates.append(make_candidate(now[0], now[1], now[2], motion, board, sizes))
    return candidates


def _blurred(left: np.ndarray, left_px: np.ndarray, board: Board, right: np.ndarray, right_px: np.ndarray) -> bool:
    if board.kind == "charuco":  # the markers inside the squares upset the measure
        return False
    return max(edge_width_px(left, left_px, board), edge_width_px(right, right_px, board)) > MAX_EDGE_PX
