"""What the kept pairs lack, and what to do next in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...calibration.boards import Board
from ...calibration.rig import StereoRig
from ...calibration.view_choice import REGIONS

# A board turned by this much toward one side counts as tilted: all four directions together span more than the 25
# degrees a good calibration needs.
TILTED_DEG = 18.0
# Farthest over nearest board; a good calibration needs 1.3 and distances are rough here.
DISTANCE_RATIO = 1.4
# A board shorter than this part of the picture's width can come closer.
LARGE_SHARE = 0.4
# What was asked for so long, the board in view, is put off: not every place can be seen by both cameras.
PATIENCE_S = 15.0
# Boards are expected this much nearer and farther than those kept.
NEARER, FARTHER = 0.7, 1.5
# Focal length in picture widths until the first verdict knows better.
GUESSED_FOCAL = 0.9

TILTS = {
    "right": (1.0, 0.0), "left": (-1.0, 0.0), "bottom": (0.0, 1.0), "top": (0.0, -1.0)
}  # fmt: skip
_PLACES = (
    ("top left corner", "top edge", "top right corner"),
    ("left edge", "middle", "right edge"),
    ("bottom left corner", "bottom edge", "bottom right corner"),
)
# Corners of the picture first: they hold the lens down, and a board there often covers the edges too.
_PLACE_ORDER = ((0, 0), (0, 2), (2, 2), (2, 0), (0, 1), (1, 0), (1, 2), (2, 1), (1, 1))


@dataclass(frozen=True, slots=True)
class Attitude:
    """How a camera sees the board, roughly.

    tilt_deg: (2,) how far the right side (x) and the bottom side (y), as in the picture, are turned toward the camera;
    distance: from the camera in units that all attitudes of one focal length share; share: longest side of the board
    over the picture's width.
    """

    tilt_deg: np.ndarray
    distance: float
    share: float


@dataclass(frozen=True, slots=True)
class Task:
    """Something still missing. key: tells tasks apart; place: (camera, row, column) of a third of a picture, or None;
    tilt: a key of TILTS, or None."""

    key: str
    words: str
    place: tuple[int, int, int] | None = None
    tilt: str | None = None


def attitude_of(
    corners_px: np.ndarray, board: Board, size_px: tuple[int, int], focal_px: float | None = None
) -> Attitude | None:
    """How the board is held, from its corners (N, 2), NaN where hidden; None when they fix no pose.

    focal_px: None guesses it. The lens is taken as free of distortion and centred: good to a few degrees.
    """
    known = np.isfinite(corners_px[:, 0])
    if known.sum() < 6:
        return None
    width, height = size_px
    focal = focal_px or GUESSED_FOCAL * width
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    solved, turn, place = cv2.solvePnP(board.points_m[known], corners_px[known], matrix, None, flags=cv2.SOLVEPNP_IPPE)
    if not solved or not np.isfinite(place).all():
        return None
    normal = cv2.Rodrigues(turn)[0][:, 2]
    if normal[2] < 0:
        normal = -normal
    tilt_deg = np.rad2deg(np.arctan2(normal[:2], normal[2]))
    longest_px = max(np.ptp(corners_px[known], axis=0))
    return Attitude(tilt_deg, float(np.linalg.norm(place)), float(longest_px / width))


def tilts_done(attitudes: Sequence[Attitude]) -> dict[str, bool]:
    """Toward which sides the board was turned far enough."""
    tilts = np.stack([a.tilt_deg for a in attitudes]) if attitudes else np.zeros((0, 2))
    return {name: bool((tilts @ np.array(direction) >= TILTED_DEG).any()) for name, direction in TILTS.items()}


def distance_ratio(attitudes: Sequence[Attitude]) -> float:
    """Farthest over nearest board; 1 without any."""
    distances = [a.distance for a in attitudes]
    return max(distances) / min(distances) if distances else 1.0


def reachable_thirds(rig: StereoRig, board_distance_m: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Thirds of the left and right picture whose middle the other camera can see too, (3, 3) bool each.

    board_distance_m: nearest and farthest board so far.
    """
    depths_m = np.geomspace(NEARER * board_distance_m[0], FARTHER * board_distance_m[1], 6)
    step = (np.arange(REGIONS) + 0.5) / REGIONS
    reachable = []
    for camera, other, other_from_camera in (
        (rig.left, rig.right, rig.right_from_left),
        (rig.right, rig.left, rig.right_from_left.inverse()),
    ):
        x, y = np.meshgrid(step * camera.size_px[0], step * camera.size_px[1])
        rays = camera.rays_from_px(np.stack([x.ravel(), y.ravel()], axis=1))
        points_m = np.concatenate([rays, np.ones((len(rays), 1))], axis=1) * depths_m[:, None, None]
        moved_m = other_from_camera.apply(points_m.reshape(-1, 3))
        seen_px = other.px_from_camera(moved_m)
        with np.errstate(invalid="ignore"):
            inside = (seen_px > 0).all(axis=1) & (seen_px < other.size_px).all(axis=1) & (moved_m[:, 2] > 0)
        reachable.append(inside.reshape(len(depths_m), REGIONS, REGIONS).any(axis=0))
    return reachable[0], reachable[1]


