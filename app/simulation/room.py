"""The room the simulated person walks in, as a camera sees it: ray-cast once per camera, then kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import RectBivariateSpline

from ...calibration.rig import Camera, RigidTransform
from .choreography import PATH_CENTRE_M

# Inside of the room, world frame: least and greatest x, y, z.
LEAST_M = np.array([-3.3, -1.5, 0.0], dtype=np.float32)
GREATEST_M = np.array([3.3, 6.0, 2.75], dtype=np.float32)
LAMP_M = np.array([-1.6, 1.4, 2.6], dtype=np.float32)

LAMP_COLOUR = np.array([1.12, 1.05, 0.96], dtype=np.float32)

RUG_RADIUS_M = 1.5
PLANK_M = (0.16, 1.7)
BASEBOARD_M = 0.11

# Colours are linear reflectances, red green blue.
FLOOR = np.array([0.36, 0.25, 0.165])
WALL = np.array([0.56, 0.55, 0.52])
ACCENT_WALL = np.array([0.235, 0.335, 0.355])
CEILING = np.array([0.75, 0.74, 0.72])
TRIM = np.array([0.72, 0.71, 0.69])
RUG = np.array([0.53, 0.49, 0.43])
RUG_LINES = np.array([0.27, 0.31, 0.33])

# Pictures on the back wall: middle x and z, half width and half height, background, disc.
FRAMES = (
    (-1.35, 1.72, 0.36, 0.47, (0.66, 0.60, 0.50), (0.55, 0.20, 0.12)),
    (-0.45, 1.72, 0.36, 0.47, (0.62, 0.63, 0.60), (0.12, 0.22, 0.30)),
)


@dataclass(frozen=True, slots=True)
class RoomView:
    """What one camera sees of the empty room.

    image: (H, W, 3) uint8 BGR; floor_m: (H, W, 2) float32 world x and y of the floor in a pixel, NaN elsewhere.
    """

    image: np.ndarray
    floor_m: np.ndarray


def camera_rays(camera: Camera, world_from_camera: RigidTransform) -> np.ndarray:
    """Direction of every pixel's ray in the world, (H, W, 3) float32, not normalised; lens distortion included."""
    width, height = camera.size_px
    # The lens is smooth: rays of a coarse grid, interpolated, are exact to a hundredth of a pixel.
    columns, rows = np.linspace(0, width - 1, 81), np.linspace(0, height - 1, 46)
    coarse = camera.rays_from_px(np.stack(np.meshgrid(columns, rows), axis=-1))
    every_row, every_column = np.arange(height), np.arange(width)
    flat = np.stack(
        [RectBivariateSpline(rows, columns, coarse[..., axis])(every_row, every_column) for axis in (0, 1)], axis=-1
    ).astype(np.float32)
    rotation = world_from_camera.rotation.astype(np.float32)
    return flat @ rotation[:, :2].T + rotation[:, 2]


def _edge(signed_distance_m: np.ndarray, pixel_m: np.ndarray) -> np.ndarray:
    """Share of a pixel on the positive side of an edge."""
    return np.clip(signed_distance_m / pixel_m + 0.5, 0.0, 1.0)


def _pixel_size_m(values_m: np.ndarray) -> np.ndarray:
    """How much a coordinate changes from pixel to pixel."""
    down, across = np.gradient(values_m)
    return np.maximum(np.hypot(down, across), 1e-4)


def _mix(below: np.ndarray, above: np.ndarray, share: np.ndarray) -> np.ndarray:
    return below + (above - below) * share[..., None]


def _hash(*numbers: np.ndarray) -> np.ndarray:
    """A repeatable number in 0..1 for every combination of whole numbers."""
    mixed = sum(np.sin(number * step) for number, step in zip(numbers, (12.9898, 78.233), strict=True)) * 43758.5453
    return mixed - np.floor(mixed)


