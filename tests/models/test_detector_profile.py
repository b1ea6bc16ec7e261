"""Profiles as files, and what they do to detections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from binopose.calibration.rectify import RectifiedRig
from binopose.calibration.rig import Camera, RigidTransform, StereoRig
from binopose.calibration.triangulate import project, triangulate
from binopose.models.detector_profile import DetectorProfile, ProfileError, load_profile, save_profile
from binopose.models.epipolar import RowStatistics
from binopose.models.pose import Pose2D
from binopose.models.skeleton import BODY17

PELVIS, NECK = BODY17.index("Pelvis"), BODY17.index("Neck")
RIG = RectifiedRig(900.0, 640.0, 600.0, 360.0, 0.5, np.eye(3), np.eye(3))


def profile() -> DetectorProfile:
    """As one might be learnt: nothing known of the neck, the pelvis too high."""
    row_noise, freedom = np.linspace(0.005, 0.02, 17), np.linspace(3.0, 20.0, 17)
    row_noise[NECK] = freedom[NECK] = np.nan
    offset = np.zeros((17, 3))
    offset[PELVIS] = [0.0, 0.2, 0.05]
    learnt_from = {"frames": 900, "independent_moments": 60, "recordings": ["left.mp4", "right.mp4"]}
    return DetectorProfile("some-detector", row_noise, freedom, offset, 0.5, 3.0, learnt_from, {"bones": {}})


def standing_m() -> np.ndarray:
    """A person seen from the front at 3 m, y down; only trunk and pelvis matter."""
    points_m = np.full((17, 3), [0.0, 0.0, 3.0])
    for side, x in (("Right", -0.1), ("Left", 0.1)):
        points_m[BODY17.index(side + "Hip")] = [x, 0.0, 3.0]
        points_m[BODY17.index(side + "Shoulder")] = [1.6 * x, -0.5, 3.0]
    return points_m


def stereo_rig(baseline_m: float, yaw_deg: float) -> StereoRig:
    camera = Camera((1280, 720), np.array([[900.0, 0, 640], [0, 900.0, 360], [0, 0, 1]]))
    cosine, sine = np.cos(np.deg2rad(yaw_deg)), np.sin(np.deg2rad(yaw_deg))
    rotation = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    return StereoRig(camera, camera, RigidTransform(rotation, -rotation @ np.array([baseline_m, 0, 0])))


def test_a_file_holds_everything(tmp_path: Path) -> None:
    save_profile(tmp_path / "new folder" / "profile.toml", profile())
    found = load_profile(tmp_path / "new folder" / "profile.toml")
    np.testing.assert_allclose(found.row_noise, profile().row_noise, atol=1e-5)
    np.testing.assert_allclose(found.freedom, profile().freedom, atol=0.01)
    np.testing.assert_allclose(found.definition_offset, profile().definition_offset, atol=1e-4)
    assert (found.detector, found.baseline_m, found.axes_deg) == ("some-detector", 0.5, 3.0)
    assert found.learnt_from == profile().learnt_from
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["profile.toml"]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('format = "binopose-detector-profile"', 'format = "binopose-rig"', "format: expected 'binopose-detector-prof"),
        ("version = 1", "version = 2", "version: expected 1, found 2"),
        ("[joints.RightAnkle]", "[joints.RightToe]", "joints.RightToe: no such joint; expected one of RightAnkle"),
        ("row_noise = 0.005", "row_noise = 7", "joints.RightAnkle.row_noise: expected a number from 0 to 0.5, found 7"),
        ("row_noise = 0.005", "noise = 0.005", "joints.RightAnkle.noise: no such key; expected row_noise"),
        ("freedom = 3.0", 'freedom = "heavy"', "joints.RightAnkle.freedom: expected a number from 1 to 100"),
        ("0.2,", "2.0,", "joints.Pelvis.definition_offset: expected three numbers of at most 1"),
        ("0.2,", "nan,", "joints.Pelvis.definition_offset: expected three numbers of at most 1"),
        ("0.2,", "true,", "joints.Pelvis.definition_offset: expected three numbers of at most 1"),
        ("baseline_m = 0.5", "baseline = 0.5", "rig.baseline_m: expected a number from 0.001 to 1000, found None"),
        ("[rig]", "[camera]", "camera: no such key"),
    ],
)
def test_a_wrong_file_is_named_with_key_expected_and_found(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    path = tmp_path / "profile.toml"
    save_profile(path, profile())
    text = path.read_text()
    assert text.count(old), text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ProfileError) as error:
        load_profile(path)
    assert str(path) in str(error.value)
    assert complaint in str(error.value)


def test_a_file_that_is_not_there_or_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="no such file; expected a detector profile"):
        load_profile(tmp_path / "none.toml")
    (tmp_path / "file").write_text("")
    with pytest.raises(ProfileError, match="cannot be written"):
        save_profile(tmp_path / "file" / "profile.toml", profile())


def test_joints_are_put_back_in_both_views() -> None:
    """A pelvis seen 10 cm above and 2.5 cm before where it is."""
    truth_m, seen_m = standing_m(), standing_m()
    seen_m[PELVIS] += [0.0, -0.1, -0.025]
    left, right = (Pose2D(points_px, np.ones(17), BODY17) for points_px in project(RIG, seen_m))
    new_left, new_right = profile().corrected(RIG, left, right)
    np.testing.assert_allclose(triangulate(RIG, new_left.points_px, new_right.points_px), truth_m, atol=1e-9)
    nothing = replace(profile(), definition_offset=np.zeros((17, 3)))
    assert nothing.corrected(RIG, left, right) == (left, right)


def test_joints_stay_where_the_trunk_is_not_seen() -> None:
    seen_px = project(RIG, standing_m())
    seen_px[1, BODY17.index("LeftHip")] = np.nan
    left, right = (Pose2D(points_px, np.ones(17), BODY17) for points_px in seen_px)
    for view, corrected in zip((left, right), profile().corrected(RIG, left, right), strict=True):
        np.testing.assert_array_equal(corrected.points_px, view.points_px)


def test_known_noise_sets_what_is_out_of_the_usual() -> None:
    """At a height of 500 px: the right ankle is known to be steady (2.5 px), the nose is not (10 px)."""
    rows = RowStatistics(profile().rows)
    residual_px = np.full(17, 30.0)
    trust, excess_px = rows.trust(residual_px, 500.0), rows.excess_noise_px(residual_px, 500.0)
    nose = BODY17.index("Nose")
    assert rows.joint_noise_px(500.0)[[0, nose]] == pytest.approx([2.5, 10.0])
    assert trust[0] < 0.11 < 0.45 < trust[nose]
    # Student's t with 3 degrees of freedom: (3 * 2.5^2 + 30^2) / 4 - 2.5^2.
    assert excess_px[0] ** 2 == pytest.approx((3 * 2.5**2 + 900) / 4 - 2.5**2)
    assert excess_px[0] > 2 * excess_px[nose]
    # Of the neck nothing is known, nor has anything been seen: two per cent of the height.
    assert excess_px[NECK] ** 2 == pytest.approx((4 * 100 + 900) / 5 - 100)


@pytest.mark.parametrize(
    ("baseline_m", "yaw_deg", "alike"),
    [(0.5, 3, True), (0.7, 8, True), (0.8, 3, False), (0.5, 20, False)],
)
def test_a_profile_of_another_rig_says_so(baseline_m: float, yaw_deg: float, alike: bool) -> None:
    doubt = profile().doubts(stereo_rig(baseline_m, yaw_deg))
    assert (doubt == "") == alike
    assert alike or "--profile off" in doubt
