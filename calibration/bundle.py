"""Fit cameras, their relative position and the boards' poses to corners, all at once and to the end.

Levenberg-Marquardt on the normal equations with the board poses eliminated first (Schur complement; Triggs et al.:
Bundle adjustment - a modern synthesis, 2000, section 6): what remains has at most thirty unknowns, however many
pictures there are. Rotations are updated on the left, R <- exp(w) R. Each pose leaves its own share of the reduced
equations, from which leaving a pair out costs no new fit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from .lens import LensName, project

MAX_STEPS = 300


def exp_so3(vectors: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3) to rotation matrices (..., 3, 3), Rodrigues' formula."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    cross = skew(vectors)
    safe = np.maximum(angle, 1e-12)
    first = np.where(angle < 1e-6, 1.0, np.sin(safe) / safe)
    second = np.where(angle < 1e-6, 0.5, (1 - np.cos(safe)) / safe**2)
    return np.eye(3) + first * cross + second * (cross @ cross)


def skew(vectors: np.ndarray) -> np.ndarray:
    """Matrices of the cross product, (..., 3) -> (..., 3, 3)."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([
        np.stack([zero, -z, y], axis=-1), np.stack([z, zero, -x], axis=-1), np.stack([-y, x, zero], axis=-1)
    ], axis=-2)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Observations:
    """Pictures of one board.

    board_m: (N, 3); corners_px: (V, N, 2), NaN where a corner is not seen or not trusted; camera: (V,) 0 or 1;
    pose: (V,) index of the board pose the picture shows; a pair's two pictures share one;
    through_rig: (V,) whether the pose is given in the frame of camera 0 although camera 1 took the picture.
    """

    board_m: np.ndarray
    corners_px: np.ndarray
    camera: np.ndarray
    pose: np.ndarray
    through_rig: np.ndarray

    def without_poses(self, dropped: np.ndarray) -> Observations:
        """The same with the corners of the given poses taken out. dropped: (P,) bool."""
        corners_px = self.corners_px.copy()
        corners_px[dropped[self.pose]] = np.nan
        return replace(self, corners_px=corners_px)


@dataclass(frozen=True, slots=True)
class Fit:
    """Everything that is fitted. Poses take the board to a camera's frame, `right_from_left` camera 0 to camera 1.

    lenses, intrinsics: one per camera; rotation: (3, 3), translation_m: (3,) of right_from_left;
    pose_rotations: (P, 3, 3), pose_translations_m: (P, 3).
    """

    lenses: tuple[LensName, ...]
    intrinsics: tuple[np.ndarray, ...]
    rotation: np.ndarray
    translation_m: np.ndarray
    pose_rotations: np.ndarray
    pose_translations_m: np.ndarray


@dataclass(frozen=True, slots=True)
class Equations:
    """Normal equations at a fit, poses eliminated, shares kept apart.

    reduced: (P, S, S) and reduced_gradient: (P, S), the share of every pose; they add up to the whole.
    pose_inverse: (P, 6, 6), coupling: (P, 6, S), pose_gradient: (P, 6) for stepping back to the poses.
    """

    reduced: np.ndarray
    reduced_gradient: np.ndarray
    pose_inverse: np.ndarray
    coupling: np.ndarray
    pose_gradient: np.ndarray


def shared_slices(fit: Fit) -> tuple[tuple[slice, ...], slice, int]:
    """Where each camera's intrinsics and the six of right_from_left lie among the shared unknowns, and how many."""
    ends = np.cumsum([0, *(len(values) for values in fit.intrinsics)])
    cameras = tuple(slice(int(a), int(b)) for a, b in pairwise(ends))
    total = int(ends[-1])
    return cameras, slice(total, total + 6), total + 6


def points_in_camera(fit: Fit, seen: Observations, views: np.ndarray) -> np.ndarray:
    """Board corners in the frame of the camera that took each picture, (len(views), N, 3)."""
    pose = seen.pose[views]
    points_m = seen.board_m @ np.swapaxes(fit.pose_rotations[pose], 1, 2) + fit.pose_translations_m[pose][:, None]
    through = seen.through_rig[views][:, None, None]
    return np.where(through, points_m @ fit.rotation.T + fit.translation_m, points_m)


