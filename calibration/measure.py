"""What a solved rig is worth: residuals, coverage, lengths measured back, and errors to expect in the room."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .bundle import Fit, moved, points_in_camera
from .lens import camera_from
from .one_camera import round_trip_px
from .rig import RigError, StereoRig, rotation_angle_rad
from .solve import RigFit
from .triangulate import triangulate_dlt
from .uncertainty import Uncertainty, estimate_uncertainty

# Cells of the picture a corner should have been in, along each side.
COVERAGE_CELLS = 6
DEPTHS_M = (1.0, 2.0, 3.0, 5.0)


@dataclass(frozen=True, slots=True)
class CameraMeasures:
    """One camera.

    focal_px, focal_sd_px, centre_px: x and y; rms_px: fitted alone; pictures: that count; coverage: (cells, cells)
    corners counted in each cell of the picture; border_one_to_one: share of the picture's border where the lens maps
    one direction to one pixel.
    """

    focal_px: np.ndarray
    focal_sd_px: np.ndarray
    centre_px: np.ndarray
    distortion: np.ndarray
    rms_px: float
    pictures: int
    coverage: np.ndarray
    border_one_to_one: float

    @property
    def covered(self) -> float:
        """Share of the picture's cells in which a corner was seen."""
        return float((self.coverage > 0).mean())


@dataclass(frozen=True, slots=True)
class BoardMeasures:
    """The boards triangulated with the solved rig, each pair by itself.

    scale: measured over nominal length between corners at opposite ends of rows and columns; length_sd_m: spread of a
    square's side; flatness_m: RMS distance of the corners from their plane.
    """

    scale: float
    length_sd_m: float
    flatness_m: float


@dataclass(frozen=True, slots=True)
class DepthError:
    """Expected depth error of a point straight ahead at `depth_m`.

    calibration_m: standard deviation that comes from the rig being known only so well, the same for every frame;
    per_pixel_m: per pixel of noise in every coordinate of a detected point. None where not in both pictures.
    """

    depth_m: float
    calibration_m: float | None
    per_pixel_m: float | None


@dataclass(frozen=True, slots=True)
class RigMeasures:
    """All numbers of a calibration.

    stereo_rms_px: root mean square distance of the corners of the used pairs; epipolar_*_px: distance of a corner from
    the line its partner defines; tilt_deg: largest angle between two boards; board_distance_m: nearest and farthest;
    right_side_m: how far to the left camera's right the right camera stands, negative on its left.
    """

    stereo_rms_px: float
    epipolar_mean_px: float
    epipolar_median_px: float
    epipolar_max_px: float
    baseline_m: float
    angle_rad: float
    uncertainty: Uncertainty
    cameras: tuple[CameraMeasures, CameraMeasures]
    boards: BoardMeasures
    tilt_deg: float
    board_distance_m: tuple[float, float]
    depth_errors: tuple[DepthError, ...]
    right_side_m: float


def measure(found: RigFit, rig: StereoRig) -> RigMeasures:
    """Measure a solved rig. rig: `found.rig`."""
    robust, fit = found.robust, found.robust.fit
    left_views, right_views = (views[found.used] for views in found.pair_views())
    errors = robust.errors_px()
    uncertainty = estimate_uncertainty(robust)
    epipolar = epipolar_px(found, rig)
    normals = fit.pose_rotations[: len(found.used)][found.used][:, :, 2]
    cosines = np.clip(normals @ normals.T, -1, 1)
    in_left = points_in_camera(fit, robust.seen, left_views).mean(axis=1)
    distances = np.linalg.norm(in_left, axis=1)
    return RigMeasures(
        stereo_rms_px=float(np.sqrt(np.nanmean(errors[np.concatenate([left_views, right_views])] ** 2))),
        epipolar_mean_px=float(np.mean(epipolar)),
        epipolar_median_px=float(np.median(epipolar)),
        epipolar_max_px=float(np.max(epipolar)),
        baseline_m=rig.baseline_m,
        angle_rad=rotation_angle_rad(fit.rotation),
        uncertainty=uncertainty,
        cameras=(_measure_camera(found, rig, 0, uncertainty), _measure_camera(found, rig, 1, uncertainty)),
        boards=measure_boards(found, rig),
        tilt_deg=float(np.rad2deg(np.arccos(cosines.min()))),
        board_distance_m=(float(distances.min()), float(distances.max())),
        depth_errors=tuple(_depth_error(fit, rig, uncertainty, depth_m) for depth_m in DEPTHS_M),
        right_side_m=float(rig.right_centre_m[0]),
    )