def thirds_of(corners_px: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    """Thirds of a picture that hold a corner, (3, 3) bool. corners_px: (N, 2), NaN where hidden."""
    known = corners_px[np.isfinite(corners_px[:, 0])]
    cells = np.clip((known / size_px * REGIONS).astype(int), 0, REGIONS - 1)
    covered = np.zeros((REGIONS, REGIONS), dtype=bool)
    covered[cells[:, 1], cells[:, 0]] = True
    return covered


def would_do(task: Task, attitudes: Sequence[Attitude], current: Attitude | None, thirds: Sequence[np.ndarray]) -> bool:
    """Whether the board is where the task wants it. thirds: `thirds_of` what the left and right camera see now."""
    if task.place is not None:
        camera, row, column = task.place
        return bool(thirds[camera][row, column])
    if current is None:
        return False
    if task.tilt is not None:
        return tilts_done([current])[task.tilt]
    return distance_ratio([*attitudes, current]) >= DISTANCE_RATIO


def missing_tasks(attitudes: Sequence[Attitude], missing_thirds: tuple[np.ndarray, np.ndarray]) -> list[Task]:
    """All that is missing, most useful first: tilt, then distance, then places in both pictures."""
    tasks = [
        Task(f"tilt {name}", f"Turn the {name} side of the board toward the cameras", tilt=name)
        for name, done in tilts_done(attitudes).items()
        if not done
    ]
    if distance_ratio(attitudes) < DISTANCE_RATIO:
        closer = max((a.share for a in attitudes), default=0.0) < LARGE_SHARE
        words = "Come closer with the board" if closer else "Go farther away with the board"
        tasks.append(Task("distance", words))
    for row, column in _PLACE_ORDER:
        for camera, name in enumerate(("left", "right")):
            if missing_thirds[camera][row, column]:
                words = f"Move the board to the {_PLACES[row][column]} of the {name} picture"
                tasks.append(Task(f"place {camera} {row} {column}", words, (camera, row, column)))
    return tasks


class Guide:
    """Asks for one thing after the other; what cannot be done within PATIENCE_S is put off."""

    def __init__(self) -> None:
        self._current: str | None = None
        self._asked_s = 0.0
        self._put_off: list[str] = []

    def next_task(self, tasks: Sequence[Task], elapsed_s: float, board_in_view: bool) -> Task | None:
        """What to ask for now; None when nothing is missing.

        elapsed_s: since the last call; counts only while the board is in view, when the user is at it.
        """
        by_key = {task.key: task for task in tasks}
        if self._current in by_key:
            self._asked_s += elapsed_s * board_in_view
            if self._asked_s <= PATIENCE_S:
                return by_key[self._current]
            # To the end of the line: asked for again when nothing else is left.
            self._put_off = [*(key for key in self._put_off if key != self._current), self._current]
        waiting = self.pending(tasks) or sorted(tasks, key=lambda task: self._put_off.index(task.key))
        self._current, self._asked_s = (waiting[0].key if waiting else None), 0.0
        return waiting[0] if waiting else None

    def pending(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks not put off."""
        return [task for task in tasks if task.key not in self._put_off]
