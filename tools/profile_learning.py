"""What recordings without ground truth tell about a detector: rows, tails, bones, agreement, definitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.optimize import root_scalar
from scipy.special import stdtrit

from ..app.pipeline import PersonResult
from ..calibration.errors import UserError
from ..calibration.people import INDEPENDENT_S, SIGMA_PER_MEDIAN
from ..calibration.rig import StereoRig
from ..models.bone_lengths import rigid_lengths_m
from ..models.definitions import CONVENTIONS, beyond_convention, usual_places
from ..models.detector_profile import MAX_OFFSET, MAX_ROW_NOISE, DetectorProfile
from ..models.epipolar import USUAL_FREEDOM, person_height_px
from ..models.skeleton import BODY17

# Joints less sure than this in either view tell about hiding, not about the detector.
SURE = 0.5
MIN_FRAMES = 60
# Rows are compared with the height of the person; of somebody who is hardly there nothing can be said.
MIN_HEIGHT_PX = 40.0
# Rows that differ by less than this share of the person were made equal afterwards and tell nothing.
EQUAL_ROWS = 2e-4
# A joint that was seen in so many independent moments speaks as loudly for itself as all joints together do.
MOMENTS_OF_ITS_OWN = 10
FREEDOM_RANGE = (1.5, 50.0)


class ProfileLearner:
    """Collects persons frame by frame, of one detector on one rig; keeps about a kilobyte of each."""

    def __init__(self) -> None:
        self._rows: list[np.ndarray] = []
        self._raw_m: list[np.ndarray] = []
        self._sure_m: list[np.ndarray] = []
        self._refined_m: list[np.ndarray] = []
        self._recording: list[int] = []
        self._moment: list[int] = []

    def __len__(self) -> int:
        return len(self._rows)

    def observe(self, person: PersonResult, recording: int) -> None:
        """Add one frame; recording: number of the recording it is from, in which one person is seen."""
        sure = np.minimum(person.left.confidence, person.right.confidence) > SURE
        # The height that `lift` compares with when the profile is used.
        height_px = person_height_px(person.left.points_px[np.isfinite(person.epipolar_px)])
        sure &= height_px >= MIN_HEIGHT_PX
        self._rows.append(np.where(sure, person.epipolar_px, np.nan) / max(height_px, MIN_HEIGHT_PX))
        self._sure_m.append(np.where(sure[:, None], person.raw.points_m, np.nan))
        self._raw_m.append(person.raw.points_m)
        self._refined_m.append(person.pose.points_m)
        self._recording.append(recording)
        self._moment.append(int(person.raw.timestamp_s / INDEPENDENT_S))

    def profile(self, detector: str, rig: StereoRig, learnt_from: Mapping[str, Any]) -> DetectorProfile:
        """What was learnt. Raises UserError when too little was seen."""
        if len(self) < MIN_FRAMES:
            raise UserError(
                f"a person was seen in both views in {len(self)} frames; at least {MIN_FRAMES} are needed to learn "
                "anything about a detector: half a minute of somebody who moves about is good"
            )
        raw_m, refined_m = np.stack(self._raw_m), np.stack(self._refined_m)
        recording = np.array(self._recording)
        _, moments = np.unique(np.stack([recording, self._moment]), axis=1, return_inverse=True)
        row_noise, freedom = row_statistics(_about_medians(np.stack(self._rows), recording), moments)
        sure_m = np.stack(self._sure_m)
        places = usual_places(sure_m)
        return DetectorProfile(
            detector,
            row_noise,
            freedom,
            _definition_offset(places, sure_m, moments),
            rig.baseline_m,
            float(np.rad2deg(rig.axes_angle_rad)),
            {**learnt_from, "frames": len(self), "independent_moments": int(moments.max()) + 1},
            {
                "triangulated_from_refined_mm": _by_joint(_agreement_m(raw_m, refined_m) * 1e3),
                "definition": {
                    name: np.round(places[BODY17.index(name)], 3).tolist()
                    for name in CONVENTIONS
                    if np.isfinite(places[BODY17.index(name)]).all()
                },
                "bones": _bones(raw_m, refined_m, recording),
            },
        )


def _definition_offset(places: np.ndarray, sure_m: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """What is to be put back, (17, 3) trunk lengths: nothing that few moments show or that is no definition at all.

    places: (17, 3) of `usual_places`; sure_m: (N, 17, 3) joints that both views are sure of; moments: (N,).
    """
    offset = beyond_convention(places)
    for joint in np.flatnonzero(offset.any(axis=1)):
        shown = len(np.unique(moments[np.isfinite(sure_m[:, joint, 0])]))
        if shown < MOMENTS_OF_ITS_OWN or np.abs(offset[joint]).max() > MAX_OFFSET:
            offset[joint] = 0.0
    return offset


def row_statistics(rows: np.ndarray, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Noise and tails of each joint's row differences. (17,) each.

    rows: (N, 17) in heights of the person, about 0, NaN where not sure; moments: (N,) frames of the same moment err
    alike. What few moments tell is drawn toward what all joints together do. Both are NaN where a joint was never sure,
    and altogether when the rows were made equal.
    """
    nothing = np.full(rows.shape[1], np.nan)
    if not np.isfinite(rows).any():
        return nothing, nothing
    deviation = np.abs(rows)
    overall = SIGMA_PER_MEDIAN * float(np.nanmedian(deviation))
    if overall < EQUAL_ROWS:
        return nothing, nothing
    known = np.isfinite(deviation)
    overall_freedom = freedom_of_tails(deviation[known])
    noise, freedom = nothing.copy(), nothing.copy()
    for joint in np.flatnonzero(known.any(axis=0)):
        own = deviation[known[:, joint], joint]
        seen = len(np.unique(moments[known[:, joint]]))
        share = seen / (seen + MOMENTS_OF_ITS_OWN)
        own_noise = max(SIGMA_PER_MEDIAN * float(np.median(own)), EQUAL_ROWS)
        noise[joint] = np.exp(share * np.log(own_noise) + (1 - share) * np.log(overall))
        if noise[joint] > MAX_ROW_NOISE:  # the views show different things: that is no noise
            noise[joint] = np.nan
            continue
        freedom[joint] = 1 / (share / freedom_of_tails(own) + (1 - share) / overall_freedom)
    return noise, freedom


