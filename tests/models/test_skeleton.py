"""Joint sets against the published orders of the data sets and detectors."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from binopose.models.skeleton import BLAZEPOSE33, BODY17, COCO17, DERIVED_JOINTS, HALPE26, Skeleton

SKELETONS = {skeleton.name: skeleton for skeleton in (BODY17, COCO17, HALPE26, BLAZEPOSE33)}

# The README's abbreviations of the method's joints.
README_NAMES = {
    "Foot": "Ankle", "Knee": "Knee", "Hip": "Hip", "Root": "Pelvis", "Thorax": "Thorax", "Neck": "Neck",
    "Head": "HeadTop", "Wrist": "Wrist", "Elbow": "Elbow", "Shoulder": "Shoulder", "Nose": "Nose",
}  # fmt: skip


def readme_joints(shared_data: Path) -> dict[int, str]:
    text = (shared_data / "benchmark" / "README.md").read_text(encoding="utf-8")
    listing = text[text.index("Joints: 0") : text.index("Root is joint 6")]
    return {int(number): name for number, name in re.findall(r"(\d+) ([A-Z]\w+)", listing)}


def test_body17_has_the_benchmarks_order(shared_data: Path) -> None:
    listed = readme_joints(shared_data)
    assert sorted(listed) == list(range(17))
    for number, name in listed.items():
        side = {"R": "Right", "L": "Left"}.get(name[0], "") if name[1:] in README_NAMES else ""
        plain = name[1:] if side else name
        assert BODY17.joints[number] == side + README_NAMES[plain]
    assert BODY17.root == "Pelvis"


def test_body17_mirror_exchanges_what_the_benchmark_calls_left_and_right(shared_data: Path) -> None:
    listed = readme_joints(shared_data)
    numbers = {name: number for number, name in listed.items()}
    expected = list(range(17))
    for name, number in numbers.items():
        for side, other in (("R", "L"), ("L", "R")):
            if name.startswith(side) and other + name[1:] in numbers:
                expected[number] = numbers[other + name[1:]]
    assert BODY17.mirror.tolist() == expected
    assert sum(expected[n] != n for n in range(17)) == 12


PUBLISHED = [
    (COCO17, {0: "Nose", 1: "LeftEye", 2: "RightEye", 3: "LeftEar", 4: "RightEar", 5: "LeftShoulder",
              6: "RightShoulder", 7: "LeftElbow", 8: "RightElbow", 9: "LeftWrist", 10: "RightWrist", 11: "LeftHip",
              12: "RightHip", 13: "LeftKnee", 14: "RightKnee", 15: "LeftAnkle", 16: "RightAnkle"}, 17),
    (HALPE26, {0: "Nose", 5: "LeftShoulder", 16: "RightAnkle", 17: "HeadTop", 18: "Neck", 19: "Pelvis",
               20: "LeftBigToe", 21: "RightBigToe", 22: "LeftSmallToe", 23: "RightSmallToe", 24: "LeftHeel",
               25: "RightHeel"}, 26),
    (BLAZEPOSE33, {0: "Nose", 2: "LeftEye", 5: "RightEye", 7: "LeftEar", 8: "RightEar", 11: "LeftShoulder",
                   12: "RightShoulder", 13: "LeftElbow", 14: "RightElbow", 15: "LeftWrist", 16: "RightWrist",
                   17: "LeftPinky", 19: "LeftIndex", 21: "LeftThumb", 22: "RightThumb", 23: "LeftHip",
                   24: "RightHip", 25: "LeftKnee", 26: "RightKnee", 27: "LeftAnkle", 28: "RightAnkle",
                   29: "LeftHeel", 30: "RightHeel", 31: "LeftToe", 32: "RightToe"}, 33),
]  # fmt: skip


@pytest.mark.parametrize(("skeleton", "listed", "joints"), PUBLISHED, ids=[skeleton.name for skeleton, *_ in PUBLISHED])
def test_detectors_joints_have_their_published_numbers(skeleton: Skeleton, listed: dict[int, str], joints: int) -> None:
    assert len(skeleton) == joints
    for number, name in listed.items():
        assert skeleton.joints[number] == name
        assert skeleton.index(name) == number


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=list(SKELETONS))
def test_names_are_unique_and_bones_are_between_them(skeleton: Skeleton) -> None:
    assert len(set(skeleton.joints)) == len(skeleton)
    for bones in (skeleton.bones, skeleton.rigid_bones):
        ends = {frozenset(bone) for bone in bones}
        assert len(ends) == len(bones)
        assert all(len(bone) == 2 and bone <= set(skeleton.joints) for bone in ends)
    indices = [[skeleton.joints.index(joint) for joint in bone] for bone in skeleton.bones]
    assert skeleton.bone_indices.tolist() == indices


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=list(SKELETONS))
def test_mirror_is_an_involution_that_turns_sides_and_keeps_bones(skeleton: Skeleton) -> None:
    mirror = skeleton.mirror
    assert mirror[mirror].tolist() == list(range(len(skeleton)))
    assert (skeleton.side[mirror] == -skeleton.side).all()
    assert np.count_nonzero(skeleton.side == 1) == np.count_nonzero(skeleton.side == -1) > 0
    bones = {frozenset(bone) for bone in skeleton.bone_indices.tolist()}
    assert {frozenset(mirror[list(bone)].tolist()) for bone in bones} == bones


def test_body17_bones_form_a_tree_that_lists_parents_first() -> None:
    """The skeleton fit walks the bones in this order and needs each parent placed before its child."""
    placed = {"Pelvis"}
    for child, parent in BODY17.bones:
        assert parent in placed, f"{child} comes before its parent {parent}"
        assert child not in placed, f"{child} has two parents"
        placed.add(child)
    assert placed == set(BODY17.joints)


def test_rigid_bones_share_a_length_with_their_mirror_image_only() -> None:
    groups: dict[int, list[str]] = {}
    for number, (a, b) in zip(BODY17.rigid_bone_groups.tolist(), BODY17.rigid_bones, strict=True):
        groups.setdefault(number, []).append(f"{a}-{b}")
    assert sorted(groups) == list(range(len(groups)))
    for members in groups.values():
        assert len({name.replace("Left", "").replace("Right", "") for name in members}) == 1
        assert len(members) == (2 if any("Left" in name or "Right" in name for name in members) else 1)


def test_girdle_is_not_rigid() -> None:
    """In the ground truth of MHAD neck to shoulder varies from 99 to 199 mm."""
    trunk = {"Thorax", "Neck"}
    for bone in BODY17.rigid_bones:
        assert not (trunk & set(bone) and {"RightShoulder", "LeftShoulder"} & set(bone))


def test_unknown_joint_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r'coco17 has no joint "Pelvis", only Nose, LeftEye'):
        COCO17.index("Pelvis")


def test_derived_joints_are_made_of_joints_every_detector_has() -> None:
    for joint, sources in DERIVED_JOINTS.items():
        assert joint in BODY17.joints
        for skeleton in SKELETONS.values():
            assert set(sources) <= set(skeleton.joints)


@pytest.mark.parametrize("data_set", ["mhad_s08", "h36m_s9"])
def test_rigid_bones_are_rigid_in_real_truth(shared_data: Path, data_set: str) -> None:
    """Every segment called rigid varies little in the ground truth, the girdle more than the worst of them on MHAD."""
    with np.load(shared_data / "benchmark" / f"{data_set}.npz") as content:
        truth_m = content["gt"][~content["gt_damaged"].astype(bool)]
        subject = content["subject"][~content["gt_damaged"].astype(bool)]
    truth_m = truth_m[subject == subject[0]]

    def spread_m(bones: np.ndarray) -> np.ndarray:
        return np.linalg.norm(truth_m[:, bones[:, 0]] - truth_m[:, bones[:, 1]], axis=-1).std(axis=0)

    assert np.median(spread_m(BODY17.rigid_bone_indices)) < 0.01
    assert spread_m(BODY17.rigid_bone_indices).max() < 0.035
    if data_set == "mhad_s08":
        girdle = np.array([[BODY17.index("RightShoulder"), BODY17.index("Neck")]])
        assert spread_m(girdle)[0] > np.median(spread_m(BODY17.rigid_bone_indices))