def _unit_rays(rays: np.ndarray) -> np.ndarray:
    """Normalised coordinates (..., 2) to unit vectors (..., 3)."""
    full = np.concatenate([rays, np.ones((*rays.shape[:-1], 1))], axis=-1)
    return full / np.linalg.norm(full, axis=-1, keepdims=True)


def pair_corners_px(found: RigFit) -> tuple[np.ndarray, np.ndarray]:
    """Trusted corners of the used pairs that both views see, (K, N, 2) each; NaN elsewhere."""
    left, right = (found.robust.seen.corners_px[views[found.used]] for views in found.pair_views())
    both = np.isfinite(left[..., :1]) & np.isfinite(right[..., :1])
    return np.where(both, left, np.nan), np.where(both, right, np.nan)


def epipolar_px(found: RigFit, rig: StereoRig) -> np.ndarray:
    """Distance of corners from their partner's epipolar line, both pictures, lens distortion taken out, flat array.

    A pinhole lens: in undistorted pixels, point to line. Fisheye: the angle to the epipolar plane times the focal
    length, since the undistorted plane has no edge.
    """
    left_px, right_px = pair_corners_px(found)
    rays = [camera.rays_from_px(px) for camera, px in ((rig.left, left_px), (rig.right, right_px))]
    unit = [_unit_rays(ray) for ray in rays]
    rotation, translation_m = rig.right_from_left.rotation, rig.right_from_left.translation_m
    # Normals of the epipolar planes, in each camera's own frame.
    normal_right = np.cross(translation_m, unit[0] @ rotation.T)
    normal_left = np.cross(rig.right_centre_m, unit[1] @ rotation)
    distances = []
    for camera, flat, direction, normal in (
        (rig.left, rays[0], unit[0], normal_left), (rig.right, rays[1], unit[1], normal_right)
    ):  # fmt: skip
        if camera.model == "fisheye":
            sine = np.sum(direction * normal, axis=-1) / np.linalg.norm(normal, axis=-1)
            distances.append(np.abs(np.arcsin(np.clip(sine, -1, 1))) * camera.matrix[0, 0])
            continue
        line = normal @ np.linalg.inv(camera.matrix)  # from K^-T n, row by row
        pixels = np.concatenate([flat, np.ones((*flat.shape[:-1], 1))], axis=-1) @ camera.matrix.T
        distances.append(np.abs(np.sum(line * pixels, axis=-1)) / np.linalg.norm(line[..., :2], axis=-1))
    values = np.concatenate([d.ravel() for d in distances])
    return values[np.isfinite(values)]


def triangulate_px(rig: StereoRig, left_px: np.ndarray, right_px: np.ndarray) -> np.ndarray:
    """Points of the left camera's frame in metres from recorded pixels. (..., 2) each -> (..., 3); NaN stays NaN."""
    rays = np.stack([rig.left.rays_from_px(left_px), rig.right.rays_from_px(right_px)]).reshape(2, -1, 2)
    known = np.isfinite(rays).all(axis=(0, 2))
    second = np.concatenate([rig.right_from_left.rotation, rig.right_from_left.translation_m[:, None]], axis=1)
    points_m = np.full((rays.shape[1], 3), np.nan)
    if known.any():
        points_m[known] = triangulate_dlt(np.stack([np.eye(3, 4), second]), rays[:, known])
    return points_m.reshape((*left_px.shape[:-1], 3))


def measure_boards(found: RigFit, rig: StereoRig) -> BoardMeasures:
    """Triangulate the boards of the used pairs and compare with what was printed."""
    board = found.corners.board
    points_m = triangulate_px(rig, *pair_corners_px(found)).reshape(-1, board.rows, board.columns, 3)
    across = np.linalg.norm(points_m[:, :, -1] - points_m[:, :, 0], axis=-1) / (board.columns - 1)
    down = np.linalg.norm(points_m[:, -1] - points_m[:, 0], axis=-1) / (board.rows - 1)
    sides = np.concatenate([
        np.linalg.norm(np.diff(points_m, axis=axis), axis=-1).ravel() for axis in (1, 2)
    ])  # fmt: skip
    lengths = np.concatenate([across.ravel(), down.ravel()])
    # A charuco board is often seen in part; then its single squares are what is left to measure.
    measured = lengths if np.isfinite(lengths).sum() >= 10 else sides
    off_plane = []
    for grid in points_m:
        flat = grid.reshape(-1, 3)
        flat = flat[np.isfinite(flat).all(axis=1)]
        if len(flat) > 3:
            centred = flat - flat.mean(axis=0)
            off_plane.append(centred @ np.linalg.svd(centred, full_matrices=False)[2][2])
    return BoardMeasures(
        scale=float(np.nanmean(measured) / board.square_m),
        length_sd_m=float(np.nanstd(sides)),
        flatness_m=float(np.sqrt(np.mean(np.concatenate(off_plane) ** 2))),
    )