def freedom_of_tails(deviations: np.ndarray) -> float:
    """Degrees of freedom of Student's t whose 95th percentile is as many times its median as that of `deviations` is.

    deviations: (N,) absolute values; within FREEDOM_RANGE, the usual ones for fewer than 20.
    """
    if len(deviations) < 20:
        return USUAL_FREEDOM
    middle, far = np.percentile(deviations, [50, 95])
    wanted = far / max(middle, 1e-12)

    def excess(freedom: float) -> float:
        return float(stdtrit(freedom, 0.975) / stdtrit(freedom, 0.75)) - wanted

    low, high = FREEDOM_RANGE
    if excess(low) <= 0:
        return low
    return high if excess(high) >= 0 else float(root_scalar(excess, bracket=FREEDOM_RANGE).root)


def _agreement_m(raw_m: np.ndarray, refined_m: np.ndarray) -> np.ndarray:
    """Median distance of triangulated from refined joints, (17,); NaN where never both."""
    away_m = np.linalg.norm(raw_m - refined_m, axis=-1)
    known = np.isfinite(away_m).any(axis=0)
    medians_m = np.full(len(BODY17), np.nan)
    medians_m[known] = np.nanmedian(away_m[:, known], axis=0)
    return medians_m


def _by_joint(values: np.ndarray) -> dict[str, float]:
    return {
        joint: round(value, 1) for joint, value in zip(BODY17.joints, values.tolist(), strict=True) if value == value
    }


def _about_medians(rows: np.ndarray, recording: np.ndarray) -> np.ndarray:
    """Row differences without what is common to a whole recording: the calibration. (N, 17); recording: (N,)."""
    rows = rows.copy()
    for number in np.unique(recording):
        chosen = recording == number
        if np.isfinite(rows[chosen]).any():
            rows[chosen] -= np.nanmedian(rows[chosen])
    return rows


def _bones(raw_m: np.ndarray, refined_m: np.ndarray, recording: np.ndarray) -> dict[str, dict[str, float]]:
    """How much rigid bones vary while one person moves, as triangulated and as refined; those seen often enough."""
    found = {}
    spreads = [_spread_percent(rigid_lengths_m(points_m, BODY17), recording) for points_m in (raw_m, refined_m)]
    for number, (outer, inner) in enumerate(BODY17.rigid_bones):
        triangulated, refined = (float(percent[number]) for percent in spreads)
        if np.isfinite(triangulated):
            found[f"{outer}_{inner}"] = {
                "spread_percent": round(triangulated, 2),
                "refined_spread_percent": round(refined, 2),
            }
    return found


def _spread_percent(lengths_m: np.ndarray, recording: np.ndarray) -> np.ndarray:
    """Robust spread of each bone about its median in the same recording, (N, R) -> (R,); NaN where hardly seen."""
    relative = np.full(lengths_m.shape, np.nan)
    for number in np.unique(recording):
        chosen = recording == number
        often = np.isfinite(lengths_m[chosen]).sum(axis=0) > 0
        medians_m = np.nanmedian(lengths_m[chosen][:, often], axis=0)
        relative[np.ix_(chosen, often)] = np.abs(lengths_m[chosen][:, often] / medians_m - 1)
    often = np.isfinite(relative).sum(axis=0) >= MIN_FRAMES
    spread = np.full(lengths_m.shape[1], np.nan)
    spread[often] = 100 * SIGMA_PER_MEDIAN * np.nanmedian(relative[:, often], axis=0)
    return spread
