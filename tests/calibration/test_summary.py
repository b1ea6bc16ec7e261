"""The rig in words: figures from closed form, and a warning for each thing that looks wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from binopose.calibration.rig import Camera, RigidTransform, StereoRig
from binopose.calibration.rig_import import import_rig
from binopose.calibration.summary import depth_error_m, rig_summary
from scipy.spatial.transform import Rotation


def rig_of(
    centre_m: tuple[float, float, float] = (0.2, 0.0, 0.0),
    turn_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    focal_px: tuple[float, float] = (800.0, 800.0),
    middle_px: tuple[float, float] = (320.0, 240.0),
    world: bool = False,
) -> StereoRig:
    camera = Camera((641, 481), np.array([[focal_px[0], 0, middle_px[0]], [0, focal_px[1], middle_px[1]], [0, 0, 1]]))
    pose = RigidTransform(Rotation.from_rotvec(turn_deg, degrees=True).as_matrix(), np.array(centre_m))
    in_world = RigidTransform(np.eye(3), np.array([1.25, -3.5, 0.75])) if world else None
    return StereoRig(camera, camera, pose.inverse(), in_world, {"board": "9x6"})


@pytest.mark.parametrize("distance_m", [0.7, 2.0, 5.0])
def test_depth_error_is_what_one_pixel_does(distance_m: float) -> None:
    """Z = f B / d; half a pixel more and half a pixel less of disparity."""
    disparity_px = 800 * 0.2 / distance_m
    expected_m = 800 * 0.2 * (1 / (disparity_px - 0.05) - 1 / (disparity_px + 0.05))
    assert depth_error_m(rig_of(), distance_m, 0.1) == pytest.approx(expected_m, rel=1e-4)


def test_convergent_rig_has_the_depth_error_of_its_whole_baseline() -> None:
    rig = rig_of((2.6, 0.1, 1.1), (0.0, -47.0, 0.0))
    assert depth_error_m(rig, 3.0) == pytest.approx(9 / (800 * np.linalg.norm([2.6, 0.1, 1.1])))


def test_figures_of_a_plain_rig() -> None:
    text = rig_summary(rig_of((0.2, -0.01, 0.02), (0, -5, 0), world=True))
    horizontal, vertical = np.rad2deg(2 * np.arctan([320 / 800, 240 / 800]))
    assert text.count(f" {horizontal:.1f} x {vertical:.1f} degrees") == 2
    assert f"baseline {1e3 * np.linalg.norm([0.2, 0.01, 0.02]):.1f} mm" in text
    assert "x +200, y -10, z +20 mm" in text
    assert "angle between the optical axes 5.0 degrees" in text
    assert "both pictures are rectified" in text
    assert re.search(r"world frame.*1\.25.*-3\.5.*0\.75", text)
    assert "board: 9x6" in text
    assert "look at this" not in text


def test_depth_errors_grow_with_the_square_of_the_distance() -> None:
    text = rig_summary(rig_of())
    shown = {float(z): float(error) for error, z in re.findall(r"([\d.e+]+) mm at (\d+) m", text)}
    assert set(shown) == {1.0, 2.0, 3.0, 5.0}
    for distance_m, error_mm in shown.items():
        assert error_mm == pytest.approx(distance_m**2 / (800 * 0.2) * 1e3, rel=0.05)


@pytest.mark.parametrize("baseline_m", [0.05, 0.2, 3.0])
def test_errors_are_written_as_people_write_numbers(baseline_m: float) -> None:
    line = next(line for line in rig_summary(rig_of((baseline_m, 0, 0))).splitlines() if line.startswith("depth error"))
    assert "e+" not in line, line


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"centre_m": (83.0, 0.0, 0.0)}, "unit of the calibration"),
        ({"centre_m": (0.0083, 0.0, 0.0)}, "unit of the calibration"),
        ({"centre_m": (-0.2, 0.0, 0.0)}, "exchanged"),
        ({"centre_m": (0.2, 0.0, 0.3)}, "in front of the other"),
        ({"focal_px": (800.0, 600.0)}, "not square"),
        ({"middle_px": (20.0, 240.0)}, "principal point"),
        ({"middle_px": (320.0, 440.0)}, "principal point"),
    ],
)
def test_what_looks_wrong_is_said(changes: dict, told: str) -> None:
    warnings = [line for line in rig_summary(rig_of(**changes)).splitlines() if line.startswith("look at this")]
    assert warnings
    assert all(told in line for line in warnings), warnings


def test_real_convergent_rig(shared_data: Path) -> None:
    path = shared_data / "stereo" / "pose2sim-single-person" / "calibration" / "Calib.qca.txt"
    text = rig_summary(import_rig([path], "cam01", "cam02"))
    shown = re.search(r"baseline ([\d.]+) mm", text)
    assert shown is not None
    assert float(shown.group(1)) == pytest.approx(2854, abs=1)
    assert "pictures stay as recorded" in text
    assert "look at this" not in text


def test_real_poor_calibration_is_suspect(shared_data: Path) -> None:
    """Its right camera has fx 1017 against fy 871."""
    folder = shared_data / "stereo" / "webcam-swing-poor-calibration" / "camera_parameters"
    text = rig_summary(import_rig([folder], metres_per_unit=0.01, size_px=(1920, 1080)))
    assert "right camera's pixels are not square (fx / fy = 1.17)" in text
