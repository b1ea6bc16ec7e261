"""Intrinsics of one camera from pictures of a board, and which lens model the pictures call for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .bundle import Fit, Observations, equations, moved, refine, residuals_px, shared_slices, solve_shared
from .errors import UserError
from .lens import FOCAL_AND_CENTRE, LENS_TERMS, LENS_WORDS, LensName, camera_from
from .rig import Camera, RigError
from .robust import HUBER_SIGMAS, RobustFit, noise_covariance, rms_per_view_px, robust_refine

# Focal lengths to start from, in picture widths, beside OpenCV's closed form.
START_FOCALS = (0.35, 0.7, 1.3, 2.5)
MIN_VIEWS = 3
MIN_CORNERS_IN_VIEW = 8
# A richer model has to predict pictures it has not seen better by this part of the squared error (mean logarithm over
# the pictures), and by this many standard errors; terms that gain less only wave about where no corner was.
WORTHWHILE_GAIN = 0.05
WORTHWHILE_ERRORS = 2.0
# Steps for a lens model on trial: one that needs more is one the pictures do not determine. The model chosen is fitted
# to the end together with everything else.
TRIAL_STEPS = 40
# Models of the same number stand for equally plain lenses: between them the better prediction decides.
LENS_PLAINNESS: dict[LensName, int] = {"radial2": 0, "fisheye": 0, "radial3": 1, "rational": 2}
# Rational terms beyond this cancel each other above and below the line: they fit noise and leap where no corner was.
MAX_RATIONAL_TERM = 100.0
# A lens has to map the corners it was fitted to one to one, to this.
ROUND_TRIP_PX = 0.5
# A picture whose corners fit this many times worse than is usual among the others is a bad one.
BAD_VIEW_RATIO = 4.0
BAD_VIEW_WRONG_CORNERS = 0.25


class CalibrationError(UserError):
    """Pictures from which no rig can be worked out."""


@dataclass(frozen=True, slots=True)
class LensEvidence:
    """How well a lens model predicts pictures left out of its fit. rms_px: None when it could not be fitted."""

    lens: LensName
    rms_px: float | None


@dataclass(frozen=True, slots=True)
class CameraFit:
    """One camera fitted alone.

    used: (V,) pictures in the fit; bad_views: (V,) pictures left out because they fit badly; evidence: what the choice
    of the lens rests on, empty when it was told.
    """

    robust: RobustFit
    lens: LensName
    used: np.ndarray
    bad_views: np.ndarray
    evidence: tuple[LensEvidence, ...]

    @property
    def intrinsics(self) -> np.ndarray:
        """fx, fy, cx, cy and the distortion terms."""
        return self.robust.fit.intrinsics[0]

    def focal_noise_part(self) -> float:
        """What the corner noise alone leaves open of the focal length, as a part of it."""
        return float((np.sqrt(np.diag(noise_covariance(self.robust)))[:2] / self.intrinsics[:2]).max())


def single_camera_observations(corners_px: np.ndarray, board_m: np.ndarray) -> Observations:
    """Every picture with a pose of its own. corners_px: (V, N, 2)."""
    views = len(corners_px)
    return Observations(board_m, corners_px, np.zeros(views, dtype=int), np.arange(views), np.zeros(views, dtype=bool))


def board_poses(
    lens: LensName, intrinsics: np.ndarray, size_px: tuple[int, int], corners_px: np.ndarray, board_m: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pose of the board in each picture under known intrinsics: rotations (V, 3, 3), translations (V, 3) in metres.

    A flat board seen from afar has two nearly equal poses; the one that fits better is taken. Pictures without a pose
    get one straight ahead.
    """
    camera = camera_from(lens, intrinsics, size_px)
    rotations, translations = (
        np.tile(np.eye(3), (len(corners_px), 1, 1)),
        np.tile([0.0, 0.0, 1.0], (len(corners_px), 1)),
    )
    for number, corners in enumerate(corners_px):
        rays = camera.rays_from_px(corners)
        known = np.isfinite(rays).all(axis=1) & (np.abs(rays).max(axis=1) < 10)
        if known.sum() < 4:
            continue
        count, turns, shifts, _ = cv2.solvePnPGeneric(
            board_m[known], rays[known], np.eye(3), np.zeros(5), flags=cv2.SOLVEPNP_IPPE
        )
        best = np.inf
        for turn, shift in zip(turns[:count], shifts[:count], strict=True):
            rotation, shift = cv2.Rodrigues(turn)[0], np.asarray(shift).reshape(3)
            error = np.linalg.norm(camera.px_from_camera(board_m @ rotation.T + shift) - corners, axis=1)[known]
            score = float(np.median(error)) if np.isfinite(error).all() else np.inf
            if score < best:
                best, rotations[number], translations[number] = score, rotation, shift
    return rotations, translations


