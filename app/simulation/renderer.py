"""Draws shaded capsules into the picture of a camera: a small software rasteriser with depth and soft light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...calibration.rig import Camera
from .body import COLOURS, Capsules
from .room import display_bgr

# Pixels of the picture per pixel of the drawing: the surface is smooth, only its outline has to be sharp.
COARSENESS = 1.8
EMPTY_DEPTH_M = 1e3


@dataclass(frozen=True, slots=True)
class _Flat:
    """Capsules as seen by a camera: ends (N, 2, 3) x, y, depth and radii (N, 2), all in pixels of the drawing.

    depth_px: in units of pixels at the capsule's own distance, so that a capsule keeps its shape;
    middle_m, m_per_px: (N,) to get metres back.
    """

    ends_px: np.ndarray
    radii_px: np.ndarray
    middle_m: np.ndarray
    m_per_px: np.ndarray


@dataclass(frozen=True, slots=True)
class _Surface:
    """What the drawing shows in each of its pixels: (h, w) depth m, coverage 0..1, material; (h, w, 3) normals."""

    depth_m: np.ndarray
    coverage: np.ndarray
    material: np.ndarray
    normals: np.ndarray


def _flatten(camera: Camera, ends_m: np.ndarray, radii_m: np.ndarray) -> _Flat:
    """ends_m: (N, 2, 3) in the camera's frame. A capsule is drawn as if seen from far away in its own direction."""
    centres_px = camera.px_from_camera(ends_m)
    # The scale at a point, lens distortion included, from where points a radius to the side and below appear.
    beside_px = camera.px_from_camera(ends_m + radii_m[..., None] * [1.0, 0.0, 0.0])
    below_px = camera.px_from_camera(ends_m + radii_m[..., None] * [0.0, 1.0, 0.0])
    radii_px = (np.linalg.norm(beside_px - centres_px, axis=-1) + np.linalg.norm(below_px - centres_px, axis=-1)) / 2
    m_per_px = (radii_m / radii_px).mean(axis=1)
    middle_m = ends_m[..., 2].mean(axis=1)
    depth_px = (ends_m[..., 2] - middle_m[:, None]) / m_per_px[:, None]
    ends_px = np.concatenate([centres_px, depth_px[..., None]], axis=-1) / COARSENESS
    return _Flat(ends_px, radii_px / COARSENESS, middle_m, m_per_px * COARSENESS)


def _draw(surface: _Surface, flat: _Flat, number: int, material: int, corner_px: np.ndarray) -> None:
    """Draw one capsule where it is nearer than what is there. Ray and capsule meet in closed form."""
    (x0, y0, z0), (x1, y1, z1) = flat.ends_px[number]
    radius0, radius1 = flat.radii_px[number]
    height, width = surface.depth_m.shape
    left = max(int(min(x0 - radius0, x1 - radius1) - corner_px[0] - 1), 0)
    right = min(int(max(x0 + radius0, x1 + radius1) - corner_px[0] + 3), width)
    top = max(int(min(y0 - radius0, y1 - radius1) - corner_px[1] - 1), 0)
    bottom = min(int(max(y0 + radius0, y1 + radius1) - corner_px[1] + 3), height)
    if left >= right or top >= bottom:
        return
    x = np.arange(left, right, dtype=np.float32) + np.float32(corner_px[0] - x0)
    y = np.arange(top, bottom, dtype=np.float32)[:, None] + np.float32(corner_px[1] - y0)
    axis_x, axis_y, axis_z = (np.float32(v) for v in (x1 - x0, y1 - y0, z1 - z0))
    flat_square = max(axis_x**2 + axis_y**2, np.float32(1e-6))
    length = max(np.sqrt(flat_square + axis_z**2), np.float32(1e-3))
    unit_x, unit_y, unit_z = axis_x / length, axis_y / length, axis_z / length

    # Outline: distance to the axis as drawn, against the radius there.
    along = x * unit_x + y * unit_y
    share = np.clip(along * (length / flat_square), 0, 1)
    radius = np.float32(radius0) + share * np.float32(radius1 - radius0)
    coverage = np.clip(radius - np.hypot(x - share * axis_x, y - share * axis_y) + np.float32(0.5), 0, 1)

    # Where a ray along z meets the cylinder: (1 - uz^2) z^2 - 2 q uz z + x^2 + y^2 - q^2 - r^2 = 0, q = along.
    radius_square, along_square = radius * radius, along * along
    square = max(1 - unit_z**2, np.float32(1e-3))
    rest = x * x + y * y - along_square - radius_square
    root = np.sqrt(np.maximum(along_square * unit_z**2 - square * rest, 0))
    cylinder_z = (along * unit_z - root) / square
    # Beyond its ends the cylinder becomes a sphere around the end.
    share = np.clip((along + cylinder_z * unit_z) / length, 0, 1)
    across_x, across_y = x - share * axis_x, y - share * axis_y
    toward = np.sqrt(np.maximum(radius_square - across_x * across_x - across_y * across_y, 0))
    depth = (share * axis_z + np.float32(z0) - toward) * np.float32(flat.m_per_px[number])
    depth += np.float32(flat.middle_m[number])

    area = (slice(top, bottom), slice(left, right))
    # Thin rims only show where nothing solid is.
    depth[coverage < 0.5] += 100
    nearer = (depth < surface.depth_m[area]) & (coverage > 0)
    np.maximum(surface.coverage[area], coverage, out=surface.coverage[area])
    np.copyto(surface.depth_m[area], depth, where=nearer)
    np.copyto(surface.material[area], np.uint8(material), where=nearer)
    inverse = 1 / radius
    for channel, component in enumerate((across_x, across_y, -toward)):
        np.copyto(surface.normals[area][..., channel], component * inverse, where=nearer)


