"""Judging a rig by people: right, turned, out of step and exchanged rigs, and a person whose truth is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from binopose.app.simulation.motion import SimulatedPerson
from binopose.app.simulation.virtual_rig import virtual_rig
from binopose.calibration.people import PeopleTrack, check_rig, refine_rig, time_offset
from binopose.calibration.rectify import Rectifier
from binopose.calibration.rig import RigError, RigidTransform, StereoRig

RATE = 30.0
NOISE_PX = 1.0


def track(rig: StereoRig, seconds: float = 8.0, right_late_s: float = 0.0, noise_px: float = NOISE_PX) -> PeopleTrack:
    """A walking person filmed by `rig`; the right camera exposes `right_late_s` before its time stamp says."""
    person = SimulatedPerson()
    assert rig.world_from_left is not None
    left_from_world = rig.world_from_left.inverse()
    stamps_s = np.arange(round(seconds * RATE)) / RATE
    left_m = left_from_world.apply(person.pose_at(stamps_s))
    right_m = rig.right_from_left.apply(left_from_world.apply(person.pose_at(stamps_s - right_late_s)))
    points_px = np.stack([rig.left.px_from_camera(left_m), rig.right.px_from_camera(right_m)], axis=1)
    noise = np.random.default_rng(3).normal(0, noise_px, points_px.shape)
    return PeopleTrack(stamps_s, points_px + noise)


def turned(rig: StereoRig, degrees: tuple[float, float, float]) -> StereoRig:
    """The rig as a file would have it after somebody turned the right camera: centre kept."""
    rotation = cv2.Rodrigues(np.deg2rad(degrees))[0] @ rig.right_from_left.rotation
    moved = RigidTransform(rotation, -rotation @ rig.right_centre_m)
    return StereoRig(rig.left, rig.right, moved, rig.world_from_left)


def test_a_true_rig_is_good_and_its_noise_is_the_detectors() -> None:
    found = check_rig(virtual_rig(), track(virtual_rig()))
    assert found.verdict == "good"
    # Two views of one pixel each; rectification hardly scales these pictures.
    assert found.noise_px == pytest.approx(np.sqrt(2) * NOISE_PX, rel=0.1)
    assert found.time_offset_s is None
    assert found.behind == 0


def test_a_camera_turned_by_half_a_degree_is_noticed_and_by_five_refused() -> None:
    rig = virtual_rig()
    focal_px = Rectifier(rig).rig.focal_px
    half = check_rig(turned(rig, (0.5, 0, 0)), track(rig))
    assert half.verdict == "usable"
    assert abs(half.bias_px) == pytest.approx(focal_px * np.deg2rad(0.5), rel=0.15)
    assert "steady" in " ".join(half.reasons)
    five = check_rig(turned(rig, (5.0, 0, 0)), track(rig))
    assert five.verdict == "refused"
    assert "does not fit" in five.reasons[0]


def test_roll_is_seen_although_it_moves_top_and_bottom_opposite_ways() -> None:
    rig = virtual_rig()
    found = check_rig(turned(rig, (0, 0, 3.0)), track(rig))
    assert found.verdict != "good"
    assert found.systematic_px > 3 * NOISE_PX


@pytest.mark.parametrize("late_s", [0.04, -0.06, 0.1])
def test_a_late_view_is_measured_to_a_few_milliseconds(late_s: float) -> None:
    found = check_rig(virtual_rig(), track(virtual_rig(), right_late_s=late_s))
    assert found.time_offset_s == pytest.approx(late_s, abs=0.008)
    assert found.noise_without_offset_px < found.noise_px
    assert found.verdict == "usable"
    assert "not synchronised" in " ".join(found.reasons)


def test_no_offset_is_invented_for_somebody_who_stands_still() -> None:
    still = track(virtual_rig())
    points_px = still.points_px[:1] + np.random.default_rng(0).normal(0, NOISE_PX, still.points_px.shape)
    rectifier = Rectifier(virtual_rig())
    rectified_px = np.stack([rectifier.rectified_px(view, points_px[:, view]) for view in (0, 1)], axis=1)
    # Averaging two frames takes noise off, and must not pass for an offset.
    assert time_offset(still.timestamp_s, rectified_px)[0] is None


def test_exchanged_views_are_refused_as_such() -> None:
    right_way = track(virtual_rig())
    found = check_rig(virtual_rig(), PeopleTrack(right_way.timestamp_s, right_way.points_px[:, ::-1]))
    assert found.verdict == "refused"
    assert "exchanged" in found.reasons[0]


def test_drift_has_its_rate() -> None:
    film = track(virtual_rig(), seconds=10)
    film.points_px[:, 0, :, 1] += 0.8 * film.timestamp_s[:, None]
    scale = Rectifier(virtual_rig()).rig.focal_px / virtual_rig().left.matrix[1, 1]
    assert check_rig(virtual_rig(), film).trend_px_per_s == pytest.approx(0.8 * scale, rel=0.1)


def test_refining_turns_the_camera_back() -> None:
    rig = virtual_rig()
    bent = turned(rig, (0.6, 0, -0.5))
    refinement = refine_rig(bent, track(rig, seconds=20))
    assert refinement.after_px < 0.3 * refinement.before_px
    assert refinement.rig.baseline_m == pytest.approx(rig.baseline_m, rel=1e-9)
    np.testing.assert_allclose(refinement.rig.right_centre_m, rig.right_centre_m, atol=1e-9)
    back = refinement.rig.right_from_left.rotation @ rig.right_from_left.rotation.T
    roll_deg = np.rad2deg(cv2.Rodrigues(back)[0].reshape(3))[2]
    assert abs(roll_deg) < 0.1


def test_too_little_of_anybody_is_said() -> None:
    film = track(virtual_rig())
    film.points_px[8:] = np.nan
    with pytest.raises(RigError, match="8 pairs only"):
        check_rig(virtual_rig(), film)
    with pytest.raises(RigError, match="too few"):
        refine_rig(virtual_rig(), PeopleTrack(film.timestamp_s[:2], film.points_px[:2]))