def _start(lens: LensName, corners_px: np.ndarray, board_m: np.ndarray, size_px: tuple[int, int]) -> Fit | None:
    """The best of several starts, fitted with few unknowns first; None when none leads anywhere."""
    seen = single_camera_observations(corners_px, board_m)
    width, height = size_px
    known = [np.isfinite(corners).all(axis=1) for corners in corners_px]
    closed_form = cv2.initCameraMatrix2D(
        [board_m[k].astype(np.float32) for k in known],
        [c[k].astype(np.float32) for c, k in zip(corners_px, known, strict=True)],
        size_px,
        0,
    )
    starts = [(factor * width, factor * width) for factor in START_FOCALS]
    focal_x, focal_y = closed_form[0, 0], closed_form[1, 1]
    if (
        np.isfinite([focal_x, focal_y]).all()
        and 0.1 * width < min(focal_x, focal_y) < max(focal_x, focal_y) < 20 * width
    ):
        starts.insert(0, (focal_x, focal_y))
    few = np.zeros(FOCAL_AND_CENTRE + LENS_TERMS[lens] + 6, dtype=bool)
    few[[0, 1, FOCAL_AND_CENTRE]] = True
    found: list[tuple[float, Fit]] = []
    for focal in starts:
        intrinsics = np.array([*focal, (width - 1) / 2, (height - 1) / 2, *np.zeros(LENS_TERMS[lens])])
        try:
            rotations, translations = board_poses(lens, intrinsics, size_px, corners_px, board_m)
        except RigError:
            continue
        fit = Fit((lens,), (intrinsics,), np.eye(3), np.zeros(3), rotations, translations)
        fit, _ = refine(fit, seen, 2.0, few, steps=15)
        fit = _with_new_poses(fit, lens, corners_px, board_m, size_px)
        errors = np.linalg.norm(residuals_px(fit, seen), axis=-1)
        if np.isfinite(errors[np.isfinite(corners_px[..., 0])]).all():
            found.append((float(np.nanmean(np.minimum(errors, 50.0))), fit))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _with_new_poses(
    fit: Fit, lens: LensName, corners_px: np.ndarray, board_m: np.ndarray, size_px: tuple[int, int]
) -> Fit:
    """Poses again under the intrinsics reached, where that fits a picture better."""
    seen = single_camera_observations(corners_px, board_m)
    try:
        rotations, translations = board_poses(lens, fit.intrinsics[0], size_px, corners_px, board_m)
    except RigError:
        return fit
    again = replace(fit, pose_rotations=rotations, pose_translations_m=translations)
    old, new = (
        np.nan_to_num(rms_per_view_px(np.linalg.norm(residuals_px(f, seen), axis=-1)), nan=np.inf) for f in (fit, again)
    )
    better = new < old
    return replace(
        fit,
        pose_rotations=np.where(better[:, None, None], rotations, fit.pose_rotations),
        pose_translations_m=np.where(better[:, None], translations, fit.pose_translations_m),
    )


def _as_lens(fit: Fit, lens: LensName) -> Fit:
    """The same fit with a richer pinhole lens, its new terms zero."""
    values = fit.intrinsics[0]
    added = LENS_TERMS[lens] - (len(values) - FOCAL_AND_CENTRE)
    return replace(fit, lenses=(lens,), intrinsics=(np.concatenate([values, np.zeros(added)]),))