def _measure_camera(found: RigFit, rig: StereoRig, number: int, uncertainty: Uncertainty) -> CameraMeasures:
    camera, alone = (rig.left, rig.right)[number], found.cameras[number]
    width, height = camera.size_px
    corners = found.robust.seen.corners_px[found.robust.seen.camera == number].reshape(-1, 2)
    corners = corners[np.isfinite(corners[:, 0])]
    cells = np.clip((corners / [width, height] * COVERAGE_CELLS).astype(int), 0, COVERAGE_CELLS - 1)
    coverage = np.zeros((COVERAGE_CELLS, COVERAGE_CELLS), dtype=int)
    np.add.at(coverage, (cells[:, 1], cells[:, 0]), 1)
    step = np.linspace(0, 1, 25)
    border = np.concatenate([np.stack([step, 0 * step], 1), np.stack([step, 0 * step + 1], 1),
                             np.stack([0 * step, step], 1), np.stack([0 * step + 1, step], 1)])  # fmt: skip
    one_to_one = 1.0
    if camera.model == "pinhole":
        one_to_one = float((round_trip_px(camera, border * [width - 1, height - 1]) < 0.5).mean())
    return CameraMeasures(
        focal_px=camera.matrix[[0, 1], [0, 1]],
        focal_sd_px=uncertainty.focal_px[number],
        centre_px=camera.matrix[:2, 2],
        distortion=camera.distortion,
        rms_px=float(np.sqrt(np.nanmean(alone.robust.errors_px() ** 2))),
        pictures=int(alone.used.sum()),
        coverage=coverage,
        border_one_to_one=one_to_one,
    )


def _rig_of(fit: Fit, like: StereoRig) -> StereoRig:
    left, right = (
        camera_from(fit.lenses[k], fit.intrinsics[k], camera.size_px)
        for k, camera in enumerate((like.left, like.right))
    )
    turned = replace(like.right_from_left, rotation=fit.rotation, translation_m=fit.translation_m)
    return StereoRig(left, right, turned)


def _depth_error(fit: Fit, rig: StereoRig, uncertainty: Uncertainty, depth_m: float) -> DepthError:
    """First-order depth errors of the point straight ahead of the middle between the cameras."""
    ahead = np.array([0.0, 0.0, 1.0]) + rig.right_from_left.rotation.T[:, 2]
    ahead /= np.linalg.norm(ahead)
    point_m = rig.right_centre_m / 2 + ahead * depth_m
    pixels = [
        rig.left.px_from_camera(point_m[None]), rig.right.px_from_camera(rig.right_from_left.apply(point_m[None]))
    ]  # fmt: skip
    for px, camera in zip(pixels, (rig.left, rig.right), strict=True):
        if not (np.isfinite(px).all() and (px >= -0.5).all() and (px <= np.array(camera.size_px) - 0.5).all()):
            return DepthError(depth_m, None, None)

    def depth(rig_used: StereoRig, shift_px: np.ndarray) -> float:
        return float(triangulate_px(rig_used, pixels[0] + shift_px[:2], pixels[1] + shift_px[2:])[0] @ ahead)

    per_pixel = np.linalg.norm([
        (depth(rig, 0.5 * axis) - depth(rig, -0.5 * axis)) for axis in np.eye(4)
    ])  # fmt: skip
    values, vectors = np.linalg.eigh(uncertainty.shared)
    still = np.zeros((len(fit.pose_rotations), 6))
    variance = 0.0
    for value, vector in zip(values, vectors.T, strict=True):
        if value <= 0:
            continue
        # A tenth of a standard deviation keeps the lens valid and the step inside the linear range.
        step = 0.1 * np.sqrt(value) * vector
        try:
            change = [depth(_rig_of(moved(fit, sign * step, still), rig), np.zeros(4)) for sign in (1, -1)]
        except RigError:
            return DepthError(depth_m, None, float(per_pixel))
        variance += ((change[0] - change[1]) / 0.2) ** 2
    # A lens so uncertain that the pixel has no ray any more: nothing can be said.
    calibration_m = float(np.sqrt(variance)) if np.isfinite(variance) else None
    return DepthError(depth_m, calibration_m, float(per_pixel))
