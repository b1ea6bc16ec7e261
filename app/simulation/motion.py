"""The simulated person: joints of body17 in metres at any moment, from a plan and forward kinematics.

No recording is used. The feet stand where the plan puts them, the pelvis goes as high as the legs allow, the legs reach
from one to the other (two-bone inverse kinematics), and trunk, head and arms hang on the pelvis as rigid bones.
World frame: see `choreography`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from ...models.skeleton import BODY17
from .choreography import SIDES, ArmAngles, Choreography, Feet, heading_vectors

# A knee is never quite straight, and gives way by this much of the leg under a landing of a metre.
LEG_STRETCH = 0.995
LEG_LOADING = 0.022
# The pelvis comes down this long before a leg needs it to, and goes up as late: a body does not change course at once.
PELVIS_EASE_S = 0.09
PELVIS_TABLE_HZ = 120
UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, slots=True)
class Proportions:
    """Lengths of a person in metres; shares of the height after Winter, Biomechanics and Motor Control, figure 4.1.

    The neck joint lies at the base of the neck, the thorax joint half way down the spine. A standing person with
    straight legs is `height_m` tall.
    """

    height_m: float

    def __post_init__(self) -> None:
        if not 0.8 <= self.height_m <= 2.3:
            raise ValueError(f"height_m: expected a person of 0.8 to 2.3 m, got {self.height_m}")

    def _share(self, share: float) -> float:
        return share * self.height_m

    @property
    def ankle_height_m(self) -> float:
        """Ankle above the floor in stance: 0.085 m at a height of 1.75 m."""
        return self._share(0.0486)

    @property
    def thigh_m(self) -> float:
        return self._share(0.245)

    @property
    def shin_m(self) -> float:
        return self._share(0.246)

    @property
    def hip_half_width_m(self) -> float:
        return self._share(0.062)

    @property
    def lower_spine_m(self) -> float:
        return self._share(0.156)

    @property
    def upper_spine_m(self) -> float:
        return self._share(0.157)

    @property
    def neck_to_head_top_m(self) -> float:
        return self._share(1.0 - 0.0486 - 0.245 - 0.246 - 0.156 - 0.157)

    @property
    def shoulder_half_width_m(self) -> float:
        return self._share(0.100)

    @property
    def shoulder_below_neck_m(self) -> float:
        return self._share(0.028)

    @property
    def upper_arm_m(self) -> float:
        return self._share(0.164)

    @property
    def forearm_m(self) -> float:
        return self._share(0.144)

    @property
    def hand_m(self) -> float:
        return self._share(0.085)

    @property
    def foot_m(self) -> float:
        """Ankle to the ball of the foot, along the floor."""
        return self._share(0.088)


@dataclass(frozen=True, slots=True)
class Figure:
    """The person at one moment or at T moments: what drawing needs, metres, world frame. (...) is () or (T,).

    joints_m: (..., 17, 3) in the order of BODY17; toes_m, heels_m, fingers_m: (..., 2, 3), right before left;
    head_up, head_forward: (..., 3) unit vectors.
    """

    joints_m: np.ndarray
    toes_m: np.ndarray
    heels_m: np.ndarray
    fingers_m: np.ndarray
    head_up: np.ndarray
    head_forward: np.ndarray


@dataclass(frozen=True, slots=True)
class _Frame:
    """Axes of a body part over T moments: forward, left, up, (T, 3) each, orthonormal."""

    forward: np.ndarray
    left: np.ndarray
    up: np.ndarray

    def point(self, forward_m: float, left_m: float, up_m: float) -> np.ndarray:
        """An offset given along the axes, (T, 3) m."""
        return forward_m * self.forward + left_m * self.left + up_m * self.up


@dataclass(frozen=True, slots=True)
class _Pelvis:
    """Its centre (T, 3) m, axes, turn against the heading (T,), and centre to hip joints (T, 2, 3) m."""

    centre_m: np.ndarray
    frame: _Frame
    turn_rad: np.ndarray
    hips_m: np.ndarray


@dataclass(frozen=True, slots=True)
class _Stance:
    """Heading of the body (T,), arms (T, 2) and the trunk's lean, side and twist (T, 3), radians."""

    heading_rad: np.ndarray
    arms: ArmAngles
    trunk_rad: np.ndarray