def _free_of_one_camera(lens: LensName) -> np.ndarray:
    return np.arange(FOCAL_AND_CENTRE + LENS_TERMS[lens] + 6) < FOCAL_AND_CENTRE + LENS_TERMS[lens]


def _fit_lens(
    lens: LensName, start: Fit | None, corners_px: np.ndarray, board_m: np.ndarray, size_px: tuple[int, int]
) -> RobustFit | None:
    """All corners with one lens model; None where it leads nowhere or to no possible camera."""
    if start is None:
        return None
    seen = single_camera_observations(corners_px, board_m)
    found = robust_refine(start, seen, _free_of_one_camera(lens), TRIAL_STEPS)
    again = _with_new_poses(found.fit, lens, found.seen.corners_px, board_m, size_px)
    if again is not found.fit and not np.array_equal(again.pose_rotations, found.fit.pose_rotations):
        found = robust_refine(again, seen, _free_of_one_camera(lens), TRIAL_STEPS)
    trusted = found.seen.corners_px[np.isfinite(found.seen.corners_px[..., 0])]
    return found if is_possible(lens, found.fit.intrinsics[0], size_px, trusted) else None


def is_possible(lens: LensName, intrinsics: np.ndarray, size_px: tuple[int, int], seen_px: np.ndarray) -> bool:
    """Whether the fitted numbers describe a camera: finite, centre near the picture, one direction to a pixel.

    seen_px: (K, 2) where corners were; beyond them a polynomial may well turn back, which the judgement reports.
    """
    if not np.isfinite(intrinsics).all() or np.abs(intrinsics[FOCAL_AND_CENTRE:]).max() > MAX_RATIONAL_TERM:
        return False
    centre, size = intrinsics[2:4], np.array(size_px)
    if (centre < -0.5 * size).any() or (centre > 1.5 * size).any():
        return False
    try:
        camera = camera_from(lens, intrinsics, size_px)
    except RigError:
        return False
    return lens == "fisheye" or round_trip_px(camera, seen_px).max() < ROUND_TRIP_PX


def round_trip_px(camera: Camera, points_px: np.ndarray) -> np.ndarray:
    """How far pixels are moved by taking the distortion out and putting it back, (K,); infinite without a ray."""
    rays = camera.rays_from_px(points_px)
    back = camera.px_from_camera(np.concatenate([rays, np.ones((len(rays), 1))], axis=1))
    return np.nan_to_num(np.linalg.norm(back - points_px, axis=1), nan=np.inf)


def left_out_errors_px(found: RobustFit) -> np.ndarray:
    """Mean squared distance in each picture, predicted without it, (V,) px^2; NaN for pictures without corners.

    Its intrinsics come from the other pictures (one Newton step from the common fit, from the shares of the normal
    equations), its pose from itself.
    """
    fit, seen, limit = found.fit, found.seen, HUBER_SIGMAS * found.sigma_px
    free = _free_of_one_camera(fit.lenses[0])
    system = equations(fit, seen, limit, free)
    whole, gradient = system.reduced.sum(axis=0), system.reduced_gradient.sum(axis=0)
    scores = np.full(len(seen.corners_px), np.nan)
    for view in range(len(scores)):
        if not np.isfinite(seen.corners_px[view]).any():
            continue
        step = solve_shared(whole - system.reduced[view], gradient - system.reduced_gradient[view], free)
        others = moved(fit, step, np.zeros((len(fit.pose_rotations), 6)))
        alone = replace(
            others,
            pose_rotations=others.pose_rotations[view : view + 1],
            pose_translations_m=others.pose_translations_m[view : view + 1],
        )
        own = single_camera_observations(seen.corners_px[view : view + 1], seen.board_m)
        alone, _ = refine(alone, own, limit, np.zeros(shared_slices(alone)[2], dtype=bool), steps=12)
        errors = np.linalg.norm(residuals_px(alone, own), axis=-1)
        seen_here = np.isfinite(own.corners_px[..., 0])
        scores[view] = np.mean(np.nan_to_num(errors[seen_here], nan=1e3) ** 2)
    return scores


