"""A detector that knows the truth and gets it wrong the way real detectors do: for the demo and for tests."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from ...calibration.rectify import Rectifier
from ...models.pose import Pose2D
from ...models.skeleton import BODY17


@dataclass(frozen=True, slots=True)
class DetectorNoise:
    """What a 2D detector gets wrong; the defaults are those of a small baseline.

    Lengths are pixels of a crop of `crop_px` around the person, as detectors see it, so that errors grow with the
    person in the picture; its side is `crop_per_person` times the longer side of the box around the joints.
    Measured on real detections (Human3.6M and Berkeley MHAD, published with Dual-Diffusion, NeurIPS 2024): about 4 px
    that both views have in common; between them 0.5 px at a baseline of 0.22 m (MHAD) and 5 px at 3.9 m (H36M), where
    the views look different; kurtosis of 6 to 11 (MHAD) and over 100 (H36M, a few gross errors).

    common_sd_px: standard deviation, each of x and y, of what both views share, gross errors included.
    disparity_sd_px, row_sd_px: of the difference left minus right, in x and in y.
    body_share: share of the variance that all joints have in common: the whole body a little off.
    level_log_sd, level_time_s: how much the level varies (standard deviation of its logarithm), and how fast.
    fast_time_s, slow_time_s, slow_share: errors drift; their variance has a fast and a slow part.
    gross_share, gross_factor, gross_time_s: this share of the time a joint's errors are this many times larger, for
    this long on average.
    missing_share, missing_time_s: this share of the time a view does not give a joint, for this long on average.
    confidence_half_px: at this error the confidence is a half; confidence_log_sd: how badly the detector judges itself.
    """

    crop_px: float = 384.0
    crop_per_person: float = 1.25
    common_sd_px: float = 3.8
    disparity_sd_px: float = 0.5
    row_sd_px: float = 0.5
    body_share: float = 0.25
    level_log_sd: float = 0.4
    level_time_s: float = 1.0
    fast_time_s: float = 0.15
    slow_time_s: float = 3.0
    slow_share: float = 0.35
    gross_share: float = 0.02
    gross_factor: float = 3.0
    gross_time_s: float = 0.2
    missing_share: float = 0.01
    missing_time_s: float = 0.2
    confidence_half_px: float = 12.0
    confidence_log_sd: float = 0.7

    def __post_init__(self) -> None:
        for name in ("common_sd_px", "disparity_sd_px", "row_sd_px", "level_log_sd", "confidence_log_sd"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        for name in ("body_share", "slow_share", "gross_share", "missing_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a share from 0 to below 1, got {getattr(self, name)}")
        for name in ("crop_px", "crop_per_person", "gross_factor", "confidence_half_px"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected more than 0, got {getattr(self, name)}")
        for name in ("level_time_s", "fast_time_s", "slow_time_s", "gross_time_s", "missing_time_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected more than 0 seconds, got {getattr(self, name)}")

    @property
    def gross_power(self) -> float:
        """Mean square of the factor that gross errors bring."""
        return 1 + self.gross_share * (self.gross_factor**2 - 1)

    @property
    def kurtosis(self) -> float:
        """Of every part of the error over a long time, 3 for a normal distribution.

        Fourth over squared second moment of the product of a normal, a log-normal level and the gross factor.
        """
        level = np.exp(4 * self.level_log_sd**2)
        gross = (1 + self.gross_share * (self.gross_factor**4 - 1)) / self.gross_power**2
        return float(3 * level * gross)


class _Drift:
    """Normal numbers of unit variance that forget themselves over `time_s`: a first-order autoregression."""

    def __init__(self, shape: tuple[int, ...], time_s: float, rng: np.random.Generator) -> None:
        self._time_s, self._rng = time_s, rng
        self.values = rng.standard_normal(shape)

    def advance(self, elapsed_s: float) -> None:
        kept = np.exp(-elapsed_s / self._time_s)
        self.values = kept * self.values + np.sqrt(1 - kept**2) * self._rng.standard_normal(self.values.shape)


class _Episodes:
    """Flags that are set `share` of the time, for `time_s` on average: a two-state Markov chain in continuous time."""

    def __init__(self, shape: tuple[int, ...], share: float, time_s: float, rng: np.random.Generator) -> None:
        self._share, self._rng = share, rng
        # Leaving at 1 / time_s and entering so that the share comes out; both add up to the rate of forgetting.
        self._forget_per_s = 1 / (time_s * (1 - share))
        self.flags = rng.random(shape) < share

    def advance(self, elapsed_s: float) -> None:
        kept = np.exp(-elapsed_s * self._forget_per_s)
        chance = self._share + (self.flags - self._share) * kept
        self.flags = self._rng.random(self.flags.shape) < chance


class _NoiseState:
    """The error of every joint in both views, moving on with time."""

    def __init__(self, noise: DetectorNoise, joints: int, rng: np.random.Generator) -> None:
        self._noise = noise
        # Every joint by itself and, in the last row, the whole body: common x, common y, disparity, row difference.
        parts = (joints + 1, 4)
        self._fast = _Drift(parts, noise.fast_time_s, rng)
        self._slow = _Drift(parts, noise.slow_time_s, rng)
        self._level = _Drift((), noise.level_time_s, rng)
        self._judgement = _Drift((2, joints), noise.fast_time_s, rng)
        self._gross = _Episodes((joints,), noise.gross_share, noise.gross_time_s, rng)
        self._missing = _Episodes((2, joints), noise.missing_share, noise.missing_time_s, rng)

    def advance(self, elapsed_s: float) -> None:
        for part in (self._fast, self._slow, self._level, self._judgement, self._gross, self._missing):
            part.advance(elapsed_s)

    def errors_px(self) -> np.ndarray:
        """(2, J, 2) pixels of the crop, left view first."""
        noise = self._noise
        drifts = np.sqrt(1 - noise.slow_share) * self._fast.values + np.sqrt(noise.slow_share) * self._slow.values
        drift = np.sqrt(1 - noise.body_share) * drifts[:-1] + np.sqrt(noise.body_share) * drifts[-1]
        # Mean square one, so that the level spreads the errors without raising them.
        level = np.exp(noise.level_log_sd * self._level.values - noise.level_log_sd**2)
        gross = np.where(self._gross.flags, noise.gross_factor, 1.0) / np.sqrt(noise.gross_power)
        sd_px = [noise.common_sd_px, noise.common_sd_px, noise.disparity_sd_px, noise.row_sd_px]
        parts_px = drift * sd_px * level * gross[:, None]
        common, between = parts_px[:, :2], parts_px[:, 2:]
        return np.stack([common + between / 2, common - between / 2])

    def confidence(self, errors_px: np.ndarray) -> np.ndarray:
        """(2, J): falls with the error the joint really has, as seen by a detector that misjudges it."""
        guess_px = np.linalg.norm(errors_px, axis=-1) * np.exp(self._noise.confidence_log_sd * self._judgement.values)
        return 1 / (1 + (guess_px / self._noise.confidence_half_px) ** 2)

    @property
    def missing(self) -> np.ndarray:
        """(2, J) flags."""
        return self._missing.flags


class SimulatedDetector:
    """Projects a person whose joints are known into both pictures and adds what a real detector gets wrong.

    truth_m: joints of BODY17 at a timestamp, (17, 3) metres in the frame of the left camera as calibrated; NaN where a
    joint does not exist. rectifier: whose pictures the detector pretends to look at. observed: the joints it gives;
    the others are never observed (BlazePose has no Thorax, Neck and HeadTop, and its Pelvis is derived).
    The same seed and timestamps, from the start or from `reset`, give the same detections; time going backwards
    starts the noise afresh.
    """

    name = "simulated"
    device = "cpu"
    skeleton = BODY17

    def __init__(
        self,
        truth_m: Callable[[float], np.ndarray],
        rectifier: Rectifier,
        noise: DetectorNoise | None = None,
        seed: int = 0,
        observed: Collection[str] = BODY17.joints,
    ) -> None:
        self._truth_m = truth_m
        self._rectifier = rectifier
        self._noise = noise or DetectorNoise()
        self._seed = seed
        self._observed = np.zeros(len(BODY17), dtype=bool)
        self._observed[[BODY17.index(joint) for joint in observed]] = True
        self.reset()

    def detect(self, left: np.ndarray, right: np.ndarray, timestamp_s: float) -> tuple[Pose2D | None, Pose2D | None]:
        """The person at that moment in both pictures; of these only the size matters. None where nobody is inside."""
        true_px = self._true_px(timestamp_s)
        state = self._state_at(timestamp_s)
        errors_px = state.errors_px()
        confidence = state.confidence(errors_px)
        found_px = true_px + errors_px * self._px_per_crop_px(true_px)
        last_px = np.array([[image.shape[1] - 1, image.shape[0] - 1] for image in (left, right)])
        inside = np.all((true_px >= 0) & (true_px <= last_px[:, None]), axis=-1)
        given = inside & self._observed & ~state.missing
        found_px[~given] = np.nan
        confidence[~given] = 0.0
        views = [Pose2D(found_px[view], confidence[view], BODY17) if inside[view].any() else None for view in (0, 1)]
        return views[0], views[1]

    def _true_px(self, timestamp_s: float) -> np.ndarray:
        """Where the joints are in the two pictures, (2, J, 2)."""
        truth_rectified_m = self._truth_m(timestamp_s) @ self._rectifier.rig.left_from_rectified
        return np.stack([self._rectifier.picture_px(view, truth_rectified_m) for view in (0, 1)])

    def _px_per_crop_px(self, true_px: np.ndarray) -> float:
        """Picture pixels per crop pixel; one scale for both views, or their common error would not be common."""
        seen = [points_px[np.isfinite(points_px).all(axis=1)] for points_px in true_px]
        sides_px = [np.ptp(points_px, axis=0).max() for points_px in seen if len(points_px)]
        if not sides_px:
            return 1.0
        return float(np.mean(sides_px)) * self._noise.crop_per_person / self._noise.crop_px

    def _state_at(self, timestamp_s: float) -> _NoiseState:
        if self._state is None or timestamp_s < self._last_s:
            self._state = _NoiseState(self._noise, len(BODY17), self._rng)
        else:
            self._state.advance(timestamp_s - self._last_s)
        self._last_s = timestamp_s
        return self._state

    def reset(self) -> None:
        """Begin again: what follows repeats what followed the start."""
        self._rng = np.random.default_rng(self._seed)
        self._state: _NoiseState | None = None
        self._last_s = 0.0

    def close(self) -> None:
        """Nothing to release."""
