"""From corners of many pairs to a stereo rig: each camera alone, the pairs put together, then everything at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .boards import Board
from .bundle import Fit, Observations, refine, residuals_px, shared_slices
from .lens import LensName, camera_from
from .lens import project as project_lens
from .one_camera import CalibrationError, CameraFit, choose_lenses, finish_camera, try_lenses
from .rig import RigidTransform, StereoRig
from .robust import HUBER_SIGMAS, RobustFit, robust_refine

MIN_PAIRS = 6
# A pair does not fit together when its corners are further off in the common fit than in the fits of each camera alone
# by this factor and this much more: the noise is the same in both, so only a moved board (or a moved rig) does that.
MISFIT_RATIO = 2.5
MISFIT_EXTRA_PX = 0.1
# A camera whose focal length its own pictures leave open by this part is not determined by them.
UNDETERMINED_FOCAL_PART = 0.05
# A view with this part of its corners called wrong is wrong as a whole.
WRONG_PART_OF_VIEW = 0.25
# From this part of the pairs on it is no longer a few bad pairs but a rig whose cameras do not fire together.
UNSYNCHRONISED_PART = 0.4


@dataclass(frozen=True, slots=True)
class PairCorners:
    """Corners of one board seen by two cameras.

    left_px, right_px: (P, N, 2), the pairs, NaN where not seen; left_extra_px, right_extra_px: (E, N, 2), pictures of
    one camera alone; left_size_px, right_size_px: (width, height).
    """

    board: Board
    left_px: np.ndarray
    right_px: np.ndarray
    left_extra_px: np.ndarray
    right_extra_px: np.ndarray
    left_size_px: tuple[int, int]
    right_size_px: tuple[int, int]


@dataclass(frozen=True, slots=True)
class RigFit:
    """A solved rig with what it rests on.

    corners: as given, but with the reversed corner orders put right; cameras: each fitted alone;
    robust: the common fit; its pictures are the left and right ones of all pairs, then the extra ones, and its poses
    those of the pairs, then of the extra pictures; everything: the same pictures with the corners the fit took out;
    used: (P,) pairs that count; misfits: (P,) pairs whose two views do not fit together; turned: (P,) pairs whose right
    corners came in another order; bad_views: per camera (P + E,) pictures left out because they fit badly on their own;
    alone_rms_px: (P,) root mean square corner distance of each pair with each camera fitted alone;
    pair_rms_px: (P,) the same in the common fit, for every pair seen by both cameras.
    """

    corners: PairCorners
    cameras: tuple[CameraFit, CameraFit]
    robust: RobustFit
    everything: Observations
    used: np.ndarray
    misfits: np.ndarray
    turned: np.ndarray
    bad_views: tuple[np.ndarray, np.ndarray]
    alone_rms_px: np.ndarray
    pair_rms_px: np.ndarray

    @property
    def rig(self) -> StereoRig:
        """The result as the program uses it; raises RigError where the numbers cannot be right."""
        fit, corners = self.robust.fit, self.corners
        sizes = (corners.left_size_px, corners.right_size_px)
        left, right = (camera_from(fit.lenses[k], fit.intrinsics[k], sizes[k]) for k in (0, 1))
        return StereoRig(left, right, RigidTransform(fit.rotation, fit.translation_m))

    @property
    def baseline_m(self) -> float:
        """Distance between the cameras, also where `rig` raises because it is impossible."""
        return float(np.linalg.norm(self.robust.fit.translation_m))

    @property
    def unsynchronised(self) -> bool:
        """Whether so many pairs do not fit together that the recording, not single pairs, must be at fault."""
        both = np.isfinite(self.pair_rms_px).sum()
        return bool(self.misfits.sum() >= max(2, UNSYNCHRONISED_PART * both))

    def pair_views(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the left and right pictures of the pairs in the common fit, (P,) each."""
        pairs = len(self.corners.left_px)
        return np.arange(pairs), np.arange(pairs) + pairs


