"""Rigs and boards with known truth, drawn with cv2's own projection and not with the formulas under test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from binopose.calibration.board_print import lay_out
from binopose.calibration.boards import Board
from binopose.calibration.rig import Camera, RigidTransform, StereoRig
from binopose.calibration.solve import PairCorners


@dataclass(frozen=True)
class Scene:
    """A rig and what its cameras see of a board. poses: of the board in the left camera's frame."""

    rig: StereoRig
    board: Board
    poses: list[RigidTransform]
    corners: PairCorners


def make_rig(
    baseline_m: float, convergence_deg: float, lens: str = "pinhole", size_px: tuple[int, int] = (1280, 720)
) -> StereoRig:
    """Two slightly different cameras side by side, turned toward each other by `convergence_deg` in all."""
    width, height = size_px
    focal = 0.45 * width if lens == "fisheye" else 0.8 * width
    cameras = []
    for number in (0, 1):
        matrix = np.array(
            [
                [focal * (1 + 0.01 * number), 0, width / 2 - 8 + 11 * number],
                [0, focal * (1.002 + 0.01 * number), height / 2 + 5 - 9 * number],
                [0, 0, 1],
            ]
        )
        if lens == "fisheye":
            terms = np.array([0.02 + 0.004 * number, -0.008, 0.004, -0.0012])
        else:
            terms = np.array([-0.21 - 0.01 * number, 0.06, 0.0006, -0.0004, 0.0])
        cameras.append(Camera(size_px, matrix, terms, "fisheye" if lens == "fisheye" else "pinhole"))
    half = np.deg2rad(convergence_deg) / 2
    # The left camera turns right and the right one left; a little roll and tilt so that nothing is special.
    turn, _ = cv2.Rodrigues(np.array([0.006, 2 * half, -0.01]))
    centre = baseline_m * np.array([np.cos(half), 0.02, np.sin(half)])
    centre *= baseline_m / np.linalg.norm(centre)
    return StereoRig(cameras[0], cameras[1], RigidTransform(turn, -turn @ centre))


def simulate(
    rig: StereoRig,
    board: Board,
    pairs: int,
    noise_px: float,
    seed: int,
    gross: float = 0.0,
    tilt_deg: float = 40.0,
) -> Scene:
    """Boards held at random where both cameras see all of them, corners with noise and some grossly wrong."""
    rng = np.random.default_rng(seed)
    longest = max(board.size_m)
    focal = rig.left.matrix[0, 0]
    # Near enough that the board fills a quarter to two thirds of the picture, far enough for both to see it.
    fields = rig.left.size_px[0] / focal
    nearest = max(longest / (0.65 * fields), 0.9 * rig.baseline_m)
    poses, left, right = [], [], []
    tries = 0
    while len(poses) < pairs:
        tries += 1
        assert tries < 200_000, "the board does not fit into both pictures"
        tilt = rng.uniform(-1, 1, 3) * np.deg2rad([tilt_deg, tilt_deg, 25])
        rotation, _ = cv2.Rodrigues(tilt)
        depth = nearest * rng.uniform(1, 2.6)
        middle = np.array([*rng.uniform(-0.6, 0.6, 2) * fields * depth, depth])
        # Seen from the middle between the cameras.
        middle[0] += rig.right_centre_m[0] / 2
        pose = RigidTransform(rotation, middle - rotation @ (board.points_m.mean(axis=0)))
        in_left = pose.apply(board.points_m)
        seen = [rig.left.px_from_camera(in_left), rig.right.px_from_camera(rig.right_from_left.apply(in_left))]
        inside = all(
            np.isfinite(px).all() and (px > 4).all() and (px < np.array(camera.size_px) - 5).all()
            for px, camera in zip(seen, (rig.left, rig.right), strict=True)
        )
        if not inside:
            continue
        poses.append(pose)
        left.append(seen[0])
        right.append(seen[1])
    views = [np.stack(left), np.stack(right)]
    for view in views:
        view += rng.normal(0, noise_px, view.shape)
        wrong = rng.random(view.shape[:2]) < gross
        view[wrong] += rng.uniform(4, 15, (int(wrong.sum()), 1)) * _directions(rng, int(wrong.sum()))
    nothing = np.zeros((0, board.corners, 2))
    corners = PairCorners(board, views[0], views[1], nothing, nothing, rig.left.size_px, rig.right.size_px)
    return Scene(rig, board, poses, corners)


