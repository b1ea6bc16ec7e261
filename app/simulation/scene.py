"""What the two virtual cameras see of the simulated person, frame by frame."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ...calibration.rig import Camera, RigError, RigidTransform, StereoRig
from ..frames import FramePair
from .body import Capsules, capsules_of
from .motion import Figure, SimulatedPerson
from .renderer import draw_capsules
from .room import LAMP_M, RoomView, render_room


@dataclass(frozen=True, slots=True)
class _View:
    """A camera, where it stands, and what it sees of the empty room."""

    camera: Camera
    camera_from_world: RigidTransform
    room: RoomView


class SimulatedScene:
    """A room with a person in it, through the cameras of a rig whose `world_from_left` is known."""

    def __init__(self, rig: StereoRig, person: SimulatedPerson) -> None:
        if rig.world_from_left is None:
            raise RigError(
                "world_from_left: the rig of a simulated scene needs it, to know where the room is; got none"
            )
        self._person = person
        self._left_from_world = rig.world_from_left.inverse()
        self._rig = rig

    @cached_property
    def _views(self) -> list[_View]:
        """Rendered when the first picture is asked for: the truth alone needs no room."""
        right_from_world = self._rig.right_from_left @ self._left_from_world
        return [
            _View(camera, camera_from_world, render_room(camera, camera_from_world.inverse()))
            for camera, camera_from_world in (
                (self._rig.left, self._left_from_world),
                (self._rig.right, right_from_world),
            )
        ]

    def truth_m(self, time_s: float) -> np.ndarray:
        """Joints of BODY17 in the frame of the left camera as calibrated, (17, 3) metres."""
        return self._left_from_world.apply(self._person.pose_at(time_s))

    def images(self, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Pictures of the left and the right camera, (H, W, 3) uint8 BGR each, lens distortion included."""
        figure = self._person.figure_at(time_s)
        capsules = capsules_of(figure, self._person.proportions.height_m)
        left, right = (self._image(view, figure, capsules) for view in self._views)
        return left, right

    def _image(self, view: _View, figure: Figure, capsules: Capsules) -> np.ndarray:
        image = view.room.image.copy()
        transform = view.camera_from_world
        _draw_shadow(image, view, figure)
        middle_m = capsules.ends_m.mean(axis=(0, 1))
        to_light = (LAMP_M - middle_m) / np.linalg.norm(LAMP_M - middle_m)
        draw_capsules(image, view.camera, capsules, (transform.rotation, transform.translation_m), to_light)
        return image


# Soft spots of shadow under each shoe, and a wide one under the body: radius in metres and depth.
SHOE_SHADOW = (0.085, 0.55)
BODY_SHADOW = (0.30, 0.38)
SHADOW_REACH_M = 0.75


def _draw_shadow(image: np.ndarray, view: _View, figure: Figure) -> None:
    """Darken the floor under the person, in place."""
    shoes_m = (figure.toes_m + figure.heels_m) / 2
    centre_m = np.append(shoes_m[:, :2].mean(axis=0), 0.0)
    around_m = centre_m + SHADOW_REACH_M * np.array([[-1, -1, 0], [-1, 1, 0], [1, -1, 0], [1, 1, 0]])
    corners_px = view.camera.px_from_camera(view.camera_from_world.apply(around_m))
    height, width = image.shape[:2]
    if not np.isfinite(corners_px).all():
        return
    left, top = np.clip(corners_px.min(axis=0).astype(int), 0, [width, height])
    right, bottom = np.clip(corners_px.max(axis=0).astype(int) + 1, 0, [width, height])
    if left >= right or top >= bottom:
        return
    # Soft enough to be worked out in every fourth pixel.
    floor_m = view.room.floor_m[top:bottom:4, left:right:4]
    shade = _spot(floor_m, centre_m[:2], centre_m[:2], BODY_SHADOW[0]) * BODY_SHADOW[1]
    for heel_m, toe_m in zip(figure.heels_m, figure.toes_m, strict=True):
        # The higher the shoe, the paler and wider its shadow.
        lifted_m = max(float(min(heel_m[2], toe_m[2])) - 0.03, 0.0)
        radius_m = SHOE_SHADOW[0] + 0.5 * lifted_m
        darkness = SHOE_SHADOW[1] * (SHOE_SHADOW[0] / radius_m) ** 2
        spot = _spot(floor_m, heel_m[:2], toe_m[:2], radius_m)
        shade = 1 - (1 - shade) * (1 - darkness * spot)
    kept = cv2.resize(1 - np.nan_to_num(shade), (int(right - left), int(bottom - top)), interpolation=cv2.INTER_LINEAR)
    target = image[top:bottom, left:right]
    target[:] = cv2.blendLinear(np.ascontiguousarray(target), np.zeros_like(target), kept, 1 - kept)


def _spot(floor_m: np.ndarray, start_m: np.ndarray, end_m: np.ndarray, radius_m: float) -> np.ndarray:
    """1 on the segment from start to end, falling smoothly to 0 away from it; NaN where there is no floor."""
    along_x, along_y = (np.float32(v) for v in end_m - start_m)
    x, y = (floor_m[..., axis] - np.float32(start_m[axis]) for axis in (0, 1))
    share = np.clip((x * along_x + y * along_y) / max(along_x**2 + along_y**2, np.float32(1e-9)), 0, 1)
    x, y = x - share * along_x, y - share * along_y
    return np.exp((x * x + y * y) * np.float32(-1 / radius_m**2))


class SimulatedSource:
    """The pictures of a scene as a source of frame pairs, from time 0; see `processing.PairSource`."""

    incomplete = False

    def __init__(self, scene: SimulatedScene, duration_s: float, frames_per_second: float = 30.0) -> None:
        self.frames_per_second = frames_per_second
        self.frames: int | None = max(round(duration_s * frames_per_second), 1)
        self.warnings = ["simulated: person, rig and detector noise are made up; the figures say nothing of your room"]
        self.read_ms = 0.0
        self._scene = scene

    def __iter__(self) -> Iterator[FramePair]:
        for index in range(self.frames or 0):
            began_s = time.perf_counter()
            timestamp_s = index / self.frames_per_second
            left, right = self._scene.images(timestamp_s)
            self.read_ms = (time.perf_counter() - began_s) * 1e3
            yield FramePair(left, right, timestamp_s, index)
