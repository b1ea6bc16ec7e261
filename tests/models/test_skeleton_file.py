"""Bone lengths that are held, and the file they are kept in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from binopose.models.bone_lengths import (
    LearntLengths,
    rigid_lengths_m,
    segment_names,
    segments_of,
    with_lengths,
)
from binopose.models.skeleton import BODY17
from binopose.models.skeleton_file import PersonLengths, SkeletonFileError, load_lengths, save_lengths
from binopose.models.skeleton_fit import SkeletonFit

NAMES = segment_names(BODY17)
SEGMENTS = segments_of(BODY17)
THIGH = NAMES.index("Knee_Hip")
RNG = np.random.default_rng(11)
POSE_M = RNG.normal((0, 0, 3), 0.3, (17, 3))


def some_lengths_m() -> np.ndarray:
    return np.linspace(0.1, 0.6, SEGMENTS.groups)


def test_names_are_unlike_and_tell_the_bone() -> None:
    assert len(set(NAMES)) == SEGMENTS.groups
    assert {"Knee_Hip", "Wrist_Elbow", "RightHip_LeftHip", "RightHip_LeftShoulder", "Thorax_Pelvis"} <= set(NAMES)


def test_held_lengths_stay_whatever_is_seen() -> None:
    lengths = LearntLengths(BODY17)
    lengths.hold()
    assert np.isnan(lengths.held_m).all(), "nothing is known yet"
    for _ in range(20):
        lengths.observe(POSE_M, np.ones(17))
    lengths.hold()
    before_m = lengths.median_m
    for _ in range(100):
        lengths.observe(POSE_M * 1.5, np.ones(17))
    np.testing.assert_array_equal(lengths.median_m, before_m)
    seen = np.isfinite(lengths.seen_m)
    assert (lengths.seen_m[seen] != before_m[seen]).any(), "what is seen is still learnt, for comparison"
    assert (lengths.sigma_m < SEGMENTS.sigma_m).any()


def test_a_hardly_seen_bone_is_not_held() -> None:
    lengths = LearntLengths(BODY17)
    for count in range(20):
        confidence = np.ones(17)
        confidence[BODY17.index("LeftWrist")] = confidence[BODY17.index("RightWrist")] = count < 3
        lengths.observe(POSE_M, confidence)
    lengths.hold()
    assert np.isnan(lengths.held_m[NAMES.index("Wrist_Elbow")])


def test_the_fit_keeps_known_lengths_also_when_it_forgets_the_person() -> None:
    held_m = np.full(SEGMENTS.groups, np.nan)
    held_m[THIGH] = 0.5
    fit = SkeletonFit(held_m=held_m)
    sigma_m = np.full((17, 3), 0.02)
    for _ in range(2):
        refined_m, _ = fit.refine(POSE_M, np.ones(17), sigma_m)
        thigh = BODY17.index("RightKnee"), BODY17.index("RightHip")
        before_m, after_m = (np.linalg.norm(each[thigh[0]] - each[thigh[1]]) for each in (POSE_M, refined_m))
        assert abs(after_m - 0.5) < 0.2 * abs(before_m - 0.5)
        fit.reset()


def test_poses_with_given_lengths() -> None:
    wanted_m = np.linspace(0.1, 0.5, SEGMENTS.rigid)
    wanted_m[3] = np.nan
    poses_m = np.stack([POSE_M, POSE_M + RNG.normal(0, 0.1, (17, 3))])
    poses_m[1, BODY17.index("LeftWrist")] = np.nan
    placed_m = with_lengths(poses_m, np.tile(wanted_m, (2, 1)), BODY17)
    found_m = rigid_lengths_m(placed_m, BODY17)
    known = np.isfinite(found_m)
    assert known.sum() == 2 * SEGMENTS.rigid - 1
    expected_m = np.where(np.isnan(wanted_m), found_m, wanted_m)
    np.testing.assert_allclose(found_m[known], expected_m[known], atol=1e-4)
    np.testing.assert_array_equal(np.isnan(placed_m), np.isnan(poses_m))
    np.testing.assert_array_equal(with_lengths(poses_m, np.full((2, SEGMENTS.rigid), np.nan), BODY17), poses_m)


def test_a_bone_off_by_a_little_moves_both_ends_alike() -> None:
    lengths_m = rigid_lengths_m(POSE_M[None], BODY17)
    forearm = BODY17.rigid_bones.index(("LeftWrist", "LeftElbow"))
    lengths_m[0, np.arange(SEGMENTS.rigid) != forearm] = np.nan
    lengths_m[0, forearm] += 0.02
    moved_m = np.linalg.norm(with_lengths(POSE_M[None], lengths_m, BODY17)[0] - POSE_M, axis=1)
    ends = [BODY17.index("LeftWrist"), BODY17.index("LeftElbow")]
    np.testing.assert_allclose(moved_m[ends], 0.01)
    assert np.count_nonzero(moved_m) == 2


def test_file_there_and_back(tmp_path: Path) -> None:
    lengths_m = some_lengths_m()
    lengths_m[2] = np.nan
    save_lengths(tmp_path / "me.toml", PersonLengths(lengths_m, "blazepose"))
    person = load_lengths(tmp_path / "me.toml")
    np.testing.assert_allclose(person.lengths_m, lengths_m, atol=5e-5)
    assert person.detector == "blazepose"


def test_nothing_to_save_and_nowhere_to_save_to(tmp_path: Path) -> None:
    with pytest.raises(SkeletonFileError, match="nobody was seen"):
        save_lengths(tmp_path / "me.toml", PersonLengths(np.full(SEGMENTS.groups, np.nan), "blazepose"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(SkeletonFileError, match="cannot be written"):
        save_lengths(tmp_path / "no" / "me.toml", PersonLengths(some_lengths_m(), "blazepose"))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("binopose-skeleton", "binopose-rig"), "format: expected 'binopose-skeleton', found 'binopose-rig'"),
        (("version = 1", "version = 2"), "version: expected 1, found 2"),
        (('"body17"', '"coco17"'), "skeleton: expected 'body17'"),
        (("detector", "camera"), "camera: no such key"),
        (("Knee_Hip", "Knee_Hop"), "Knee_Hop: no such bone; expected one of"),
        (("Knee_Hip = 0", "Knee_Hip = 9"), "Knee_Hip: expected 0.03 to 0.9 metres, found 9"),
        (("[lengths_m]", "[lengths]"), "lengths: no such key"),
        (("version = 1", "version = "), "not valid TOML"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    path = tmp_path / "me.toml"
    save_lengths(path, PersonLengths(some_lengths_m(), "blazepose"))
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    with pytest.raises(SkeletonFileError, match=r"me\.toml") as error:
        load_lengths(path)
    assert complaint in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SkeletonFileError, match="no such file; expected bone lengths"):
        load_lengths(tmp_path / "me.toml")
