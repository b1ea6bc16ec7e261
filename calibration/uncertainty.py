"""How sure the rig is: leaving out one pair at a time, and the noise carried through the fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .bundle import Fit, equations, moved, shared_slices, solve_shared
from .rig import rotation_angle_rad
from .robust import HUBER_SIGMAS, RobustFit, noise_covariance


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Standard deviations of what is fitted.

    baseline_m, rotation_rad (of the relative rotation as a whole), angle_rad (of the angle it turns by);
    focal_px: (2, 2), fx and fy of each camera; shared: (S, S) covariance of all shared unknowns.
    """

    baseline_m: float
    rotation_rad: float
    angle_rad: float
    focal_px: np.ndarray
    shared: np.ndarray


def left_out_steps(robust: RobustFit) -> np.ndarray:
    """How the shared unknowns move when one pose with all its pictures is left out, (poses that count, S).

    One Newton step each, from the shares the poses have in the reduced normal equations.
    """
    free = np.ones(shared_slices(robust.fit)[2], dtype=bool)
    system = equations(robust.fit, robust.seen, HUBER_SIGMAS * robust.sigma_px, free)
    whole, gradient = system.reduced.sum(axis=0), system.reduced_gradient.sum(axis=0)
    counted = np.flatnonzero(np.einsum("pii->p", system.reduced) > 0)
    return np.stack([
        solve_shared(whole - system.reduced[pose], gradient - system.reduced_gradient[pose], free) for pose in counted
    ])  # fmt: skip


def estimate_uncertainty(robust: RobustFit) -> Uncertainty:
    """Standard deviations of baseline, rotation and focal lengths.

    Leaving one pair out (jackknife; Efron, Stein: The jackknife estimate of variance, 1981) sees what the corner noise
    does not explain: bent boards, blur, errors common to a picture. With few pairs it is itself uncertain and can come
    out small by chance; the corner noise then sets the floor.
    """
    steps, noise = left_out_steps(robust), noise_covariance(robust)
    count = len(steps)
    centred = steps - steps.mean(axis=0)
    jackknife = (count - 1) / count * centred.T @ centred
    fit = robust.fit

    def deviation(of: Callable[[Fit], np.ndarray]) -> np.ndarray:
        """Of a function of the fit: jackknife on the function itself, noise through its numerical derivative."""
        still = np.zeros((len(fit.pose_rotations), 6))
        values = np.stack([of(moved(fit, step, still)) for step in steps])
        spread = (count - 1) / count * ((values - values.mean(axis=0)) ** 2).sum(axis=0)
        scales = np.sqrt(np.diag(noise)) * 0.01
        slopes = np.stack([
            (of(moved(fit, row, still)) - of(moved(fit, -row, still))) / 2 for row in np.diag(scales)
        ]) / np.maximum(scales, 1e-300)[:, None]  # fmt: skip
        explained = np.einsum("sk,st,tk->k", slopes, noise, slopes)
        return np.sqrt(np.maximum(spread, explained))

    baseline = deviation(lambda f: np.array([np.linalg.norm(f.translation_m)]))[0]
    angle = deviation(lambda f: np.array([rotation_angle_rad(f.rotation)]))[0]
    focal = deviation(lambda f: np.concatenate([values[:2] for values in f.intrinsics]))
    _, rig, _ = shared_slices(fit)
    turn = slice(rig.start, rig.start + 3)
    rotation = np.sqrt(max(np.trace(jackknife[turn, turn]), np.trace(noise[turn, turn])))
    return Uncertainty(
        baseline_m=float(baseline),
        rotation_rad=float(rotation),
        angle_rad=float(angle),
        focal_px=focal.reshape(2, 2),
        shared=_larger(jackknife, noise),
    )


def _larger(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`first` widened so that no unknown is surer than in `second`, its correlations kept."""
    own, other = np.diag(first), np.diag(second)
    stretch = np.sqrt(np.maximum(other / np.maximum(own, 1e-300), 1.0))
    return first * stretch[:, None] * stretch
