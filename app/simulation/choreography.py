"""What the simulated person does: where they walk, where each foot stands, when they stop, turn and reach.

World frame: z up, floor at z = 0, origin on the floor below the middle of the virtual rig, x to the right and y away
from the cameras. Headings are counter-clockwise from x, seen from above. Feet and arms come right before left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PATH_CENTRE_M = np.array([0.0, 3.2])
PATH_SEMI_AXES_M = np.array([0.95, 0.75])
STOPS = 4
# Three laps shared by four walks: each stop is a quarter of the path further on, and the plan closes.
LAPS = 3

STEP_S = 0.56
TURN_STEP_S = 0.5
# What one step covers at the usual walking speed.
STEP_LENGTH_M = 0.47
STEP_TURN_RAD = 0.7
# Within the time of a step, its foot's heel comes up before the step begins (the other foot is just landing) and the
# foot is down before its end. Where it lands is where the body will be at MIDDLE_STEPS.
LIFT_STEPS, LAND_STEPS, MIDDLE_STEPS = -0.14, 0.94, 1.42
# How long the knee takes to give way and to straighten again after the foot has landed.
LOADING_S = 0.35
TOE_OUT_RAD = np.deg2rad(6.0)

REACH_RISE_S = 0.9
REACH_HOLD_S = 1.1
PAUSE_S = 0.25
SIDES = np.array([-1.0, 1.0])  # right, left: along the person's left


def smooth_step(share: np.ndarray) -> np.ndarray:
    """0 to 1 with zero speed at both ends; held outside 0..1."""
    share = np.clip(share, 0.0, 1.0)
    return share**2 * (3.0 - 2.0 * share)


def _smoother_step(share: np.ndarray) -> np.ndarray:
    """0 to 1 with zero speed and acceleration at both ends: how a hand moves from rest to rest."""
    share = np.clip(share, 0.0, 1.0)
    return share**3 * (10.0 - 15.0 * share + 6.0 * share**2)


def _cruise(share: np.ndarray, ramp: np.ndarray) -> np.ndarray:
    """0 to 1 at constant speed but for smooth ramps, each `ramp` of the whole, at both ends."""

    def risen(part: np.ndarray) -> np.ndarray:  # integral of smooth_step
        return part**3 - part**4 / 2

    share = np.clip(share, 0.0, 1.0)
    start = risen(np.minimum(share / ramp, 1.0))
    end = 0.5 - risen(np.minimum((1.0 - share) / ramp, 1.0))
    plateau = np.clip(share, ramp, 1.0 - ramp) - ramp
    return (ramp * (start + end) + plateau) / (1.0 - ramp)


def _wrapped_rad(angle: np.ndarray) -> np.ndarray:
    """The same direction within -pi..pi."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def heading_vectors(heading_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Forward and left unit vectors in the floor plane, (..., 2) each."""
    cosine, sine = np.cos(heading_rad), np.sin(heading_rad)
    return np.stack([cosine, sine], axis=-1), np.stack([-sine, cosine], axis=-1)


@dataclass(frozen=True, slots=True)
class ArmAngles:
    """How an arm is held, radians, any shape.

    flexion: from hanging down, forward and up; abduction: from there away from the body; elbow: 0 is straight.
    """

    flexion: np.ndarray
    abduction: np.ndarray
    elbow: np.ndarray


@dataclass(frozen=True, slots=True)
class Feet:
    """Both feet over T moments: ankles (T, 2, 3) m and headings (T, 2).

    lift_m: (T, 2) height of the ankles above where they are in stance; loading: (T, 2) in 0..1, how much the knee gives
    way under the weight that has just come on it.
    """

    ankles_m: np.ndarray
    heading_rad: np.ndarray
    lift_m: np.ndarray
    loading: np.ndarray


@dataclass(frozen=True, slots=True)
class _Reach:
    """A gesture at a stop: where the arms go, (2,) each, and what the trunk does with them.

    weight: (2,) how far each arm takes part; lean, side, twist: of the trunk, forward, to the left, counter-clockwise.
    """

    start_s: float
    weight: np.ndarray
    angles: ArmAngles
    lean_rad: float
    side_rad: float
    twist_rad: float

    def amount(self, time_s: np.ndarray) -> np.ndarray:
        """0 at rest, 1 when reached; the shape of time_s."""
        since_s = time_s - self.start_s
        rise = _smoother_step(since_s / REACH_RISE_S)
        return rise - _smoother_step((since_s - REACH_RISE_S - REACH_HOLD_S) / REACH_RISE_S)


