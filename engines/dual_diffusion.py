"""The learned denoiser at run time: an exported graph, the bone lengths of the stream, and when not to believe it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from ..calibration.errors import UserError
from ..calibration.rectify import RectifiedRig
from ..calibration.triangulate import project
from ..models.bone_lengths import LearntLengths, segments_of
from ..models.pose import Pose2D, Pose3D
from ..models.skeleton import BODY17
from .denoiser import SkeletonDenoiser
from .engine import Session, batch_of, require_ports
from .model_file import ModelFileError, require_kind, require_skeleton

log = logging.getLogger(__name__)

# Where the network was trained: baseline over distance, and the distance of the person in metres. Outside it answers
# as confidently as inside, so it is not asked.
PARALLAX_LIMITS = (0.015, 1.8)
DISTANCE_LIMITS_M = (0.6, 12.0)
# Joints that both views agree on are corrected by centimetres; a body that moves by more is a mistake of the network.
FARTHEST_CORRECTION_M = 0.25
# A guessed joint whose own standard deviation is larger than this is nowhere in particular.
VAGUE_M = 0.20
# Several starts differ from the detections by this part of the standard deviation of triangulated joints.
START_SPREAD = 0.5
MAX_HYPOTHESES = 32

_PORTS = {
    "left_px": (len(BODY17), 2), "right_px": (len(BODY17), 2), "confidence": (len(BODY17),), "rig": (5,),
    "lengths_m": (segments_of(BODY17).groups,),
}  # fmt: skip


class DualDiffusionDenoiser:
    """`--denoiser dual-diffusion`: the network on top of the bone lengths that the stream has taught.

    Where the network was not made for what it would be given, or says what cannot be, the skeleton refiner answers.
    """

    name = "dual-diffusion"

    def __init__(self, session: Session, path: Path, refiner: SkeletonDenoiser, hypotheses: int = 1) -> None:
        """path: of the session's file, for messages; refiner: learns the bone lengths and answers where the network
        cannot; hypotheses: starts whose mean and spread are taken.

        Raises ModelFileError unless the file is such a denoiser.
        """
        card = require_kind(path, session.card, "denoiser")
        require_skeleton(path, card, BODY17)
        require_ports(path, session.inputs, _PORTS)
        if batch_of(session) not in (None, hypotheses):
            raise ModelFileError(
                f"{path}: takes {batch_of(session)} poses at once, {hypotheses} hypotheses were asked for; "
                "use a file exported for any batch"
            )
        if not 1 <= hypotheses <= MAX_HYPOTHESES:
            raise UserError(f"hypotheses: expected 1 to {MAX_HYPOTHESES}, found {hypotheses}")
        self.steps, self.device = card.steps, session.device
        self._session, self._hypotheses = session, hypotheses
        self._refiner = refiner
        self._offsets = _symmetric_offsets(hypotheses)
        self._complaints: set[str] = set()

    def reset(self) -> None:
        """Forget the person."""
        self._refiner.reset()

    @property
    def lengths(self) -> LearntLengths:
        """Those of the person it follows now."""
        return self._refiner.lengths

    def denoise(self, rig: RectifiedRig, left: Pose2D, right: Pose2D, raw: Pose3D) -> Pose3D:
        """The pose the network makes of both views; the skeleton refiner's where the network cannot be believed."""
        fitted = self._refiner.denoise(rig, left, right, raw)
        observed = np.isfinite(raw.points_m).all(axis=1) & (raw.confidence > 0)
        problem = _unfit(rig, raw.points_m[observed])
        if problem is None:
            points_m, sigma_m = self._network(rig, left, right, raw, observed)
            problem = _unbelievable(points_m, sigma_m, fitted.points_m, observed)
            if problem is None:
                vague = ~observed & (sigma_m.max(axis=1) > VAGUE_M)
                points_m[vague], sigma_m[vague] = np.nan, np.nan
                # The network leaves centimetres of the lengths; from so near the fit takes them at little cost.
                if self.lengths.settled_m.any():
                    points_m = self._refiner.settle(points_m, sigma_m)
                return Pose3D(points_m, raw.confidence, sigma_m, raw.skeleton, raw.timestamp_s)
        if problem not in self._complaints:
            self._complaints.add(problem)
            log.warning("%s; such poses are refined by bone lengths alone", problem)
        return fitted

    def _network(
        self, rig: RectifiedRig, left: Pose2D, right: Pose2D, raw: Pose3D, observed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        views_px = np.where(observed[:, None], np.stack([left.points_px, right.points_px]), 0.0)[None]  # (1, 2, J, 2)
        if self._hypotheses > 1:
            shifted_m = raw.points_m + START_SPREAD * raw.sigma_m * self._offsets
            moved_px = np.swapaxes(project(rig, shifted_m) - project(rig, raw.points_m)[:, None], 0, 1)
            views_px = views_px + np.where(observed[:, None], moved_px, 0.0)
        (left_x, row), (right_x, _) = rig.centres_px
        starts = len(views_px)
        answers = self._session.run({
            "left_px": views_px[:, 0],
            "right_px": views_px[:, 1],
            "confidence": np.tile(np.where(observed, raw.confidence, 0.0), (starts, 1)),
            "rig": np.tile([rig.focal_px, rig.baseline_m, left_x, right_x, row], (starts, 1)),
            "lengths_m": np.tile(self.lengths.settled_m, (starts, 1)),
        })  # fmt: skip
        points_m, sigma_m = answers["points_m"].astype(np.float64), answers["sigma_m"].astype(np.float64)
        return points_m.mean(axis=0), np.sqrt((sigma_m**2).mean(axis=0) + points_m.var(axis=0))


def _symmetric_offsets(hypotheses: int) -> np.ndarray:
    """(hypotheses, J, 3) standard normal, the same at every call.

    Each has its opposite, so that they cancel in the mean, and an odd one is zero: one hypothesis is the detections.
    """
    half = np.random.default_rng(0).standard_normal((hypotheses // 2, len(BODY17), 3))
    return np.concatenate([half, -half, np.zeros((hypotheses % 2, len(BODY17), 3))])


def _unfit(rig: RectifiedRig, points_m: np.ndarray) -> str | None:
    """Why the network is not to be asked, or None. points_m: (N, 3) observed joints."""
    if not len(points_m):
        return "no joint was observed in both views"
    distance_m = float(np.median(points_m[:, 2]))
    if not DISTANCE_LIMITS_M[0] <= distance_m <= DISTANCE_LIMITS_M[1]:
        return "a person is closer or farther than the denoiser knows ({:g} to {:g} m)".format(*DISTANCE_LIMITS_M)
    if not PARALLAX_LIMITS[0] <= rig.baseline_m / distance_m <= PARALLAX_LIMITS[1]:
        return (
            "the baseline of the rig is shorter or longer than the denoiser knows "
            "({:g} to {:g} of the distance)".format(*PARALLAX_LIMITS)
        )
    return None


def _unbelievable(points_m: np.ndarray, sigma_m: np.ndarray, fitted_m: np.ndarray, observed: np.ndarray) -> str | None:
    """Why the answer of the network cannot be right, or None. points_m, sigma_m, fitted_m: (J, 3); observed: (J,)."""
    if not (np.isfinite(points_m).all() and np.isfinite(sigma_m).all()):
        return "the denoiser gave no number"
    moved_m = np.linalg.norm(points_m - fitted_m, axis=1)[observed]
    if np.median(moved_m) > FARTHEST_CORRECTION_M:
        return f"the denoiser moved a body by more than {FARTHEST_CORRECTION_M:g} m"
    return None
