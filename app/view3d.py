"""The person in space: a turning view with a floor, and a plan from above."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ..models.pose import Pose3D
from . import ink

PANEL: ink.Colour = (34, 29, 25)
SHADOW: ink.Colour = (21, 18, 15)
GRID: ink.Colour = (70, 62, 55)
METRE_GRID: ink.Colour = (128, 116, 106)
GRID_STEP_M = 0.25
GRID_SHADES = 6
LETTERS_PX = 14
LIMB_M = 0.024
PLAN_LIMB_M = 0.034
LARGEST_SIGMA_M = 1.0

CENTRE_SETTLES_S = 0.5
SIZE_GROWS_S = 0.7
SIZE_SHRINKS_S = 6.0
# After so long without a pose, or so far away, it may be somebody else: start afresh instead of gliding there.
FORGET_AFTER_S = 2.0
FORGET_BEYOND_M = 1.5
SMALLEST_PERSON_M = 0.8
REACH_M = 1.5  # from the middle of a person to the tip of any limb
FEWEST_JOINTS = 4


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """Where the turning view looks from, around the person.

    yaw_rad: 0 as the left camera looks, positive moves the eye to the right; elevation_rad: above the horizon;
    zoom: 1 shows the whole person.
    """

    yaw_rad: float = 0.0
    elevation_rad: float = 0.21
    zoom: float = 1.0

    @staticmethod
    def swaying(timestamp_s: float) -> Viewpoint:
        """Slowly to and fro, which shows depth and keeps left and right where they are."""
        return Viewpoint(yaw_rad=math.radians(32.0) * math.sin(2 * math.pi * timestamp_s / 12.0))


@dataclass(frozen=True, slots=True)
class Scene:
    """What the views are arranged around, smoothed so that they do not jump.

    centre_m: (3,) middle of the person; floor_m: height (y, downwards) of the lowest joint; size_m: the greatest
    extent of the person. All in the frame of the pose: x right, y down, z forward.
    """

    centre_m: np.ndarray
    floor_m: float
    size_m: float

    @property
    def target_m(self) -> np.ndarray:
        """The point in the middle of the view: over the floor by half the person, (3,)."""
        return np.array([self.centre_m[0], self.floor_m - 0.48 * self.size_m, self.centre_m[2]])


EMPTY_SCENE = Scene(np.array([0.0, 0.0, 3.0]), 1.0, 1.8)


class SceneTracker:
    """Follows the person with the scene."""

    def __init__(self) -> None:
        self.scene = EMPTY_SCENE
        self._last_s: float | None = None

    def update(self, pose: Pose3D | None, timestamp_s: float) -> Scene:
        """The scene for this moment; stays as it is while there is no pose."""
        points_m = pose.points_m[np.isfinite(pose.points_m).all(axis=1)] if pose is not None else np.empty((0, 3))
        if len(points_m) < FEWEST_JOINTS:
            return self.scene
        # A joint triangulated to somewhere far away must not take the person out of the view.
        points_m = points_m[np.linalg.norm(points_m - np.median(points_m, axis=0), axis=1) < REACH_M]
        if len(points_m) < FEWEST_JOINTS:
            return self.scene
        low, high = points_m.min(axis=0), points_m.max(axis=0)
        seen = Scene((low + high) / 2, float(high[1]), max(float((high - low).max()), SMALLEST_PERSON_M))
        elapsed_s = math.inf if self._last_s is None else timestamp_s - self._last_s
        away_m = float(np.linalg.norm(seen.centre_m - self.scene.centre_m))
        # A clock that runs backwards is a recording that starts over.
        if not 0 <= elapsed_s < FORGET_AFTER_S or away_m > FORGET_BEYOND_M:
            self.scene = seen
        else:
            self.scene = _between(self.scene, seen, elapsed_s)
        self._last_s = timestamp_s
        return self.scene


def _between(old: Scene, new: Scene, elapsed_s: float) -> Scene:
    def follow(before: float, now: float, settles_s: float) -> float:
        return before + (now - before) * (1 - math.exp(-elapsed_s / settles_s))

    share = 1 - math.exp(-elapsed_s / CENTRE_SETTLES_S)
    # A foot that is lifted does not lift the floor, and a crouch does not zoom in, unless it lasts.
    return Scene(
        old.centre_m + share * (new.centre_m - old.centre_m),
        follow(old.floor_m, new.floor_m, SIZE_GROWS_S if new.floor_m > old.floor_m else SIZE_SHRINKS_S),
        follow(old.size_m, new.size_m, SIZE_GROWS_S if new.size_m > old.size_m else SIZE_SHRINKS_S),
    )


@dataclass(frozen=True, slots=True)
class _Projection:
    """From metres to pixels of a panel: `rotation @ (point - target)`, then a pinhole at a distance, or none.

    distance_m: of the eye from the target; infinite for a parallel projection with `scale_px` pixels per metre.
    """

    rotation: np.ndarray
    target_m: np.ndarray
    middle_px: np.ndarray
    scale_px: float
    distance_m: float

    def __call__(self, points_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (..., 2) and distance behind the target (...) of points (..., 3)."""
        turned = (points_m - self.target_m) @ self.rotation.T
        depth = turned[..., 2]
        scale = self.scale_px / np.maximum(1 + depth / self.distance_m, 0.1)
        return turned[..., :2] * scale[..., None] + self.middle_px, depth