# Flexion, abduction and elbow in degrees; then lean, side and twist of the trunk for a reach with the left arm.
_REACHES_DEG = {
    "up": ((168, 8, 12), (-4, 4, 0)),
    "forward": ((84, 3, 6), (11, 0, -14)),
    "sideways": ((8, 86, 8), (0, 7, 0)),
    "high sideways": ((15, 130, 20), (0, 5, 5)),
}


def _reach(kind: str, side: int, start_s: float) -> _Reach:
    """side: 0 right arm, 1 left arm, 2 both."""
    arm, trunk = _REACHES_DEG[kind]
    weight = np.array([side != 1, side != 0], dtype=np.float64)
    lean, lateral, twist = np.deg2rad(trunk)
    mirrored = weight @ SIDES
    return _Reach(
        start_s,
        weight,
        ArmAngles(*(np.full(2, np.deg2rad(v)) for v in arm)),
        lean,
        lateral * mirrored,
        twist * mirrored,
    )


class Choreography:
    """A plan of about three quarters of a minute that closes on itself; times outside it wrap around.

    hip_half_width_m and ankle_height_m: of the person, for where the feet stand. Same seed, same plan.
    """

    def __init__(self, hip_half_width_m: float, ankle_height_m: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._foot_offset_m = 0.8 * hip_half_width_m
        self._ankle_height_m = ankle_height_m
        self._direction = 1 if rng.random() < 0.5 else -1
        self._pace = rng.uniform(0.95, 1.05)
        self._starts_s: list[float] = []
        self._rows: list[tuple[float, float, float, float, float, float]] = []
        self._reaches: list[_Reach] = []
        self._clock_s = 0.0
        self._steps: list[tuple[int, float, float, float]] = []  # foot, start, end, time whose root it lands under
        self._plan(rng)
        self.period_s = self._clock_s
        self._segments = np.array(self._rows)
        self._segment_starts_s = np.array(self._starts_s)
        self._footprints = [self._footprints_of(foot) for foot in (0, 1)]

    def _plan(self, rng: np.random.Generator) -> None:
        kinds = list(rng.permutation(list(_REACHES_DEG)))
        sides = [0, 1, 2, int(rng.integers(2))]
        rng.shuffle(sides)
        angle = rng.uniform(0.0, 2 * np.pi)
        walk_rad = self._direction * 2 * np.pi * LAPS / STOPS
        for kind, side in zip(kinds, sides, strict=True):
            self._walk(angle, angle + walk_rad)
            angle += walk_rad
            position_m = PATH_CENTRE_M + PATH_SEMI_AXES_M * [np.cos(angle), np.sin(angle)]
            to_cameras_rad = np.arctan2(-position_m[1], -position_m[0]) + rng.uniform(-0.5, 0.5)
            turn_rad = float(_wrapped_rad(to_cameras_rad - self._path_heading_rad(np.asarray(angle))))
            self._turn(angle, 0.0, turn_rad)
            self._stand(angle, turn_rad, PAUSE_S)
            self._reaches.append(_reach(kind, side, self._clock_s))
            self._stand(angle, turn_rad, 2 * REACH_RISE_S + REACH_HOLD_S + PAUSE_S)
            self._turn(angle, turn_rad, 0.0)

    def _segment(self, duration_s: float, angles: tuple[float, float], turns: tuple[float, float], ramp: float) -> None:
        self._starts_s.append(self._clock_s)
        self._rows.append((duration_s, *angles, *turns, ramp))
        self._clock_s += duration_s

    def _walk(self, start: float, end: float) -> None:
        length_m = abs(end - start) * PATH_SEMI_AXES_M.mean()
        step_s = STEP_S / self._pace
        steps = round(length_m / STEP_LENGTH_M) + 1
        self._add_steps(steps, step_s, first_foot=0)
        self._segment(steps * step_s, (start, end), (0.0, 0.0), ramp=2.0 / steps)

    def _turn(self, angle: float, start: float, end: float) -> None:
        steps = max(2, int(np.ceil(abs(end - start) / STEP_TURN_RAD)) + 1)
        # The foot on the inside of the turn goes first, or the legs would cross.
        self._add_steps(steps, TURN_STEP_S, first_foot=1 if end > start else 0)
        self._segment(steps * TURN_STEP_S, (angle, angle), (start, end), ramp=0.5)

    def _stand(self, angle: float, turn: float, duration_s: float) -> None:
        self._segment(duration_s, (angle, angle), (turn, turn), ramp=0.5)

    def _add_steps(self, steps: int, step_s: float, first_foot: int) -> None:
        end_s = self._clock_s + steps * step_s
        for number in range(steps):
            begin_s = self._clock_s + number * step_s
            lift_s = begin_s + LIFT_STEPS * step_s if number else begin_s
            middle_s = min(begin_s + MIDDLE_STEPS * step_s, end_s)
            self._steps.append(((first_foot + number) % 2, lift_s, begin_s + LAND_STEPS * step_s, middle_s))

    def _path_heading_rad(self, angle: np.ndarray) -> np.ndarray:
        """Direction of walking at an angle of the ellipse, without jumps."""
        a, b = PATH_SEMI_AXES_M
        upright = angle + np.pi / 2
        tangent = np.arctan2(b * np.cos(angle), -a * np.sin(angle))
        return upright + _wrapped_rad(tangent - upright) + (0.0 if self._direction > 0 else np.pi)

    def root(self, time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the body is on the floor and where it faces. time_s: (T,) -> (T, 2) m and (T,) rad."""
        # The end of the plan belongs to its last segment, for footprints; it is the same place as its beginning.
        number = np.searchsorted(self._segment_starts_s, time_s, side="right") - 1
        duration, angle0, angle1, turn0, turn1, ramp = self._segments[number].T
        share = _cruise((time_s - self._segment_starts_s[number]) / duration, ramp)
        angle = angle0 + (angle1 - angle0) * share
        position_m = PATH_CENTRE_M + PATH_SEMI_AXES_M * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        return position_m, self._path_heading_rad(angle) + turn0 + (turn1 - turn0) * share

    def _footprints_of(self, foot: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Starts and ends (S,) of one foot's swings; places (S + 1, 2) and headings (S + 1,) before, between, after."""
        mine = np.array([step[1:] for step in self._steps if step[0] == foot])
        position_m, heading_rad = self.root(mine[:, 2])
        _, left = heading_vectors(heading_rad)
        places_m = position_m + SIDES[foot] * self._foot_offset_m * left
        headings_rad = heading_rad + SIDES[foot] * TOE_OUT_RAD
        # The plan closes: before its first step a foot stands where its last step left it, whole turns apart.
        before_rad = headings_rad[-1] + 2 * np.pi * np.round((headings_rad[0] - headings_rad[-1]) / (2 * np.pi))
        return (
            mine[:, 0],
            mine[:, 1],
            np.concatenate([places_m[-1:], places_m]),
            np.concatenate([[before_rad], headings_rad]),
        )

    def feet(self, time_s: np.ndarray) -> Feet:
        """Both feet at times within the plan, (T,)."""
        parts = [self._foot(time_s, *footprints) for footprints in self._footprints]
        return Feet(*(np.stack(part, axis=1) for part in zip(*parts, strict=True)))

    def _foot(
        self, time_s: np.ndarray, starts_s: np.ndarray, ends_s: np.ndarray, places_m: np.ndarray, headings: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        number = np.searchsorted(starts_s, time_s, side="right")  # swings begun
        last = np.maximum(number - 1, 0)
        share = np.where(number > 0, (time_s - starts_s[last]) / (ends_s[last] - starts_s[last]), 0.0)
        share = np.clip(share, 0.0, 1.0)
        moved = smooth_step(share)
        before, after = places_m[last], places_m[last + 1]
        place = before + moved[:, None] * (after - before)
        # The ankle rises early, while the foot rolls over the toes, and comes down slowly; long steps lift it more.
        length_m = np.minimum(np.linalg.norm(after - before, axis=-1), 1.0)
        height_m = 0.06 + 0.09 * length_m
        lift_m = height_m * np.sin(np.pi * share**0.75) ** 2
        ankle = np.concatenate([place, (self._ankle_height_m + lift_m)[:, None]], axis=1)
        heading = headings[last] + moved * (headings[last + 1] - headings[last])
        landed_s = np.where(number > 0, ends_s[last], ends_s[-1] - self.period_s)
        since_landing = np.clip((time_s - landed_s) / LOADING_S, 0.0, 1.0)
        return ankle, heading, lift_m, length_m * np.sin(np.pi * since_landing) ** 2

    def blend_reaches(self, time_s: np.ndarray, swing: ArmAngles) -> tuple[ArmAngles, np.ndarray]:
        """Arm angles with the gestures blended in, and the trunk's part in them.

        swing: what the arms would do without, (T, 2) each. Returns angles (T, 2) and trunk (T, 3): lean, side, twist.
        """
        flexion, abduction, elbow = swing.flexion, swing.abduction, swing.elbow
        trunk = np.zeros((len(time_s), 3))
        for reach in self._reaches:
            amount = reach.amount(time_s)
            share = amount[:, None] * reach.weight
            flexion = flexion + share * (reach.angles.flexion - flexion)
            abduction = abduction + share * (reach.angles.abduction - abduction)
            elbow = elbow + share * (reach.angles.elbow - elbow)
            trunk = trunk + amount[:, None] * [reach.lean_rad, reach.side_rad, reach.twist_rad]
        return ArmAngles(flexion, abduction, elbow), trunk