def _directions(rng: np.random.Generator, count: int) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi, count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


class BoardPainter:
    """Pictures of a board as a camera with its lens would take them: every pixel's ray is followed to the board."""

    SAMPLES = 3  # each way within a pixel

    def __init__(self, camera: Camera) -> None:
        width, height = camera.size_px
        inside = (np.arange(self.SAMPLES) + 0.5) / self.SAMPLES - 0.5
        x = (np.arange(width)[:, None] + inside).ravel()
        y = (np.arange(height)[:, None] + inside).ravel()
        pixels = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 1, 2)
        undistort = cv2.fisheye.undistortPoints if camera.model == "fisheye" else cv2.undistortPoints
        rays = undistort(pixels, camera.matrix, camera.distortion).reshape(len(y), len(x), 2)
        self._rays = np.concatenate([rays, np.ones((*rays.shape[:2], 1))], axis=-1)
        self._shape = height, width

    def paint(
        self, pose: RigidTransform, board: Board, blur_px: float = 0.6, noise: float = 2.0, seed: int = 0
    ) -> np.ndarray:
        """A grey picture (H, W) uint8 with soft edges and sensor noise."""
        normal = pose.rotation[:, 2]
        with np.errstate(invalid="ignore", divide="ignore"):
            depth = (normal @ pose.translation_m) / (self._rays @ normal)
        on_board = (self._rays * depth[..., None] - pose.translation_m) @ pose.rotation[:, :2] / board.square_m
        # From here the outer corner of the first square is (0, 0), lengths in squares.
        column, row = on_board[..., 0] + 1, on_board[..., 1] + 1
        paper = (column >= -1) & (column < board.columns + 2) & (row >= -1) & (row < board.rows + 2)
        value = np.where(paper, 220.0, 110.0)
        value[paper & self._is_black(board, column, row)] = 35.0
        height, width = self._shape
        picture = value.reshape(height, self.SAMPLES, width, self.SAMPLES).mean(axis=(1, 3))
        picture = cv2.GaussianBlur(picture, (0, 0), blur_px)
        picture += np.random.default_rng(seed).normal(0, noise, picture.shape)
        return np.clip(picture, 0, 255).astype(np.uint8)

    @staticmethod
    def _is_black(board: Board, column: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Whether a place on the board is printed black; places in squares from the board's corner."""
        if board.kind == "checkerboard":
            inside = (column >= 0) & (column < board.columns + 1) & (row >= 0) & (row < board.rows + 1)
            return inside & ((np.floor(column) + np.floor(row)) % 2 == 0)
        ink, corner_mm, dots = _printed(board)
        side_mm = board.square_m * 1e3
        with np.errstate(invalid="ignore"):
            x = np.nan_to_num(np.floor((column * side_mm + corner_mm[0]) * dots), nan=-1)
            y = np.nan_to_num(np.floor((row * side_mm + corner_mm[1]) * dots), nan=-1)
        on_page = (x >= 0) & (x < ink.shape[1]) & (y >= 0) & (y < ink.shape[0])
        return on_page & ink[np.where(on_page, y, 0).astype(int), np.where(on_page, x, 0).astype(int)]


@cache
def _printed(board: Board) -> tuple[np.ndarray, tuple[float, float], float]:
    """The printed page as dots, where the board begins on it in mm, and dots per mm."""
    page, dots = lay_out(board), 4.0
    ink = np.zeros((int(page.size_mm[1] * dots) + 1, int(page.size_mm[0] * dots) + 1), dtype=bool)
    for box in page.black:
        x, y, width, height = (round(v * dots) for v in (box.x_mm, box.y_mm, box.width_mm, box.height_mm))
        ink[y : y + height, x : x + width] = True
    return ink, page.board_mm, dots
