"""A rig in words and numbers that a person can check against the room."""

from __future__ import annotations

import numpy as np

from .rectify import Rectifier
from .rig import Camera, StereoRig

DISTANCES_M = (1.0, 2.0, 3.0, 5.0)


def depth_error_m(rig: StereoRig, distance_m: float, disparity_error_px: float = 1.0) -> float:
    """Expected depth error at a distance along the rectified axis: Z^2 / (f B) for each pixel of disparity error."""
    return distance_m**2 * disparity_error_px / (Rectifier(rig, "points").rig.focal_px * rig.baseline_m)


def _camera_line(name: str, camera: Camera) -> str:
    horizontal, vertical = np.rad2deg(camera.field_of_view_rad())
    matrix = camera.matrix
    return (
        f"{name:<6} {camera.size_px[0]} x {camera.size_px[1]}, {horizontal:.1f} x {vertical:.1f} degrees of view, "
        f"focal {matrix[0, 0]:.1f} / {matrix[1, 1]:.1f} px, centre {matrix[0, 2]:.1f} / {matrix[1, 2]:.1f} px, "
        f"{camera.model}, {camera.distortion.size} distortion terms"
    )


def _concerns(rig: StereoRig) -> list[str]:
    concerns = []
    if not 0.03 <= rig.baseline_m <= 10:
        concerns.append(
            f"a baseline of {rig.baseline_m * 1e3:.0f} mm is unusual: is the unit of the calibration right?"
        )
    x_m, y_m, z_m = rig.right_centre_m
    if x_m < 0 and abs(x_m) > abs(y_m):
        concerns.append("the right camera stands to the left of the left one: are the two exchanged?")
    if abs(z_m) > 0.5 * rig.baseline_m and rig.axes_angle_rad < np.deg2rad(10):
        concerns.append("one camera stands well in front of the other although both look the same way")
    for name, camera in (("left", rig.left), ("right", rig.right)):
        ratio = camera.matrix[0, 0] / camera.matrix[1, 1]
        if not 0.98 < ratio < 1.02:
            concerns.append(
                f"the {name} camera's pixels are not square (fx / fy = {ratio:.2f}): a stretched picture or a bad fit"
            )
        off = np.abs(camera.matrix[:2, 2] / camera.size_px - 0.5).max()
        if off > 0.15:
            concerns.append(f"the {name} camera's principal point lies {off:.0%} of the picture off its middle")
    return concerns


def rig_summary(rig: StereoRig) -> str:
    """Several lines: cameras, baseline, angle, how it is rectified, expected depth error, and what looks wrong."""
    rectifier = Rectifier(rig)
    x_m, y_m, z_m = rig.right_centre_m
    how = {
        "images": "both pictures are rectified (the cameras look the same way)",
        "points": "detections are rectified, pictures stay as recorded (the cameras converge, or see very wide)",
    }[rectifier.mode]
    errors = ", ".join(f"{depth_error_m(rig, z) * 1e3:.1f} mm at {z:.0f} m" for z in DISTANCES_M)
    lines = [
        _camera_line("left", rig.left),
        _camera_line("right", rig.right),
        f"baseline {rig.baseline_m * 1e3:.1f} mm; the right camera stands at x {x_m * 1e3:+.0f}, y {y_m * 1e3:+.0f}, "
        f"z {z_m * 1e3:+.0f} mm as the left one sees it (x right, y down, z forward)",
        f"angle between the optical axes {np.rad2deg(rig.axes_angle_rad):.1f} degrees",
        f"rectification: {how}",
        f"depth error for 1 px of disparity error: {errors}",
    ]
    if rig.world_from_left is not None:
        lines.append(f"world frame: the left camera stands at {np.round(rig.world_from_left.translation_m, 3)} m")
    lines += [f"{key}: {value}" for key, value in rig.provenance.items()]
    lines += [f"look at this: {concern}" for concern in _concerns(rig)]
    return "\n".join(lines)