def _turning(scene: Scene, viewpoint: Viewpoint, size_px: tuple[int, int]) -> _Projection:
    width, height = size_px
    cos_yaw, sin_yaw = math.cos(viewpoint.yaw_rad), math.sin(viewpoint.yaw_rad)
    cos_up, sin_up = math.cos(viewpoint.elevation_rad), math.sin(viewpoint.elevation_rad)
    yaw = np.array([[cos_yaw, 0, sin_yaw], [0, 1, 0], [-sin_yaw, 0, cos_yaw]])
    pitch = np.array([[1, 0, 0], [0, cos_up, -sin_up], [0, sin_up, cos_up]])
    scale_px = min(height / 1.32, width / 1.15) / scene.size_m * viewpoint.zoom
    return _Projection(pitch @ yaw, scene.target_m, np.array([width / 2, height / 2]), scale_px, 3.0 * scene.size_m)


def _plan(scene: Scene, size_px: tuple[int, int]) -> _Projection:
    """From above: x to the right, away from the cameras upwards."""
    width, height = size_px
    rotation = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    scale_px = min(height / 1.1, width / 1.35) / scene.size_m
    return _Projection(rotation, scene.target_m, np.array([width / 2, height / 2]), scale_px, math.inf)


def _floor_cells(scene: Scene, radius_m: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The grid lines of the floor within a disc, cut at every crossing.

    Returns (n, 2, 3) ends in metres, (n,) strength: 1 in the middle, 0 at the rim, (n,) bool: on a whole metre.
    """
    centre = scene.centre_m[[0, 2]]
    first = np.floor((centre - radius_m) / GRID_STEP_M)
    steps = np.arange(math.ceil(2 * radius_m / GRID_STEP_M) + 2)
    crossings = np.stack(np.meshgrid(first[0] + steps, first[1] + steps), axis=-1).reshape(-1, 2)
    starts = np.concatenate([crossings, crossings])
    along = np.repeat(np.eye(2), len(crossings), axis=0)
    whole = (starts * (1 - along)).sum(axis=1) % round(1 / GRID_STEP_M) == 0
    ends = np.stack([starts, starts + along], axis=1) * GRID_STEP_M
    strength = 1 - np.linalg.norm(ends.mean(axis=1) - centre, axis=1) / radius_m
    inside = strength > 0
    flat = ends[inside]
    cells_m = np.stack([flat[..., 0], np.full(flat.shape[:2], scene.floor_m), flat[..., 1]], axis=-1)
    return cells_m, strength[inside], whole[inside]


def _draw_floor(panel: np.ndarray, scene: Scene, projection: _Projection, radius_m: float) -> None:
    cells_m, strength, whole = _floor_cells(scene, radius_m)
    cells_px = np.round(projection(cells_m)[0] * (1 << ink.SUBPIXEL_BITS)).astype(np.int32)
    fading = np.minimum((strength * 2 * GRID_SHADES).astype(int), GRID_SHADES - 1)
    for grid, chosen in ((GRID, ~whole), (METRE_GRID, whole)):
        for shade in range(GRID_SHADES):
            share = (shade + 0.4) / GRID_SHADES
            colour = [round(p + (g - p) * share) for p, g in zip(PANEL, grid, strict=True)]
            lines_px = list(cells_px[chosen & (fading == shade)])
            cv2.polylines(panel, lines_px, False, colour, 1, cv2.LINE_AA, ink.SUBPIXEL_BITS)


def _draw_metres(panel: np.ndarray, scene: Scene, projection: _Projection, radius_m: float) -> None:
    """Name the whole metres: x along the near rim of the floor, z along its right rim."""
    x, z = scene.centre_m[0], scene.centre_m[2]
    reach = 0.7 * radius_m
    marks = [(f"x {metre} m", (metre, z - math.sqrt(radius_m**2 - (metre - x) ** 2))) for metre in _metres(x, reach)]
    marks += [(f"z {metre} m", (x + math.sqrt(radius_m**2 - (metre - z) ** 2), metre)) for metre in _metres(z, reach)]
    height, width = panel.shape[:2]
    for text, (mark_x, mark_z) in marks:
        place_px, _ = projection(np.array([mark_x, scene.floor_m, mark_z]))
        width_px = ink.text_width_px(text, LETTERS_PX)
        # A mark on the rim of the panel stays inside it.
        left = min(max(place_px[0] - width_px / 2, 8), width - width_px - 8)
        baseline = min(max(place_px[1] + LETTERS_PX / 2, 2 * LETTERS_PX), height - 8)
        ink.write(panel, text, left, baseline, LETTERS_PX, ink.FAINT_TEXT)


def _metres(middle_m: float, reach_m: float) -> range:
    return range(math.ceil(middle_m - reach_m), math.floor(middle_m + reach_m) + 1)


def _draw_shadow(panel: np.ndarray, pose: Pose3D, scene: Scene, projection: _Projection) -> None:
    on_floor = pose.points_m.copy()
    on_floor[:, 1] = np.where(np.isfinite(on_floor[:, 1]), scene.floor_m, np.nan)
    points_px, _ = projection(on_floor)
    known = ink.drawable(points_px)
    bones = [bone for bone in pose.skeleton.bone_indices if known[bone].all()]
    lines_px = np.round(points_px[np.array(bones, dtype=int).reshape(-1, 2)] * (1 << ink.SUBPIXEL_BITS))
    width_px = max(2, round(0.045 * projection.scale_px))
    cv2.polylines(panel, list(lines_px.astype(np.int32)), False, SHADOW, width_px, cv2.LINE_AA, ink.SUBPIXEL_BITS)


def _draw_person(panel: np.ndarray, pose: Pose3D, projection: _Projection, limb_m: float) -> None:
    """Bones and the joints between them, the nearest last."""
    points_px, depth_m = projection(pose.points_m)
    known, certainty = ink.drawable(points_px), ink.certainty_of(pose.sigma_m)
    nearness = 1 / np.maximum(0.3, 1 + depth_m / projection.distance_m)
    width_px = np.clip(limb_m * projection.scale_px * nearness, 2, 10)
    parts: list[tuple[float, int, int]] = []
    joint_depth_m = depth_m.copy()
    for child, parent in pose.skeleton.bone_indices.tolist():
        if known[child] and known[parent]:
            bone_depth_m = float(depth_m[[child, parent]].mean())
            parts.append((bone_depth_m, child, parent))
            # A joint covers the ends of all its bones.
            joint_depth_m[[child, parent]] = np.minimum(joint_depth_m[[child, parent]], bone_depth_m - 1e-6)
    parts += [(float(joint_depth_m[joint]), joint, joint) for joint in np.flatnonzero(known).tolist()]
    for _, child, parent in sorted(parts, key=lambda part: -part[0]):
        if child == parent:
            if pose.confidence[child] > 0:
                colour, radius_px = ink.side_colour(int(pose.skeleton.side[child])), 0.6 * float(width_px[child]) + 0.5
                ink.dot(panel, points_px[child], radius_px, colour, float(certainty[child]))
            continue
        colour = ink.side_colour(ink.bone_side(pose.skeleton, child, parent))
        trust, sure = (float(min(values[child], values[parent])) for values in (pose.confidence, certainty))
        bone_px = round(float(width_px[[child, parent]].mean()))
        ink.stroke(panel, points_px[parent], points_px[child], colour, bone_px, trust, sure)


def _draw_uncertainty(panel: np.ndarray, pose: Pose3D, projection: _Projection) -> None:
    """The ellipsoid of one standard deviation of every joint, as the ellipse it is seen as."""
    points_px, depth_m = projection(pose.points_m)
    sigma_m = np.minimum(pose.sigma_m, LARGEST_SIGMA_M)
    known = ink.drawable(points_px) & np.isfinite(sigma_m).all(axis=1)
    shown = panel.copy()
    for joint in np.flatnonzero(known).tolist():
        turned = projection.rotation[:2] * sigma_m[joint]
        variances, axes = np.linalg.eigh(turned @ turned.T)
        scale_px = projection.scale_px / max(1 + depth_m[joint] / projection.distance_m, 0.1)
        reach_px = np.maximum(np.sqrt(np.maximum(variances, 0)) * scale_px, 1.0)
        angle_deg = math.degrees(math.atan2(axes[1, 1], axes[0, 1]))
        box = (tuple(points_px[joint].tolist()), (2 * float(reach_px[1]), 2 * float(reach_px[0])), angle_deg)
        colour = ink.side_colour(int(pose.skeleton.side[joint]))
        cv2.ellipse(shown, box, colour, -1, cv2.LINE_AA)
        cv2.ellipse(panel, box, colour, 1, cv2.LINE_AA)
    cv2.addWeighted(shown, 0.3, panel, 0.7, 0, dst=panel)


def draw_turning_view(
    panel: np.ndarray, pose: Pose3D | None, scene: Scene, viewpoint: Viewpoint, uncertainty: bool = False
) -> None:
    """Draw the person over a floor with metre marks, in perspective. panel: (H, W, 3), filled already; in place.

    uncertainty: with an ellipsoid of one standard deviation around every joint.
    """
    projection = _turning(scene, viewpoint, (panel.shape[1], panel.shape[0]))
    radius_m = 0.75 * scene.size_m
    _draw_floor(panel, scene, projection, radius_m)
    _draw_metres(panel, scene, projection, radius_m)
    if pose is not None:
        _draw_shadow(panel, pose, scene, projection)
        if uncertainty:
            _draw_uncertainty(panel, pose, projection)
        _draw_person(panel, pose, projection, LIMB_M)


def draw_plan(panel: np.ndarray, pose: Pose3D | None, scene: Scene, uncertainty: bool = False) -> None:
    """Draw the person from above, away from the cameras upwards. panel: (H, W, 3), filled already; in place."""
    projection = _plan(scene, (panel.shape[1], panel.shape[0]))
    radius_m = 0.62 * scene.size_m
    _draw_floor(panel, scene, projection, radius_m)
    _draw_metres(panel, scene, projection, radius_m)
    if pose is not None:
        if uncertainty:
            _draw_uncertainty(panel, pose, projection)
        _draw_person(panel, pose, projection, PLAN_LIMB_M)