@dataclass(frozen=True, slots=True)
class LensTrials:
    """All lens models tried on one camera's pictures.

    corners_px: (V, N, 2) all pictures; has_board: (V,); fits: of the pictures with a board, by model, those that led
    somewhere; log_scores: by model (pictures with a board,), logarithm of the squared error of each predicted from the
    others.
    """

    name: str
    corners_px: np.ndarray
    size_px: tuple[int, int]
    has_board: np.ndarray
    fits: dict[LensName, RobustFit]
    log_scores: dict[LensName, np.ndarray]

    @property
    def evidence(self) -> tuple[LensEvidence, ...]:
        """How the models compare."""
        return tuple(
            LensEvidence(name, float(np.exp(np.nanmean(self.log_scores[name]) / 2)) if name in self.fits else None)
            for name in LENS_PLAINNESS
            if self.log_scores
        )

    def defensible(self) -> list[LensName]:
        """The models that none beats clearly."""
        # The same corners must count for all: a model may not look good by calling the corners it misses wrong.
        wrong: dict[LensName, int] = {name: int(fit.wrong.sum()) for name, fit in self.fits.items()}
        room = max(3, round(0.02 * self.has_board.sum() * self.corners_px.shape[1]))
        allowed: list[LensName] = [name for name in self.fits if wrong[name] <= min(wrong.values()) + room]
        best = min(allowed, key=lambda name: float(np.nanmean(self.log_scores[name])))
        chosen: list[LensName] = []
        for name in allowed:
            loss = self.log_scores[name] - self.log_scores[best]
            loss = loss[np.isfinite(loss)]
            error = float(loss.std(ddof=1)) / np.sqrt(len(loss)) if len(loss) > 1 else 0.0
            if loss.mean() <= max(WORTHWHILE_ERRORS * error, WORTHWHILE_GAIN):
                chosen.append(name)
        return chosen


def try_lenses(
    corners_px: np.ndarray, board_m: np.ndarray, size_px: tuple[int, int], told: LensName | None, name: str
) -> LensTrials:
    """Fit one camera to pictures of a board with every lens model, or with the one told.

    corners_px: (V, N, 2), NaN where not seen; name: of the camera, for messages.
    """
    has_board = np.isfinite(corners_px[..., 0]).sum(axis=1) >= MIN_CORNERS_IN_VIEW
    if has_board.sum() < MIN_VIEWS:
        raise CalibrationError(
            f"{name} camera: the board was found in {int(has_board.sum())} pictures; at least {MIN_VIEWS} are needed "
            "to "
            "fit the lens at all, 10 to 20 for a good result"
        )
    seen = corners_px[has_board]
    fits: dict[LensName, RobustFit] = {}

    def keep(lens: LensName, start: Fit | None) -> None:
        fitted = _fit_lens(lens, start, seen, board_m, size_px)
        if fitted is not None:
            fits[lens] = fitted

    if told in (None, "fisheye"):
        keep("fisheye", _start("fisheye", seen, board_m, size_px))
    if told != "fisheye":
        keep("radial2", _start("radial2", seen, board_m, size_px))
        steps: tuple[tuple[LensName, LensName], ...] = (("radial3", "radial2"), ("rational", "radial3"))
        for richer, poorer in steps:
            if poorer in fits and (told is None or LENS_PLAINNESS[richer] <= LENS_PLAINNESS[told]):
                keep(richer, _as_lens(fits[poorer].fit, richer))
    if told is not None:
        fits = {told: fits[told]} if told in fits else {}
    if not fits:
        raise CalibrationError(
            f"{name} camera: {'no lens model' if told is None else LENS_WORDS[told]} fits the {int(has_board.sum())} "
            "pictures of the board; are all from one camera, at one zoom, with the board tilted differently in each?"
        )
    log_scores: dict[LensName, np.ndarray] = {}
    if told is None:
        log_scores = {lens: np.log(left_out_errors_px(fit)) for lens, fit in fits.items()}
    return LensTrials(name, corners_px, size_px, has_board, fits, log_scores)