def _floor_colour(hit_m: np.ndarray) -> np.ndarray:
    """Boards along y, and a round rug where the person walks."""
    x, y = hit_m[..., 0], hit_m[..., 1]
    pixel_x, pixel_y = _pixel_size_m(x), _pixel_size_m(y)
    width_m, length_m = PLANK_M
    board = np.floor(x / width_m)
    along = y + length_m * _hash(board, board * 0)
    tone = 0.80 + 0.34 * _hash(board, np.floor(along / length_m))
    grain = 1 + 0.035 * np.sin(140 * x + 5 * np.sin(1.7 * y + board)) * np.clip(0.012 / pixel_x, 0, 1)
    colour = FLOOR * (tone * grain)[..., None]
    to_side = np.abs(x / width_m - np.round(x / width_m)) * width_m
    to_end = np.abs(along / length_m - np.round(along / length_m)) * length_m
    seam = np.maximum(_line(to_side, 0.0022, pixel_x), _line(to_end, 0.0022, pixel_y))
    colour = colour * (1 - 0.55 * seam)[..., None]
    radius = np.hypot(x - PATH_CENTRE_M[0], y - PATH_CENTRE_M[1])
    pixel = _pixel_size_m(radius)
    weave = 1 + 0.05 * np.sin(2 * np.pi * radius / 0.03) * np.clip(0.008 / pixel, 0, 1)
    rug = np.broadcast_to(RUG, colour.shape) * weave[..., None]
    for ring_m, half_m in ((RUG_RADIUS_M - 0.12, 0.022), (RUG_RADIUS_M - 0.20, 0.008), (0.42, 0.008)):
        rug = _mix(rug, RUG_LINES, _line(np.abs(radius - ring_m), half_m, pixel))
    # A soft dark rim around the rug gives it thickness.
    rim = np.exp(-np.clip(radius - RUG_RADIUS_M, 0, None) / 0.02)
    return _mix(colour * (1 - 0.35 * rim)[..., None], rug, _edge(RUG_RADIUS_M - radius, pixel))


def _line(distance_m: np.ndarray, half_width_m: float, pixel_m: np.ndarray) -> np.ndarray:
    """Share of a pixel covered by a line; a line thinner than a pixel fades instead of breaking up."""
    return _edge(half_width_m - distance_m, pixel_m) * np.clip(2 * half_width_m / pixel_m, 0, 1)


def _back_wall_colour(hit_m: np.ndarray) -> np.ndarray:
    """An accent wall with a pair of framed prints."""
    x, z = hit_m[..., 0], hit_m[..., 2]
    pixel = np.maximum(_pixel_size_m(x), _pixel_size_m(z))
    colour = np.broadcast_to(ACCENT_WALL, hit_m.shape)
    for middle_x, middle_z, half_x, half_z, paper, disc in FRAMES:
        # Distance inside the rectangle's nearest edge, positive inside.
        inside = np.minimum(half_x - np.abs(x - middle_x), half_z - np.abs(z - middle_z))
        shade = np.exp(-np.square(np.clip(-inside - 0.0, 0, None) / 0.035)) * (z < middle_z + half_z)
        colour = colour * (1 - 0.3 * shade)[..., None]
        colour = _mix(colour, np.array([0.075, 0.06, 0.05]), _edge(inside, pixel))
        colour = _mix(colour, np.array([0.78, 0.77, 0.74]), _edge(inside - 0.018, pixel))
        print_area = _edge(inside - 0.075, pixel)
        colour = _mix(colour, np.array(paper), print_area)
        round_m = np.hypot(x - middle_x + 0.05, z - middle_z - 0.08)
        colour = _mix(colour, np.array(disc), print_area * _edge(0.15 - round_m, pixel))
        hill = z - (middle_z - 0.17 + 0.07 * np.sin(5.0 * (x - middle_x) + middle_x))
        colour = _mix(colour, 0.55 * np.array(disc) + 0.1, print_area * _edge(-hill, pixel))
    return colour