def _turned_pose(
    rotation: np.ndarray, translation_m: np.ndarray, board_m: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The pose that goes with corners taken in another order: that order is the board turned in its own plane."""
    shift = board_m[order[0]]
    along = board_m[1] - board_m[0]
    turned = board_m[order[1]] - board_m[order[0]]
    cosine, sine = (
        along[:2] @ turned[:2] / (along @ along),
        (along[0] * turned[1] - along[1] * turned[0]) / (along @ along),
    )
    plane = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return rotation @ plane, rotation @ shift + translation_m


def _consensus(
    corners: PairCorners, left: CameraFit, right: CameraFit, both: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The relative position most pairs agree on, and the corner order of the right view of each that agrees with it.

    Every pair with every order the board allows proposes one; it is scored on all pairs by where it puts the right
    corners. Returns rotation, translation_m and the number of the order per pair (P,).
    """
    board_m, orders = corners.board.points_m, corners.board.turns()
    noise = max(left.robust.sigma_px, right.robust.sigma_px)
    scale = max(6 * noise, 1.0)
    pairs = np.flatnonzero(both)
    fit_left, fit_right = left.robust.fit, right.robust.fit
    in_left = board_m @ np.swapaxes(fit_left.pose_rotations[pairs], 1, 2) + fit_left.pose_translations_m[pairs][:, None]
    found = np.stack([corners.right_px[pairs][:, order] for order in orders], axis=1)  # (pairs, orders, N, 2)
    best_score, best = np.inf, None
    for pair in pairs:
        left_rotation, left_m = fit_left.pose_rotations[pair], fit_left.pose_translations_m[pair]
        for order in orders:
            right_rotation, right_m = _turned_pose(
                fit_right.pose_rotations[pair], fit_right.pose_translations_m[pair], board_m, order
            )
            rotation = right_rotation @ left_rotation.T
            translation_m = right_m - rotation @ left_m
            shown = project_lens(right.lens, right.intrinsics, in_left @ rotation.T + translation_m).points_px
            errors = np.linalg.norm(shown[:, None] - found, axis=-1)
            visible = np.isfinite(found[..., 0])
            errors = np.where(visible & np.isnan(errors), 1e6, errors)
            median = np.nanmedian(errors, axis=-1)
            score = float(np.log1p((median.min(axis=1) / scale) ** 2).sum())
            if score < best_score:
                best_score, best = score, (rotation, translation_m, median.argmin(axis=1))
    assert best is not None
    chosen = np.zeros(len(both), dtype=int)
    chosen[pairs] = best[2]
    return best[0], best[1], chosen


def _observations(corners: PairCorners, usable: tuple[np.ndarray, np.ndarray]) -> Observations:
    """All pictures for the common fit: left of the pairs, right of the pairs, left extra, right extra."""
    pairs, extra_left, extra_right = len(corners.left_px), len(corners.left_extra_px), len(corners.right_extra_px)
    left = np.where(usable[0][:, None, None], np.concatenate([corners.left_px, corners.left_extra_px]), np.nan)
    right = np.where(usable[1][:, None, None], np.concatenate([corners.right_px, corners.right_extra_px]), np.nan)
    camera = np.repeat([0, 1, 0, 1], [pairs, pairs, extra_left, extra_right])
    pose = np.concatenate([np.arange(pairs), np.arange(pairs), np.arange(extra_left + extra_right) + pairs])
    return Observations(
        corners.board.points_m,
        np.concatenate([left[:pairs], right[:pairs], left[pairs:], right[pairs:]]),
        camera,
        pose,
        np.repeat([False, True, False, False], [pairs, pairs, extra_left, extra_right]),
    )


def _common_start(
    corners: PairCorners, left: CameraFit, right: CameraFit, rotation: np.ndarray, translation_m: np.ndarray
) -> Fit:
    """The fits of both cameras alone, chained; a pair without a left view gets its pose from the right one."""
    pairs = len(corners.left_px)
    fit_left, fit_right = left.robust.fit, right.robust.fit
    rotations, translations = fit_left.pose_rotations[:pairs].copy(), fit_left.pose_translations_m[:pairs].copy()
    only_right = ~left.used[:pairs] & right.used[:pairs]
    rotations[only_right] = rotation.T @ fit_right.pose_rotations[:pairs][only_right]
    translations[only_right] = (fit_right.pose_translations_m[:pairs][only_right] - translation_m) @ rotation
    return Fit(
        lenses=(left.lens, right.lens),
        intrinsics=(left.intrinsics, right.intrinsics),
        rotation=rotation,
        translation_m=translation_m,
        pose_rotations=np.concatenate([rotations, fit_left.pose_rotations[pairs:], fit_right.pose_rotations[pairs:]]),
        pose_translations_m=np.concatenate(
            [translations, fit_left.pose_translations_m[pairs:], fit_right.pose_translations_m[pairs:]]
        ),
    )


def _pair_rms_px(errors_px: np.ndarray, pairs: int) -> np.ndarray:
    """Root mean square over both views of each pair, (P,); NaN where one view has no corner."""
    both = np.concatenate([errors_px[:pairs], errors_px[pairs : 2 * pairs]], axis=1)
    seen = np.isfinite(errors_px[:pairs]).any(axis=1) & np.isfinite(errors_px[pairs : 2 * pairs]).any(axis=1)
    rms = np.full(pairs, np.nan)
    rms[seen] = np.sqrt(np.nanmean(both[seen] ** 2, axis=1))
    return rms


def _fit_pairs_alone_px(corners: PairCorners, left: CameraFit, right: CameraFit) -> np.ndarray:
    pairs = len(corners.left_px)
    errors = [camera.robust.errors_px()[:pairs] for camera in (left, right)]
    return _pair_rms_px(np.concatenate(errors), pairs)


def solve_rig(corners: PairCorners, left_lens: LensName | None = None, right_lens: LensName | None = None) -> RigFit:
    """Fit both cameras and their relative position to all corners.

    left_lens, right_lens: lens models, chosen by evidence when None. Raises CalibrationError when there is too little
    to fit anything; a fit that should not be believed is returned all the same, for the judgement to say why.
    """
    board_m, pairs = corners.board.points_m, len(corners.left_px)
    trials = (
        try_lenses(
            np.concatenate([corners.left_px, corners.left_extra_px]), board_m, corners.left_size_px, left_lens, "left"
        ),
        try_lenses(
            np.concatenate([corners.right_px, corners.right_extra_px]),
            board_m,
            corners.right_size_px,
            right_lens,
            "right",
        ),
    )
    left, right = (
        finish_camera(tried, lens, board_m) for tried, lens in zip(trials, choose_lenses(trials), strict=True)
    )
    both = left.used[:pairs] & right.used[:pairs]
    if both.sum() < 3:
        raise CalibrationError(
            f"the board is usable in both pictures of only {int(both.sum())} pairs; at least {MIN_PAIRS} are needed: "
            "hold "
            "the board where both cameras see all of it"
        )
    rotation, translation_m, order = _consensus(corners, left, right, both)
    orders = corners.board.turns()
    turned_right = np.stack([view[orders[number]] for view, number in zip(corners.right_px, order, strict=True)])
    corners = replace(corners, right_px=turned_right)
    alone_px = _fit_pairs_alone_px(corners, left, right)
    everything = _observations(corners, (left.used, right.used))
    start = _common_start(corners, left, right, rotation, translation_m)
    determined = all(camera.focal_noise_part() < UNDETERMINED_FOCAL_PART for camera in (left, right))
    robust, misfits, pair_rms = _fit_what_belongs_together(start, everything, alone_px, both, determined)
    return RigFit(
        corners=corners,
        cameras=(left, right),
        robust=robust,
        everything=everything,
        used=both & ~misfits,
        misfits=misfits,
        turned=(order > 0) & both,
        bad_views=(left.bad_views, right.bad_views),
        alone_rms_px=alone_px,
        pair_rms_px=pair_rms,
    )


def _fit_what_belongs_together(
    start: Fit, everything: Observations, alone_px: np.ndarray, both: np.ndarray, determined: bool
) -> tuple[RobustFit, np.ndarray, np.ndarray]:
    """Common fit of the pairs whose views fit together; returns it, the misfits (P,) and the RMS of every pair (P,).

    The cameras as fitted alone are kept first: views that do not belong together would otherwise bend them until they
    do. If most pairs fail already there, that is the answer. determined: whether each camera's own pictures fix it; if
    not (all boards parallel) nothing can be said with the cameras kept.
    """
    pairs = len(both)
    allowed = MISFIT_RATIO * np.maximum(alone_px, np.nanmedian(alone_px)) + MISFIT_EXTRA_PX
    misfits = np.zeros(pairs, dtype=bool)
    if determined:
        _, rig, unknowns = shared_slices(start)
        rig_only = np.zeros(unknowns, dtype=bool)
        rig_only[rig] = True
        robust, misfits, pair_rms = _drop_misfits(start, everything, allowed, both, misfits, rig_only)
        if misfits.sum() >= max(2, UNSYNCHRONISED_PART * both.sum()):
            return robust, misfits, pair_rms
        start = robust.fit
    robust, misfits, pair_rms = _drop_misfits(start, everything, allowed, both, misfits, None)
    # Cameras known better than before may show that a pair was not at fault.
    back = misfits & (pair_rms <= allowed)
    if back.any():
        return _drop_misfits(robust.fit, everything, allowed, both, misfits & ~back, None)
    return robust, misfits, pair_rms


def _drop_misfits(
    fit: Fit,
    everything: Observations,
    allowed_px: np.ndarray,
    both: np.ndarray,
    misfits: np.ndarray,
    free: np.ndarray | None,
) -> tuple[RobustFit, np.ndarray, np.ndarray]:
    """Fit, take out pairs above `allowed_px`, worst first, and fit again until none is left. free: of the unknowns.

    Returns the fit, the misfits with those given included (P,), and the RMS of every pair at its best pose (P,).
    """
    pairs = len(both)
    misfits = misfits.copy()
    while True:
        dropped = np.zeros(len(fit.pose_rotations), dtype=bool)
        dropped[:pairs] = misfits
        robust = robust_refine(fit, everything.without_poses(dropped), free)
        fit = robust.fit
        errors = np.linalg.norm(residuals_px(fit, everything), axis=-1)
        # Wrong corners are no sign of a moved board, unless a good part of the view is called wrong.
        wrong_part = np.maximum(robust.wrong[:pairs].mean(axis=1), robust.wrong[pairs : 2 * pairs].mean(axis=1))
        trusted = _pair_rms_px(np.where(robust.wrong, np.nan, errors), pairs)
        pair_rms = np.where(wrong_part < WRONG_PART_OF_VIEW, trusted, _pair_rms_px(errors, pairs))
        with np.errstate(invalid="ignore"):
            worse = both & ~misfits & ~(pair_rms <= allowed_px)
        if not worse.any() or (both & ~misfits).sum() - 1 < 3:
            break
        # The worst ones first: they pull the others off as well.
        excess = np.where(worse, np.nan_to_num(pair_rms / allowed_px, nan=np.inf), -np.inf)
        misfits[np.argsort(-excess, kind="stable")[: max(1, int(worse.sum()) // 3)]] = True
    if misfits.any():
        nothing = np.zeros(shared_slices(fit)[2], dtype=bool)
        posed, _ = refine(fit, everything, HUBER_SIGMAS * robust.sigma_px, nothing)
        best_rms = _pair_rms_px(np.linalg.norm(residuals_px(posed, everything), axis=-1), pairs)
        pair_rms = np.where(misfits, best_rms, pair_rms)
    return robust, misfits, pair_rms
