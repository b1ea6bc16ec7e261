"""Noise schedules and the one DDIM loop, in arithmetic that numpy arrays and torch tensors share.

With u_0 the true joints in the two images and e the detector's error, the state at step t is

    u_t = a_t u_0 + s_t e        (Dual-Diffusion, eq. 4; DDIM, Song et al. 2021, eq. 4)

and a deterministic DDIM step (eta = 0; Song et al. 2021, eq. 12) from t to s, given a prediction u_0' of u_0, is

    e' = (u_t - a_t u_0') / s_t,    u_s = a_s u_0' + s_s e'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Schedule:
    """signal: a_t, noise: s_t at the steps of one denoising run, from the most noise to the least, (K,) each."""

    signal: np.ndarray
    noise: np.ndarray

    def __post_init__(self) -> None:
        if self.signal.shape != self.noise.shape or self.signal.ndim != 1 or len(self.signal) == 0:
            raise ValueError(f"signal, noise: expected (K,) each, got {self.signal.shape}, {self.noise.shape}")
        if not (self.signal > 0).all() or not (self.noise > 0).all() or (np.diff(self.noise) >= 0).any():
            raise ValueError("signal, noise: expected positive numbers, noise falling")

    def __len__(self) -> int:
        return len(self.signal)


def linear_beta_noise(first: float, last: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """a_t and s_t for t = 1..steps with beta rising linearly from first to last; (steps,) each.

    The schedule of the published method (first 1e-4, last 1e-3; 26 or 76 steps). At its end it has s = 0.12 (26 steps)
    of the detector's own noise, so a network trained with it learns to take away an eighth of what there is.
    """
    alpha_bar = np.cumprod(1 - np.linspace(first, last, steps))
    return np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)


def published_schedule(steps: int, calls: int) -> Schedule:
    """`calls` evenly spaced steps of the published schedule, last one first, as for eta = 0 sampling."""
    signal, noise = linear_beta_noise(1e-4, 1e-3, steps)
    chosen = np.unique(np.linspace(0, steps - 1, calls + 1).round().astype(int)[1:])[::-1]
    return Schedule(signal[chosen], noise[chosen])


def detector_schedule(calls: int) -> Schedule:
    """Ours: the detections are the end of the diffusion, s = 1, and nothing shrinks, a = 1, s falls to 1 / calls.

    Keeping a = 1 (variance exploding, as in Karras et al. 2022) leaves image coordinates what they are, so that the
    states between are detections of the same person by a better detector.
    """
    noise = np.linspace(1, 0, calls, endpoint=False)
    return Schedule(np.ones_like(noise), noise)


def ddim(state: Any, schedule: Schedule, predict: Callable[[Any, int], Any]) -> Any:
    """Denoise deterministically and return the last prediction of u_0.

    state: u at the first step of the schedule, a numpy array or torch tensor of any shape; predict(u_t, k): the clean
    state that the network sees in the state at step k of the schedule (0 is the noisiest).
    """
    clean = predict(state, 0)
    for k in range(1, len(schedule)):
        before = float(schedule.noise[k - 1]), float(schedule.signal[k - 1])
        error = (state - before[1] * clean) / before[0]
        state = float(schedule.signal[k]) * clean + float(schedule.noise[k]) * error
        clean = predict(state, k)
    return clean