def _light(hit_m: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Light falling on the surfaces: lamp, dark corners, and a window. (H, W, 3)."""
    to_lamp = LAMP_M - hit_m
    distance = np.linalg.norm(to_lamp, axis=-1)
    facing = np.clip((to_lamp * normal).sum(axis=-1) / distance, 0, 1)
    direct = 3.4 * facing / (1.2 + distance**2)
    corners = np.ones(hit_m.shape[:2])
    for axis in range(3):
        for wall in (LEAST_M, GREATEST_M):
            # A surface does not darken itself.
            other = 1 - np.abs(normal[..., axis])
            corners *= 1 - 0.38 * other * np.exp(-np.abs(hit_m[..., axis] - wall[axis]) / 0.28)
    return ((0.70 + direct) * corners + 0.42 * _window_light(hit_m) * np.abs(normal[..., 1]))[..., None] * LAMP_COLOUR


def _window_light(hit_m: np.ndarray) -> np.ndarray:
    """Evening sun through a window of six panes, on the back wall. (H, W) in 0..1."""
    height = hit_m[..., 2] - 0.95
    across = hit_m[..., 0] - 0.95 - 0.22 * height
    panes = np.ones(height.shape, dtype=np.float32)
    for position, width, count in ((across, 1.35, 3), (height, 1.15, 2)):
        # Blurred by the size of the sun: bars and borders have edges some centimetres wide.
        pane = width / count
        to_bar = np.abs(position / pane - np.round(position / pane)) * pane
        to_border = np.minimum(position, width - position)
        panes *= np.clip((to_border + 0.02) / 0.05, 0, 1) * np.where(
            to_border > pane / 2, np.clip((to_bar - 0.012) / 0.05, 0, 1), 1
        )
    return panes


def render_room(camera: Camera, world_from_camera: RigidTransform) -> RoomView:
    """The empty room through one camera."""
    rays = camera_rays(camera, world_from_camera)
    origin = world_from_camera.translation_m.astype(np.float32)
    with np.errstate(divide="ignore"):
        # Distance to the wall ahead along each axis; the nearest of the three is what is seen.
        reach = np.where(rays > 0, (GREATEST_M - origin) / rays, (LEAST_M - origin) / rays)
    axis = np.argmin(reach, axis=-1)
    hit_m = origin + rays * np.min(reach, axis=-1)[..., None]
    normal = -np.sign(rays) * (axis[..., None] == np.arange(3))

    colour = np.broadcast_to(WALL, hit_m.shape)
    is_floor = (axis == 2) & (rays[..., 2] < 0)
    colour = np.where(((axis == 2) & ~is_floor)[..., None], CEILING, colour)
    colour = np.where((axis == 1)[..., None], _back_wall_colour(hit_m), colour)
    height = hit_m[..., 2]
    board = (axis != 2) * _edge(BASEBOARD_M - height, _pixel_size_m(height))
    colour = _mix(colour, TRIM, board)
    colour = np.where(is_floor[..., None], _floor_colour(hit_m), colour)

    rows, columns = np.indices(colour.shape[:2], dtype=np.float32)
    width, height_px = camera.size_px
    off_axis = np.square((columns - width / 2) / width) + np.square((rows - height_px / 2) / width)
    linear = colour * _light(hit_m, normal) * (1 - 0.5 * off_axis)[..., None]
    floor_m = np.where(is_floor[..., None], hit_m[..., :2], np.nan).astype(np.float32)
    return RoomView(display_bgr(linear), floor_m)


def display_bgr(linear_rgb: np.ndarray) -> np.ndarray:
    """Linear red green blue, 1 is white paper in full light, to (..., 3) uint8 BGR."""
    # A gentle shoulder keeps highlights from clipping.
    compressed = linear_rgb / (1 + 0.22 * linear_rgb) * 1.12
    return (255 * np.clip(compressed, 0, 1) ** (1 / 2.2) + 0.5).astype(np.uint8)[..., ::-1]