def choose_lenses(trials: tuple[LensTrials, LensTrials]) -> tuple[LensName, LensName]:
    """The plainest model that none beats clearly, the same for both cameras where one is defensible for both.

    The two cameras of a rig mostly have the same lens, and together they are twice the evidence.
    """
    if not (trials[0].log_scores and trials[1].log_scores):  # told, for both alike or for one of them
        return _told_or_plainest(trials[0]), _told_or_plainest(trials[1])
    defensible = [t.defensible() for t in trials]
    common: list[LensName] = [name for name in defensible[0] if name in defensible[1]]
    if common:
        lens = _plainest(common, trials)
        return lens, lens
    return _plainest(defensible[0], trials[:1]), _plainest(defensible[1], trials[1:])


def _told_or_plainest(trials: LensTrials) -> LensName:
    return _plainest(trials.defensible(), (trials,)) if trials.log_scores else next(iter(trials.fits))


def _plainest(names: list[LensName], trials: tuple[LensTrials, ...]) -> LensName:
    return min(
        names,
        key=lambda name: (LENS_PLAINNESS[name], sum(float(np.nanmean(t.log_scores[name])) for t in trials)),
    )


def finish_camera(trials: LensTrials, lens: LensName, board_m: np.ndarray) -> CameraFit:
    """The fit with the chosen lens, bad pictures left out."""
    chosen, has_board = trials.fits[lens], trials.has_board
    bad = np.zeros(len(has_board), dtype=bool)
    for _ in range(4):
        index = np.flatnonzero(has_board & ~bad)
        worse = _bad_views(chosen)
        if not worse.any() or len(index) - worse.sum() < MIN_VIEWS:
            break
        kept = ~worse
        start = replace(
            chosen.fit,
            pose_rotations=chosen.fit.pose_rotations[kept],
            pose_translations_m=chosen.fit.pose_translations_m[kept],
        )
        again = _fit_lens(lens, start, trials.corners_px[index[kept]], board_m, trials.size_px)
        if again is None:
            break
        bad[index[worse]] = True
        chosen = again
    return _in_all_pictures(chosen, trials.corners_px, board_m, has_board & ~bad, bad, trials.evidence)


def _bad_views(found: RobustFit) -> np.ndarray:
    """Pictures that fit much worse than the others, (V,)."""
    rms = found.view_rms_px()
    wrong = found.wrong.sum(axis=1) / np.maximum(
        found.wrong.sum(axis=1) + np.isfinite(found.errors_px()).sum(axis=1), 1
    )
    typical = float(np.nanmedian(rms))
    return (np.nan_to_num(rms, nan=np.inf) > BAD_VIEW_RATIO * typical + 0.2) | (wrong > BAD_VIEW_WRONG_CORNERS)


def _in_all_pictures(
    chosen: RobustFit,
    corners_px: np.ndarray,
    board_m: np.ndarray,
    used: np.ndarray,
    bad: np.ndarray,
    evidence: tuple[LensEvidence, ...],
) -> CameraFit:
    """Spread a fit of some pictures over the numbering of all; pictures not used keep no corners."""
    views = len(corners_px)
    rotations, translations = np.tile(np.eye(3), (views, 1, 1)), np.tile([0.0, 0.0, 1.0], (views, 1))
    rotations[used], translations[used] = chosen.fit.pose_rotations, chosen.fit.pose_translations_m
    wrong = np.zeros(corners_px.shape[:2], dtype=bool)
    wrong[used] = chosen.wrong
    kept = np.where((used[:, None] & ~wrong)[..., None], corners_px, np.nan)
    fit = replace(chosen.fit, pose_rotations=rotations, pose_translations_m=translations)
    robust = replace(chosen, fit=fit, seen=single_camera_observations(kept, board_m), wrong=wrong)
    return CameraFit(robust, chosen.fit.lenses[0], used, bad, evidence)
