"""Robust fitting around `bundle.refine`: the noise level from the data itself, wrong corners taken out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .bundle import MAX_STEPS, Fit, Observations, equations, refine, residuals_px, shared_slices

# A corner further off than this many standard deviations is wrong, not noisy: in a million good ones none is.
WRONG_CORNER_SIGMAS = 6.0
# The loss takes care of smaller errors; in very clean pictures many corners are six times the noise and still harmless.
WRONG_CORNER_PX = 0.5
# The loss of the final fit is a square up to here, so that good corners count as in least squares.
HUBER_SIGMAS = 3.0
# The median distance of a two-dimensional Gaussian error of standard deviation 1 per axis.
MEDIAN_DISTANCE = float(np.sqrt(2 * np.log(2)))
MIN_SIGMA_PX = 0.005


@dataclass(frozen=True, slots=True)
class RobustFit:
    """A fit with its wrong corners out of `seen`.

    wrong: (V, N) corners taken out; sigma_px: noise of a corner per axis; converged: at the
    bottom of the cost.
    """

    fit: Fit
    seen: Observations
    wrong: np.ndarray
    sigma_px: float
    converged: bool

    def errors_px(self) -> np.ndarray:
        """Distance of every trusted corner from where the fit puts it, (V, N), NaN for the others."""
        return np.linalg.norm(residuals_px(self.fit, self.seen), axis=-1)

    def view_rms_px(self) -> np.ndarray:
        """Root mean square distance per picture, (V,); NaN without trusted corners."""
        return rms_per_view_px(self.errors_px())


def rms_per_view_px(errors_px: np.ndarray) -> np.ndarray:
    """(V, N) -> (V,); NaN where a picture has no corner."""
    known = np.isfinite(errors_px)
    squares = np.where(known, errors_px, 0.0) ** 2
    with np.errstate(invalid="ignore"):
        return np.sqrt(squares.sum(axis=1) / known.sum(axis=1))


def noise_px(errors_px: np.ndarray) -> float:
    """Standard deviation per axis from the median distance; wrong corners hardly move it."""
    known = errors_px[np.isfinite(errors_px)]
    return max(float(np.median(known)) / MEDIAN_DISTANCE, MIN_SIGMA_PX) if known.size else MIN_SIGMA_PX


def _wrong_corners(fit: Fit, everything: Observations) -> tuple[np.ndarray, float]:
    errors = np.linalg.norm(residuals_px(fit, everything), axis=-1)
    sigma = noise_px(errors)
    # A picture noisier than the others keeps its corners; whether to keep the picture is asked elsewhere.
    own = np.array([noise_px(row) for row in errors])
    with np.errstate(invalid="ignore"):
        wrong = errors > np.maximum(WRONG_CORNER_SIGMAS * np.maximum(sigma, own)[:, None], WRONG_CORNER_PX)
    # A corner that the fit cannot project at all (behind the camera) is no evidence for it either.
    return wrong | (np.isnan(errors) & np.isfinite(everything.corners_px[..., 0])), sigma


def robust_refine(
    fit: Fit, everything: Observations, free: np.ndarray | None = None, steps: int = MAX_STEPS, rounds: int = 8
) -> RobustFit:
    """Fit all corners, take out the wrong ones, fit again, until the set of wrong ones no longer changes.

    everything: with all corners; every round judges all of them again, so one taken out early can come back.
    steps: limit for each fit.
    """
    for _ in range(2):
        sigma = noise_px(np.linalg.norm(residuals_px(fit, everything), axis=-1))
        fit, _ = refine(fit, everything, 1.5 * sigma, free, min(steps, 40))
    wrong, sigma = _wrong_corners(fit, everything)
    seen, converged, settled = everything, False, False
    for _ in range(rounds):
        seen = replace(everything, corners_px=np.where(wrong[..., None], np.nan, everything.corners_px))
        fit, converged = refine(fit, seen, HUBER_SIGMAS * sigma, free, steps)
        found, new_sigma = _wrong_corners(fit, everything)
        settled = bool((found == wrong).all()) and abs(new_sigma / sigma - 1) < 1e-3
        if settled:
            break
        wrong, sigma = found, new_sigma
    return RobustFit(fit, seen, wrong, sigma, converged)


def noise_covariance(robust: RobustFit) -> np.ndarray:
    """Covariance of the shared unknowns that the corner noise alone explains, (S, S)."""
    free = np.ones(shared_slices(robust.fit)[2], dtype=bool)
    system = equations(robust.fit, robust.seen, HUBER_SIGMAS * robust.sigma_px, free)
    whole = system.reduced.sum(axis=0)
    scale = 1 / np.sqrt(np.maximum(np.diag(whole), 1e-30))
    inverse = np.linalg.pinv(whole * scale[:, None] * scale, rcond=1e-14, hermitian=True) * scale[:, None] * scale
    # The noise per axis from the mean square: the median would miss the tails that count here.
    known = np.isfinite(robust.seen.corners_px[..., 0])
    poses = len(set(robust.seen.pose[known.any(axis=1)]))
    freedom = max(2 * int(known.sum()) - 6 * poses - len(whole), 1)
    return inverse * float(np.nansum(robust.errors_px() ** 2)) / freedom
