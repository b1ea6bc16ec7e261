"""The model-free refiner: the person's own bone lengths, learnt from the stream, steady the triangulated pose.

Each frame minimises

    sum_j  |(p_j - t_j) / sigma_j|^2  +  sum_b  ((|p_a - p_b| - L_b) / s_b)^2

over the joints p, where t is the triangulated pose, sigma_j its standard deviation per axis (depth is trusted less),
L_b the running median length of segment b and s_b how rigid that segment is. The first term is robust (Student's t:
a joint that has to move far was a gross error and is let go). Gauss-Newton on this has only as many unknowns as there
are segments, because the first term is diagonal.
"""

from __future__ import annotations

import numpy as np

from .bone_lengths import LearntLengths, segments_of
from .skeleton import BODY17, Skeleton

# Across the line of sight a good detector errs by about this much on a person (1.5 % of a body height of 1.75 m would
# be 26 mm); only its ratio to the other two matters for the fit.
SIGMA_ACROSS_M = 0.015
# Views with little parallax make nearly the same mistake (published sets: disparity noise an eighth of the pixel noise
# at B/Z = 0.08, 1.3 times it at B/Z = 0.9), so depth is about twice as uncertain as the rest at any baseline, unless
# the rows of the two views say that they err independently.
DEPTH_RATIO = 2.0
# The pelvis is no landmark one can see: detectors place it far worse than the hips.
PELVIS_VARIANCE = 5.0
# Of a joint whose place is only carried over from the last frame.
SIGMA_GUESSED_M = 0.15
MIN_CONFIDENCE = 0.1
# Degrees of freedom of Student's t for the noise of a joint.
NOISE_FREEDOM = 4.0
GAUSS_NEWTON_STEPS = 6

# Joints that many detectors do not give, as `base + a * trunk + b * forward + c * head`: trunk from mid-hip to
# mid-shoulder, forward across it (length of the trunk), head from mid-shoulder to nose. Least squares over the free
# motion data (H36M-like joints, every 20th frame); last the remaining standard deviation per axis in metres.
INFERRED_JOINTS = {
    "Nose": ("shoulders", 0.233, 0.158, 0.0, 0.030),
    "Thorax": ("hips", 0.545, -0.057, 0.0, 0.016),
    "Neck": ("shoulders", 0.005, -0.020, 0.288, 0.013),
    "HeadTop": ("nose", 0.148, -0.105, 0.189, 0.023),
}


def observation_sigma_m(
    points_m: np.ndarray, confidence: np.ndarray, focal_px: float, baseline_m: float, row_noise_px: float | np.ndarray
) -> np.ndarray:
    """Standard deviation per axis of triangulated joints in the rectified frame.

    points_m: (..., J, 3); confidence: (..., J); row_noise_px: standard deviation of the row difference between the
    views, of all joints or of each, (..., J): the part of the noise that is known to be independent; Z^2 / (f B) turns
    it into depth. Returns (..., J, 3).
    """
    across = SIGMA_ACROSS_M / np.clip(confidence, MIN_CONFIDENCE, 1.0)
    depth = np.maximum(DEPTH_RATIO * across, points_m[..., 2] ** 2 / (focal_px * baseline_m) * row_noise_px)
    return np.stack([across, across, depth], axis=-1)


def _student_weight(moved: np.ndarray) -> np.ndarray:
    """Factor on the variance of joints that moved this far (squared, in standard deviations): Student's t in 3D."""
    return np.maximum((NOISE_FREEDOM + moved) / (NOISE_FREEDOM + 3), 1.0)