def _upright_frame(heading_rad: np.ndarray) -> _Frame:
    forward, left = (np.pad(axis, ((0, 0), (0, 1))) for axis in heading_vectors(heading_rad))
    return _Frame(forward, left, np.broadcast_to(UP, forward.shape))


def _turned(first: np.ndarray, second: np.ndarray, angle_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn a pair of perpendicular axes in their plane, first toward second."""
    cosine, sine = np.cos(angle_rad)[:, None], np.sin(angle_rad)[:, None]
    return cosine * first + sine * second, cosine * second - sine * first


def _tilted(frame: _Frame, lean_rad: np.ndarray, side_rad: np.ndarray) -> _Frame:
    """The frame bent forward and then to its left; its `up` moves toward forward and toward left."""
    up, forward_down = _turned(frame.up, frame.forward, lean_rad)
    up, left = _turned(up, frame.left, side_rad)
    return _Frame(forward_down, left, up)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def _middle_joint(
    start_m: np.ndarray, end_m: np.ndarray, upper_m: float, lower_m: float, toward: np.ndarray
) -> np.ndarray:
    """Where the knee is between hip and ankle, bent toward a direction. (T, 3) each -> (T, 3)."""
    between = end_m - start_m
    distance_m = np.linalg.norm(between, axis=1, keepdims=True)
    axis = between / distance_m
    along_m = (upper_m**2 - lower_m**2 + distance_m**2) / (2 * distance_m)
    across = _unit(toward - (toward * axis).sum(axis=1, keepdims=True) * axis)
    return start_m + along_m * axis + np.sqrt(np.maximum(upper_m**2 - along_m**2, 0.0)) * across


class SimulatedPerson:
    """Somebody who walks round an oval in front of the cameras and stops now and then to turn and reach.

    height_m: of the body; seed: where they start, which way round, which arm reaches where. Same seed, same motion.
    The motion repeats after `period_s`.
    """

    def __init__(self, height_m: float = 1.75, seed: int = 0) -> None:
        self.proportions = Proportions(height_m)
        self._plan = Choreography(self.proportions.hip_half_width_m, self.proportions.ankle_height_m, seed)
        self.period_s = self._plan.period_s
        self._pelvis_height_m = self._pelvis_height_table()

    def pose_at(self, time_s: np.ndarray | float) -> np.ndarray:
        """Joints of BODY17 in the world, metres. time_s: () or (T,) -> (17, 3) or (T, 17, 3)."""
        return self.figure_at(time_s).joints_m

    def figure_at(self, time_s: np.ndarray | float) -> Figure:
        """Joints and what else drawing needs. time_s: () or (T,)."""
        times = np.asarray(time_s, dtype=np.float64)
        figure = self._figure(times.reshape(-1) % self.period_s)
        if times.ndim:
            return figure
        return Figure(*(getattr(figure, name)[0] for name in Figure.__slots__))

    def _figure(self, time_s: np.ndarray) -> Figure:
        size = self.proportions
        stance, feet, pelvis = self._stance(time_s)
        lean_rad, side_rad, twist_rad = stance.trunk_rad.T
        pelvis_m = pelvis.centre_m + self._pelvis_height_m(time_s)[:, None] * UP
        heading_rad = stance.heading_rad
        breath_rad = 0.008 * np.sin(self._beat_rad(time_s, 3.6))
        # The shoulders turn against the hips; the head stays with the way.
        lower = _tilted(_upright_frame(heading_rad + 0.3 * twist_rad), 0.03 + 0.7 * lean_rad, 0.6 * side_rad)
        chest_heading_rad = heading_rad - 0.8 * pelvis.turn_rad + twist_rad
        chest = _tilted(_upright_frame(chest_heading_rad), 0.09 + lean_rad + breath_rad, side_rad)
        head = _tilted(_upright_frame(heading_rad + 0.5 * twist_rad), 0.06 + 0.4 * lean_rad, 0.3 * side_rad)
        thorax_m = pelvis_m + lower.point(0.0, 0.0, size.lower_spine_m)
        neck_m = thorax_m + chest.point(0.0, 0.0, size.upper_spine_m)

        joints_m = np.empty((len(time_s), len(BODY17), 3))

        def put(joint: str, points_m: np.ndarray) -> None:
            joints_m[:, BODY17.index(joint)] = points_m

        put("Pelvis", pelvis_m)
        put("Thorax", thorax_m)
        put("Neck", neck_m)
        put("HeadTop", neck_m + head.point(0.0, 0.0, size.neck_to_head_top_m))
        put("Nose", neck_m + head.point(0.36 * size.neck_to_head_top_m, 0.0, 0.44 * size.neck_to_head_top_m))
        fingers, toes, heels = [], [], []
        for number, (name, side) in enumerate(zip(("Right", "Left"), SIDES, strict=True)):
            hip_m, ankle_m = pelvis_m + pelvis.hips_m[:, number], feet.ankles_m[:, number]
            foot_forward = _upright_frame(feet.heading_rad[:, number]).forward
            put(f"{name}Hip", hip_m)
            put(f"{name}Ankle", ankle_m)
            put(
                f"{name}Knee",
                _middle_joint(hip_m, ankle_m, size.thigh_m, size.shin_m, foot_forward + pelvis.frame.forward),
            )
            toe_m, heel_m = self._foot(ankle_m, foot_forward, feet.lift_m[:, number])
            toes.append(toe_m)
            heels.append(heel_m)
            angles = ArmAngles(
                stance.arms.flexion[:, number], stance.arms.abduction[:, number], stance.arms.elbow[:, number]
            )
            shoulder_m = thorax_m + self._shoulder(chest, float(side), angles)
            upper, lower_arm = _arm_directions(chest, float(side), angles)
            put(f"{name}Shoulder", shoulder_m)
            put(f"{name}Elbow", shoulder_m + size.upper_arm_m * upper)
            put(f"{name}Wrist", shoulder_m + size.upper_arm_m * upper + size.forearm_m * lower_arm)
            fingers.append(joints_m[:, BODY17.index(f"{name}Wrist")] + size.hand_m * lower_arm)
        return Figure(
            joints_m,
            np.stack(toes, axis=1),
            np.stack(heels, axis=1),
            np.stack(fingers, axis=1),
            head.up,
            head.forward,
        )

    def _stance(self, time_s: np.ndarray) -> tuple[_Stance, Feet, _Pelvis]:
        """Everything that follows from the plan before the height of the pelvis is known."""
        position_m, heading_rad = self._plan.root(time_s)
        feet = self._plan.feet(time_s)
        root = _upright_frame(heading_rad)
        ahead_m = self._feet_ahead_m(feet, position_m, root)
        arms, trunk_rad = self._plan.blend_reaches(time_s, self._arm_swing(ahead_m, time_s))
        pelvis = self._pelvis(feet, position_m, root, ahead_m, trunk_rad[:, 0])
        return _Stance(heading_rad, arms, trunk_rad), feet, pelvis

    def _beat_rad(self, time_s: np.ndarray, about_s: float) -> np.ndarray:
        """Phase of a slow rhythm that fits the period a whole number of times."""
        return 2 * np.pi * np.round(self.period_s / about_s) * time_s / self.period_s

    @staticmethod
    def _feet_ahead_m(feet: Feet, position_m: np.ndarray, root: _Frame) -> np.ndarray:
        """How far each ankle is in front of the body, (T, 2)."""
        offset_m = feet.ankles_m[..., :2] - position_m[:, None]
        return (offset_m * root.forward[:, None, :2]).sum(axis=-1)

    def _arm_swing(self, ahead_m: np.ndarray, time_s: np.ndarray) -> ArmAngles:
        """Each arm follows the foot of the other side; the elbow bends as the arm comes forward."""
        other_ahead = ahead_m[:, ::-1] / self.proportions.height_m
        idle = 0.03 * np.sin(self._beat_rad(time_s, 5.0)[:, None] + np.array([0.0, 1.3]))
        flexion = 0.03 + 2.0 * other_ahead + idle
        return ArmAngles(flexion, np.full_like(flexion, 0.14), 0.32 + 0.6 * flexion)

    def _pelvis(
        self, feet: Feet, position_m: np.ndarray, root: _Frame, ahead_m: np.ndarray, lean_rad: np.ndarray
    ) -> _Pelvis:
        """The pelvis but for its height, which is left at 0."""
        # The hip of the leading leg comes forward and that of the lifted one drops.
        turn_rad = 0.16 * (ahead_m[:, 0] - ahead_m[:, 1])
        drop_rad = 0.5 * (feet.lift_m[:, 1] - feet.lift_m[:, 0])
        forward, left = _turned(root.forward, root.left, turn_rad)
        frame = _tilted(_Frame(forward, left, root.up), 0.3 * lean_rad, -drop_rad)
        # Weight over the standing foot.
        sway_m = 0.22 * (feet.lift_m[:, 0] - feet.lift_m[:, 1])
        centre_m = np.pad(position_m, ((0, 0), (0, 1))) + sway_m[:, None] * root.left
        hips = [frame.point(0.0, side * self.proportions.hip_half_width_m, 0.0) for side in SIDES]
        return _Pelvis(centre_m, frame, turn_rad, np.stack(hips, axis=1))

    def _highest_pelvis_m(self, feet: Feet, pelvis: _Pelvis) -> np.ndarray:
        """Height at which one of the legs is as long as it gets, (T,)."""
        leg_m = self.proportions.thigh_m + self.proportions.shin_m
        reach_m = leg_m * (LEG_STRETCH - LEG_LOADING * feet.loading)
        across_m = pelvis.centre_m[:, None, :2] + pelvis.hips_m[..., :2] - feet.ankles_m[..., :2]
        height_m = feet.ankles_m[..., 2] + np.sqrt(reach_m**2 - (across_m**2).sum(axis=-1)) - pelvis.hips_m[..., 2]
        return height_m.min(axis=1)

    def _pelvis_height_table(self) -> CubicSpline:
        """Height of the pelvis over the period: the legs' limit, eased without ever exceeding it.

        The least over a window and then a weighted mean over a window as wide is at most the limit at its middle.
        """
        samples = round(self.period_s * PELVIS_TABLE_HZ)
        times_s = np.arange(samples) * self.period_s / samples
        highest_m = self._highest_pelvis_m(*self._stance(times_s)[1:])
        reach = round(PELVIS_EASE_S * PELVIS_TABLE_HZ)
        shifts = np.arange(-reach, reach + 1)
        around = (np.arange(samples)[:, None] + shifts) % samples
        weights = np.hanning(len(shifts) + 2)[1:-1]
        eased_m = highest_m[around].min(axis=1)[around] @ (weights / weights.sum())
        return CubicSpline(np.append(times_s, self.period_s), np.append(eased_m, eased_m[0]), bc_type="periodic")

    def _shoulder(self, chest: _Frame, side: float, angles: ArmAngles) -> np.ndarray:
        """Thorax to shoulder, (T, 3): its length stays, but it rises with the arm as the collar bone does."""
        size = self.proportions
        raised = (1 - np.cos(angles.abduction) * np.cos(angles.flexion)) / 2
        inward, up = _turned(side * chest.left, chest.up, 0.16 * raised)
        return size.shoulder_half_width_m * inward + (size.upper_spine_m - size.shoulder_below_neck_m) * up

    def _foot(self, ankle_m: np.ndarray, forward: np.ndarray, lift_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ball of the foot and heel, (T, 3) each; pointing down as the ankle rises."""
        size = self.proportions
        pitch = np.clip(lift_m / 0.16, 0.0, 1.0) * 0.75
        along = np.cos(pitch)[:, None] * forward - np.sin(pitch)[:, None] * UP
        down = -np.cos(pitch)[:, None] * UP - np.sin(pitch)[:, None] * forward
        sole_m = 0.62 * size.ankle_height_m
        return ankle_m + size.foot_m * along + sole_m * down, ankle_m - 0.3 * size.foot_m * along + sole_m * down


def _arm_directions(chest: _Frame, side: float, angles: ArmAngles) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of upper arm and forearm, (T, 3) each; an elbow bends toward where flexion moves the arm."""
    flexion, abduction, elbow = angles.flexion[:, None], angles.abduction[:, None], angles.elbow[:, None]
    in_plane = np.sin(flexion) * chest.forward - np.cos(flexion) * chest.up
    bend = np.cos(flexion) * chest.forward + np.sin(flexion) * chest.up
    upper = np.sin(abduction) * side * chest.left + np.cos(abduction) * in_plane
    return upper, np.cos(elbow) * upper + np.sin(elbow) * bend