def residuals_px(fit: Fit, seen: Observations) -> np.ndarray:
    """Projected minus found, (V, N, 2); NaN where not seen."""
    found = np.full(seen.corners_px.shape, np.nan)
    for number, (lens, intrinsics) in enumerate(zip(fit.lenses, fit.intrinsics, strict=True)):
        views = np.flatnonzero(seen.camera == number)
        if len(views):
            found[views] = project(lens, intrinsics, points_in_camera(fit, seen, views)).points_px
    return found - seen.corners_px


def huber_cost(errors_px: np.ndarray, limit_px: float) -> float:
    """Sum of Huber's loss over corner distances; NaN counts nothing."""
    known = errors_px[np.isfinite(errors_px)]
    return float(np.where(known <= limit_px, known**2 / 2, limit_px * (known - limit_px / 2)).sum())


def _huber_weights(errors_px: np.ndarray, limit_px: float) -> np.ndarray:
    """Weights (V, N) that turn squares into Huber's loss; 0 where not seen."""
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = np.where(errors_px <= limit_px, 1.0, limit_px / errors_px)
    return np.where(np.isfinite(errors_px), weights, 0.0)


def equations(fit: Fit, seen: Observations, limit_px: float, free: np.ndarray, damping: float = 0.0) -> Equations:
    """Normal equations of the robust cost at `fit`. free: (S,) bool, which shared unknowns may move."""
    cameras, rig, unknowns = shared_slices(fit)
    poses = len(fit.pose_rotations)
    shared, gradient = np.zeros((poses, unknowns, unknowns)), np.zeros((poses, unknowns))
    coupling, pose_block, pose_gradient = (
        np.zeros((poses, 6, unknowns)), np.zeros((poses, 6, 6)), np.zeros((poses, 6))
    )  # fmt: skip
    for number, (lens, intrinsics) in enumerate(zip(fit.lenses, fit.intrinsics, strict=True)):
        for through in (False, True):
            views = np.flatnonzero((seen.camera == number) & (seen.through_rig == through))
            if not len(views):
                continue
            pose = seen.pose[views]
            turned = seen.board_m @ np.swapaxes(fit.pose_rotations[pose], 1, 2)  # board axes to the pose's frame
            in_left = turned + fit.pose_translations_m[pose][:, None]
            chained = in_left @ fit.rotation.T
            shown = project(lens, intrinsics, chained + fit.translation_m if through else in_left)
            residual = shown.points_px - seen.corners_px[views]
            weights = np.sqrt(_huber_weights(np.linalg.norm(residual, axis=-1), limit_px))[..., None]
            residual = np.where(weights > 0, residual, 0.0) * weights
            by_point = np.where(weights[..., None] > 0, shown.by_point, 0.0) * weights[..., None]
            by_shared = np.zeros((*residual.shape, unknowns))
            by_shared[..., cameras[number]] = (
                np.where(weights[..., None] > 0, shown.by_intrinsics, 0.0) * weights[..., None]
            )
            if through:
                by_shared[..., rig.start : rig.start + 3] = -by_point @ skew(chained)
                by_shared[..., rig.start + 3 : rig.stop] = by_point
                by_point = by_point @ fit.rotation
            by_pose = np.concatenate([-by_point @ skew(turned), by_point], axis=-1)
            by_shared = (by_shared * free).reshape(len(views), -1, unknowns)
            by_pose, flat = by_pose.reshape(len(views), -1, 6), residual.reshape(len(views), -1, 1)
            shared_t, pose_t = np.swapaxes(by_shared, 1, 2), np.swapaxes(by_pose, 1, 2)
            # A pose occurs once per camera and kind, so plain indexing adds up correctly.
            shared[pose] += shared_t @ by_shared
            gradient[pose] += (shared_t @ flat)[..., 0]
            coupling[pose] += pose_t @ by_shared
            pose_block[pose] += pose_t @ by_pose
            pose_gradient[pose] += (pose_t @ flat)[..., 0]
    unseen = np.einsum("pii->p", pose_block) == 0
    pose_block[unseen] = np.eye(6)
    diagonal = np.einsum("pii->pi", pose_block)
    pose_block = pose_block + (damping * diagonal)[:, None] * np.eye(6)
    scale = 1 / np.sqrt(np.maximum(diagonal, 1e-30))
    inverse = np.linalg.pinv(pose_block * scale[:, :, None] * scale[:, None], rcond=1e-13, hermitian=True)
    inverse = inverse * scale[:, :, None] * scale[:, None]
    back = np.swapaxes(coupling, 1, 2) @ inverse
    return Equations(
        reduced=shared - back @ coupling,
        reduced_gradient=gradient - (back @ pose_gradient[..., None])[..., 0],
        pose_inverse=inverse,
        coupling=coupling,
        pose_gradient=pose_gradient,
    )