class SkeletonFit:
    """Pulls poses of one person toward the bone lengths seen so far; causal, one pose at a time."""

    def __init__(self, skeleton: Skeleton = BODY17, held_m: np.ndarray | None = None) -> None:
        """held_m: (G,) lengths by group of `segments_of` that are known beforehand, NaN for those to be learnt."""
        self._held_m = held_m
        index = skeleton.index
        self._skeleton = skeleton
        self._hips, self._pelvis = [index("RightHip"), index("LeftHip")], index("Pelvis")
        self._shoulders, self._nose = [index("RightShoulder"), index("LeftShoulder")], index("Nose")
        self._segments = segments_of(skeleton)
        self.reset()

    def reset(self) -> None:
        """Forget the person, except for the lengths known beforehand."""
        self.lengths = LearntLengths(self._skeleton, self._held_m)
        self._last_m: np.ndarray | None = None

    def refine(
        self, points_m: np.ndarray, confidence: np.ndarray, sigma_m: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Refine one pose and learn from it.

        points_m: (J, 3) triangulated, rectified frame, NaN where not observed; confidence: (J,); sigma_m: (J, 3) as
        `observation_sigma_m` gives it. Returns refined points (J, 3) and their sigma (J, 3). Joints without an
        observation are inferred where the rest of the body or the last frame says where they are, else stay NaN.
        """
        observed = np.isfinite(points_m).all(axis=1) & (confidence > 0)
        self.lengths.observe(points_m, np.where(observed, confidence, 0.0))
        start_m, start_sigma_m = np.where(observed[:, None], points_m, np.nan), np.array(sigma_m)
        self._infer_missing(start_m, start_sigma_m, observed)
        if observed[self._hips].all():
            start_m[self._pelvis] = points_m[self._hips].mean(axis=0)
        start_sigma_m[self._pelvis] *= np.sqrt(PELVIS_VARIANCE)
        refined_m, refined_sigma_m = self._fit(start_m, start_sigma_m)
        self._last_m = refined_m
        return refined_m, refined_sigma_m

    def settle(self, points_m: np.ndarray, sigma_m: np.ndarray) -> np.ndarray:
        """An estimate of the same moment by other means, pulled toward the lengths learnt so far; teaches nothing.

        points_m, sigma_m: (J, 3), NaN where there is none, which stays. Returns points (J, 3).
        """
        return self._fit(points_m, sigma_m)[0]

    def _infer_missing(self, points_m: np.ndarray, sigma_m: np.ndarray, observed: np.ndarray) -> None:
        """Place joints that were not observed, in place: from the trunk and head, else as last seen on their parent."""
        hips_m, shoulders_m = points_m[self._hips].mean(axis=0), points_m[self._shoulders].mean(axis=0)
        if not observed[self._pelvis]:
            points_m[self._pelvis] = hips_m
        trunk_m = shoulders_m - hips_m
        left_m = (points_m[self._shoulders[1]] - points_m[self._shoulders[0]]) + (
            points_m[self._hips[1]] - points_m[self._hips[0]]
        )
        forward_m = np.cross(left_m, trunk_m)
        forward_m *= np.linalg.norm(trunk_m) / max(float(np.linalg.norm(forward_m)), 1e-9)
        for joint, (base, trunk, forward, head, joint_sigma_m) in INFERRED_JOINTS.items():
            position = self._skeleton.index(joint)
            if not observed[position]:
                base_m = {"hips": hips_m, "shoulders": shoulders_m, "nose": points_m[self._nose]}[base]
                # The nose comes first in the table, so it is known or inferred by now; where it does not count its
                # absence must not either.
                head_part_m = head * (points_m[self._nose] - shoulders_m) if head else 0.0
                points_m[position] = base_m + trunk * trunk_m + forward * forward_m + head_part_m
                sigma_m[position] = np.hypot(joint_sigma_m, sigma_m[self._shoulders].max(axis=0))
        if self._last_m is not None:
            self._carry_over(points_m, self._last_m)
        sigma_m[~observed] = np.nan_to_num(sigma_m[~observed], nan=SIGMA_GUESSED_M)

    def _carry_over(self, points_m: np.ndarray, last_m: np.ndarray) -> None:
        """Place what is still missing: as it stood to its parent in the last frame, else moved with the rest."""
        for child, parent in self._skeleton.bone_indices.tolist():
            if np.isnan(points_m[child]).any():
                points_m[child] = points_m[parent] + last_m[child] - last_m[parent]
        shift_m = points_m - last_m
        known = ~np.isnan(shift_m[:, 0])
        missing = np.isnan(points_m[:, 0])
        if known.any() and missing.any():
            points_m[missing] = last_m[missing] + np.median(shift_m[known], axis=0)

    def _fit(self, points_m: np.ndarray, sigma_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lengths_m = self.lengths.median_m[self._segments.group]
        free = ~np.isnan(points_m.sum(axis=1))
        usable = np.isfinite(lengths_m) & free[self._segments.ends].all(axis=1)
        if not usable.any():
            return points_m, sigma_m
        ends, lengths_m = self._segments.ends[usable], lengths_m[usable]
        segment_variance = np.diag(self.lengths.sigma_m[usable] ** 2)
        segments = np.arange(len(ends))
        prior_variance = np.where(free[:, None], sigma_m**2, 0.0)
        target_m = np.where(free[:, None], points_m, 0.0)
        variance = prior_variance * self._suspicion(target_m, ends, lengths_m)[:, None]
        refined_m = target_m
        jacobian = np.zeros((len(ends), *points_m.shape))  # of the segment lengths, (S, J, 3)
        flat = jacobian.reshape(len(ends), -1)
        spread, system, used_variance = flat, segment_variance, variance
        for _ in range(GAUSS_NEWTON_STEPS):
            along_m = refined_m[ends[:, 0]] - refined_m[ends[:, 1]]
            direction = along_m / np.maximum(np.linalg.norm(along_m, axis=1, keepdims=True), 1e-9)
            jacobian[segments, ends[:, 0]] = direction
            jacobian[segments, ends[:, 1]] = -direction
            used_variance = variance
            spread = flat * variance.reshape(-1)
            # Linearised at the current pose the length of segment s is flat[s] . p, so the minimum is the target plus
            # spread^T (J C J^T + S)^-1 (L - J t): the matrix inversion lemma, with one unknown per segment.
            system = spread @ flat.T + segment_variance
            pull = np.linalg.solve(system, lengths_m - flat @ target_m.reshape(-1))
            refined_m = target_m + (spread.T @ pull).reshape(points_m.shape)
            moved = ((refined_m - target_m) ** 2 / np.maximum(prior_variance, 1e-12)).sum(axis=1, keepdims=True)
            variance = prior_variance * _student_weight(moved)
        gained = np.einsum("sc,sc->c", spread, np.linalg.solve(system, spread))
        refined_sigma_m = np.sqrt(np.maximum(used_variance.reshape(-1) - gained, 1e-8)).reshape(points_m.shape)
        missing = ~free[:, None]
        return np.where(missing, np.nan, refined_m), np.where(missing, np.nan, refined_sigma_m)

    def _suspicion(self, points_m: np.ndarray, ends: np.ndarray, lengths_m: np.ndarray) -> np.ndarray:
        """Factor on the variance of each joint to begin with, (J,): a gross error would else drag its neighbours.

        A joint is suspect by the least misfit of its segments: one good segment clears it. A joint at the end of a
        chain has one segment only and is cleared when the joint at the other end is suspect for more than that segment.
        """
        misfit_m = np.abs(np.linalg.norm(points_m[ends[:, 0]] - points_m[ends[:, 1]], axis=1) - lengths_m)
        suspect_m = np.full(len(points_m), np.inf)
        segments = np.bincount(ends.ravel(), minlength=len(points_m))
        for side in (0, 1):
            np.minimum.at(suspect_m, ends[:, side], misfit_m)
        suspect_m[segments == 0] = 0
        for a, b in ((0, 1), (1, 0)):
            end, other = ends[:, a], ends[:, b]
            cleared = (segments[end] == 1) & (segments[other] > 1) & (suspect_m[other] > 3 * SIGMA_ACROSS_M)
            suspect_m[end[cleared]] = 0
        return _student_weight((suspect_m / SIGMA_ACROSS_M) ** 2)
