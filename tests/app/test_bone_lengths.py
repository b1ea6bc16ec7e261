"""Bone lengths of the person in a run: kept after a second, given by a file, doubted, and said."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from binopose.app.bone_lengths import (
    add_skeleton_options,
    check_skeleton_options,
    held_lengths_m,
    lengths_summary,
    save_learnt,
)
from binopose.app.simulation.virtual_rig import virtual_rig
from binopose.calibration.errors import UserError
from binopose.calibration.rectify import Rectifier
from binopose.engines.denoiser import Denoiser, LengthLearner, NoDenoiser, SkeletonDenoiser
from binopose.models.bone_lengths import segment_names, segments_of
from binopose.models.pose import Pose2D, Pose3D
from binopose.models.skeleton import BODY17
from binopose.models.skeleton_file import PersonLengths, load_lengths, save_lengths

POSE_M = np.random.default_rng(12).normal((0, 0, 3), 0.2, (17, 3))
RIG = Rectifier(virtual_rig()).rig
NOTHING = Pose2D(np.full((17, 2), np.nan), np.zeros(17), BODY17)


def watch(denoiser: Denoiser, size: float, begin_s: float, end_s: float) -> None:
    """Show somebody of this size, 30 times a second."""
    for time_s in np.arange(begin_s, end_s, 1 / 30):
        raw = Pose3D(POSE_M * size, np.full(17, 0.9), np.full((17, 3), 0.02), BODY17, float(time_s))
        denoiser.denoise(RIG, NOTHING, NOTHING, raw)


def lengths_m(denoiser: Denoiser) -> np.ndarray:
    assert isinstance(denoiser, LengthLearner)
    return denoiser.lengths.median_m


def options(*arguments: str, denoiser: str = "skeleton") -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_skeleton_options(parser)
    return argparse.Namespace(**vars(parser.parse_args(arguments)), denoiser=denoiser)


def test_lengths_are_kept_after_a_second() -> None:
    locked, free = SkeletonDenoiser(lock_after_s=1.0), SkeletonDenoiser()
    for denoiser in (locked, free):
        watch(denoiser, 1.0, 5.0, 6.1)
    learnt_m = lengths_m(locked)
    for denoiser in (locked, free):
        watch(denoiser, 1.2, 6.1, 9.0)
    np.testing.assert_array_equal(lengths_m(locked), learnt_m)
    assert np.nanmin(lengths_m(free) / learnt_m) > 1.1
    locked.reset()
    watch(locked, 1.3, 20.0, 21.5)
    assert np.nanmin(lengths_m(locked) / learnt_m) > 1.25, "another person has a second of its own"


def test_given_lengths_outlive_a_reset() -> None:
    held_m = np.full(segments_of(BODY17).groups, 0.3)
    denoiser = SkeletonDenoiser(held_m)
    watch(denoiser, 1.0, 0.0, 1.0)
    denoiser.reset()
    np.testing.assert_array_equal(lengths_m(denoiser), held_m)
    kept_m = held_lengths_m(denoiser)
    assert kept_m is not None
    np.testing.assert_array_equal(kept_m, held_m)


def test_lengths_that_do_not_fit_are_doubted() -> None:
    denoiser = SkeletonDenoiser(lock_after_s=1.0)
    watch(denoiser, 1.0, 0.0, 1.1)
    figures, doubts = lengths_summary(denoiser)
    assert figures is not None
    assert "Knee_Hip" in figures["held"]
    knee, hip = BODY17.index("RightKnee"), BODY17.index("RightHip")
    other_knee, other_hip = BODY17.index("LeftKnee"), BODY17.index("LeftHip")
    thighs_m = [np.linalg.norm(POSE_M[a] - POSE_M[b]) for a, b in ((knee, hip), (other_knee, other_hip))]
    assert min(thighs_m) - 0.002 <= figures["m"]["Knee_Hip"] <= max(thighs_m) + 0.002
    assert not doubts
    watch(denoiser, 1.2, 1.1, 5.0)
    (doubt,) = lengths_summary(denoiser)[1]
    assert "do not fit" in doubt


def test_without_a_skeleton_there_are_no_lengths() -> None:
    assert lengths_summary(NoDenoiser()) == (None, [])
    assert held_lengths_m(NoDenoiser()) is None


def test_saved_lengths_are_those_seen(tmp_path: Path) -> None:
    denoiser = SkeletonDenoiser(np.full(segments_of(BODY17).groups, 0.3))
    watch(denoiser, 1.0, 0.0, 1.0)
    save_learnt(tmp_path / "me.toml", denoiser, "blazepose")
    saved = load_lengths(tmp_path / "me.toml")
    assert saved.detector == "blazepose"
    assert np.nanmax(np.abs(saved.lengths_m - 0.3)) > 0.02


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    assert check_skeleton_options(options()) is None
    with pytest.raises(UserError, match=r"--lock-skeleton needs .*, found --denoiser off"):
        check_skeleton_options(options("--lock-skeleton", denoiser="off"))
    with pytest.raises(UserError, match="no such folder"):
        check_skeleton_options(options("--save-skeleton", str(tmp_path / "no" / "me.toml")))
    with pytest.raises(UserError, match="no such file"):
        check_skeleton_options(options("--skeleton", str(tmp_path / "me.toml")))
    save_lengths(tmp_path / "me.toml", PersonLengths(np.full(len(segment_names(BODY17)), 0.3), "blazepose"))
    person = check_skeleton_options(options("--skeleton", str(tmp_path / "me.toml")))
    assert person is not None
    np.testing.assert_allclose(person.lengths_m, 0.3)