def _shade(surface: _Surface, to_light: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Linear colours, (h, w, 3). to_light, up: unit vectors in the camera's frame."""
    known = (surface.coverage > 0).astype(np.float32)
    # Rounding the creases between capsules makes one body of them; more so the larger it is drawn.
    rounding = 2 * round(0.012 * len(known)) + 1
    normals = cv2.blur(surface.normals, (rounding, rounding))
    normals /= np.sqrt(np.einsum("hwc,hwc->hw", normals, normals))[..., None] + np.float32(1e-6)
    facing = normals @ to_light.astype(np.float32)
    sky = normals @ up.astype(np.float32)
    # Light that wraps around: a large soft lamp, a bright ceiling and a dim floor.
    key = np.square(np.clip(facing * np.float32(0.62) + np.float32(0.38), 0, None))
    light = np.float32(1.05) * key + np.float32(0.40) + np.float32(0.20) * sky
    edge = np.clip(1 + normals[..., 2], 0, 1)
    light += np.float32(0.16) * edge * edge * edge
    # What lies behind its surroundings gets less light: armpits, between the legs, under the chin.
    depth = np.where(surface.depth_m > 50, surface.depth_m - 100, surface.depth_m)
    depth *= known
    window = (2 * round(0.022 * len(known)) + 1,) * 2
    around, share = cv2.blur(depth, window), cv2.blur(known, window)
    behind = np.clip(depth - around / np.maximum(share, 1e-3), 0, 0.15) * known
    light *= 1 - np.float32(2.4) * behind
    # Colours meet softly, but what is not drawn must not bleed in.
    colour = cv2.blur(COLOURS[surface.material] * known[..., None], (3, 3))
    return colour * (light / np.maximum(cv2.blur(known, (3, 3)), 0.05))[..., None]


def draw_capsules(
    image: np.ndarray,
    camera: Camera,
    capsules: Capsules,
    camera_from_world: tuple[np.ndarray, np.ndarray],
    to_light_world: np.ndarray,
) -> None:
    """Draw capsules given in the world into `image`, (H, W, 3) uint8 BGR, in place.

    camera_from_world: rotation (3, 3) and translation (3,) m; to_light_world: (3,) unit vector; z of the world is up.
    Nothing is drawn when a capsule lies behind the camera or the body is outside the picture.
    """
    rotation, translation_m = camera_from_world
    ends_m = capsules.ends_m @ rotation.T + translation_m
    if ends_m[..., 2].min() < 0.2:
        return
    flat = _flatten(camera, ends_m, capsules.radii_m)
    reach = flat.radii_px[..., None]
    last_px = (np.array(image.shape[1::-1]) - 1) / COARSENESS
    least = np.clip(np.floor((flat.ends_px[..., :2] - reach).min(axis=(0, 1))) - 2, 0, last_px).astype(int)
    most = np.clip(np.ceil((flat.ends_px[..., :2] + reach).max(axis=(0, 1))) + 2, 0, last_px).astype(int)
    width, height = most - least + 1
    if width < 3 or height < 3:
        return
    surface = _Surface(
        depth_m=np.full((height, width), EMPTY_DEPTH_M, dtype=np.float32),
        coverage=np.zeros((height, width), dtype=np.float32),
        material=np.zeros((height, width), dtype=np.uint8),
        normals=np.zeros((height, width, 3), dtype=np.float32),
    )
    for number, material in enumerate(capsules.material):
        _draw(surface, flat, number, int(material), least)
    colours = display_bgr(_shade(surface, rotation @ to_light_world, rotation[:, 2]))
    _paste(image, colours, surface.coverage, least)


def _paste(image: np.ndarray, colours: np.ndarray, coverage: np.ndarray, corner_px: np.ndarray) -> None:
    """Enlarge the drawing and lay it over the image."""
    left, top = (int(np.ceil(v * COARSENESS)) for v in corner_px)
    height, width = coverage.shape
    right = min(int((corner_px[0] + width - 1) * COARSENESS), image.shape[1] - 1)
    bottom = min(int((corner_px[1] + height - 1) * COARSENESS), image.shape[0] - 1)
    # Pixel centres at integers in both: drawing = picture / COARSENESS - corner.
    onto = np.array(
        [[1 / COARSENESS, 0, left / COARSENESS - corner_px[0]], [0, 1 / COARSENESS, top / COARSENESS - corner_px[1]]]
    )
    size = (right - left + 1, bottom - top + 1)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    large = cv2.warpAffine(colours, onto, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    outline = cv2.warpAffine(coverage, onto, size, flags=flags)
    # Enlarging has made the outline softer than a pixel: steepen it again.
    outline = np.clip((outline - 0.5) * COARSENESS + 0.5, 0, 1)
    target = image[top : bottom + 1, left : right + 1]
    target[:] = cv2.blendLinear(large, np.ascontiguousarray(target), outline, 1 - outline)