def solve_shared(matrix: np.ndarray, gradient: np.ndarray, free: np.ndarray) -> np.ndarray:
    """The step `-matrix^-1 gradient` among the free unknowns, scaled to unit diagonal first. (S,)"""
    step = np.zeros(len(gradient))
    index = np.flatnonzero(free & (np.diag(matrix) > 0))
    scale = 1 / np.sqrt(np.diag(matrix)[index])
    scaled = matrix[np.ix_(index, index)] * scale[:, None] * scale
    step[index] = -scale * np.linalg.lstsq(scaled, gradient[index] * scale, rcond=1e-14)[0]
    return step


def moved(fit: Fit, shared_step: np.ndarray, pose_steps: np.ndarray) -> Fit:
    """The fit after a step. shared_step: (S,); pose_steps: (P, 6)."""
    cameras, rig, _ = shared_slices(fit)
    turn, shift = shared_step[rig][:3], shared_step[rig][3:]
    return replace(
        fit,
        intrinsics=tuple(values + shared_step[part] for values, part in zip(fit.intrinsics, cameras, strict=True)),
        rotation=exp_so3(turn) @ fit.rotation,
        translation_m=fit.translation_m + shift,
        pose_rotations=exp_so3(pose_steps[:, :3]) @ fit.pose_rotations,
        pose_translations_m=fit.pose_translations_m + pose_steps[:, 3:],
    )


def _cost(fit: Fit, seen: Observations, limit_px: float) -> float:
    """Robust cost; infinite where a corner that was seen cannot be projected."""
    errors = np.linalg.norm(residuals_px(fit, seen), axis=-1)
    if np.isnan(errors[np.isfinite(seen.corners_px[..., 0])]).any():
        return np.inf
    return huber_cost(errors, limit_px)


def refine(
    fit: Fit, seen: Observations, limit_px: float, free: np.ndarray | None = None, steps: int = MAX_STEPS
) -> tuple[Fit, bool]:
    """Minimise Huber's loss of all corner distances; returns the fit and whether it arrived.

    limit_px: where the loss turns from square to linear; free: (S,) bool of the shared unknowns, all when None.
    It has arrived when the undamped step would lower the cost by less than 1e-10 of itself.
    """
    if free is None:
        free = np.ones(shared_slices(fit)[2], dtype=bool)
    damping, cost = 1e-4, _cost(fit, seen, limit_px)
    if not np.isfinite(cost):
        return fit, False
    for _ in range(steps):
        system = equations(fit, seen, limit_px, free, damping)
        matrix = system.reduced.sum(axis=0)
        matrix = matrix + damping * np.diag(np.diag(matrix))
        shared_step = solve_shared(matrix, system.reduced_gradient.sum(axis=0), free)
        pose_steps = -(system.pose_inverse @ (system.pose_gradient + system.coupling @ shared_step)[..., None])[..., 0]
        candidate = moved(fit, shared_step, pose_steps)
        new_cost = _cost(candidate, seen, limit_px)
        if damping <= 1e-4 and abs(cost - new_cost) <= 1e-10 * cost + 1e-20:
            return (candidate if new_cost < cost else fit), True
        if new_cost < cost:
            fit, cost, damping = candidate, new_cost, max(damping / 10, 1e-9)
        elif damping > 1e8:
            # Not even the shortest step goes down: the bottom, as far as the arithmetic can tell.
            return fit, new_cost - cost <= 1e-8 * cost
        else:
            damping *= 8
    return fit, False
