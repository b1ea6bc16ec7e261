"""Simulated detections: exact without noise, and noise that is what the configuration says."""

# ruff: noqa: E402  what is imported below needs torch
from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from binopose.calibration.errors import UserError
from binopose.models.bone_lengths import segments_of
from binopose.models.skeleton import BODY17

from ..conftest import need_torch
from ..models.test_skeleton_fit import STANDING_M
from .motion_file import CLIPS, motion_fields, write_motion

need_torch()

import torch
from binopose.models.nets.geometry import triangulate
from binopose.tools.simulation.motion import VALIDATION_EVERY, BodyVariation, MotionData, vary_bodies
from binopose.tools.simulation.observe import LengthVariation, NoiseVariation, RigVariation, Samples, Simulation
from torch import Tensor

COUNT = 3000
INDEX = BODY17.index
PELVIS, HIPS = INDEX("Pelvis"), [INDEX("RightHip"), INDEX("LeftHip")]
SHOULDERS = [INDEX("RightShoulder"), INDEX("LeftShoulder")]
LEGS = [INDEX(side + joint) for side in ("Right", "Left") for joint in ("Knee", "Ankle")]
TINY = (1e-7, 1e-7)
SILENT = NoiseVariation(
    across_m=TINY, depth_ratio=TINY, view=(0, 0), spread=(0, 0), freedom=(1e6, 1e6), smooth=(0, 0), body=(0, 0),
    trunk=(0, 0), alike=0, gross_share=0, equal_rows_share=1, thigh_m=0, pelvis_share=0, flat_share=0, definition_m=0,
    missing_share=0, coco_share=0, no_legs_share=0, swap_share=0, certain_share=1,
)  # fmt: skip
# Rigs that see the person from different sides, so that the views share nothing beyond what is asked for.
WIDE = RigVariation(baseline_m=(3, 4), distance_m=(3, 4), parallax=(0.8, 1.4), slope=(0.1, 0.05))
EXACT_LENGTHS = LengthVariation(unknown_share=0, error_m=TINY)
STILL = BodyVariation(0, 0, 0, 0, 0, 0, 0, 0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def standing(count: int = COUNT, turn_rad: float = 0.0) -> Tensor:
    """The same upright person, facing the cameras if not turned, (count, J, 3)."""
    points_m = torch.tensor([STANDING_M[joint] for joint in BODY17.joints], dtype=torch.float32)
    cosine, sine = np.cos(turn_rad), np.sin(turn_rad)
    about_y = torch.tensor([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]], dtype=torch.float32)
    return (points_m @ about_y.T).expand(count, -1, -1)


def observed(
    poses_m: Tensor | None = None, *, rigs: RigVariation = WIDE, lengths: LengthVariation = EXACT_LENGTHS, **noise: Any
) -> Samples:
    simulation = Simulation(rigs, dataclasses.replace(SILENT, **noise), lengths)
    return simulation.observe(standing() if poses_m is None else poses_m, generator())


def error_m(samples: Samples) -> Tensor:
    """Triangulated minus true, (B, J, 3)."""
    return triangulate(samples.left, samples.right, samples.baseline_m) - samples.truth_m


# --- without noise


def test_silence_triangulates_to_the_truth() -> None:
    for rigs in (WIDE, RigVariation()):
        samples = observed(rigs=rigs)
        assert (samples.confidence == 1).all()
        # At a parallax of 0.02 single precision itself is a few micrometres.
        assert error_m(samples).abs().max() < 5e-4
        torch.testing.assert_close(samples.left, samples.clean_left, rtol=0, atol=1e-6)


def test_silence_gives_the_true_lengths() -> None:
    samples = observed()
    segments = segments_of(BODY17)
    ends_m = samples.truth_m[:, segments.ends]  # (B, S, 2, 3)
    true_m = (ends_m[:, :, 0] - ends_m[:, :, 1]).norm(dim=-1).numpy()
    expected_m = np.stack([true_m[:, segments.group == g].mean(axis=1) for g in range(segments.groups)], axis=1)
    known = samples.lengths_m.numpy() > 0
    np.testing.assert_allclose(samples.lengths_m.numpy()[known], expected_m[known], atol=1e-4)
    assert known.mean() == pytest.approx(0.97, abs=0.01)


def test_lengths_are_unknown_and_wrong_as_often_as_asked() -> None:
    exact = observed()
    samples = observed(lengths=LengthVariation(unknown_share=0.4, error_m=(0.01, 0.01)))
    known = samples.lengths_m > 0
    assert known.any(dim=1).float().mean() == pytest.approx(0.6, abs=0.03)
    both = known & (exact.lengths_m > 0)
    assert (samples.lengths_m - exact.lengths_m)[both].std() == pytest.approx(0.01, rel=0.03)


def test_rigs_and_places_lie_between_their_limits() -> None:
    rigs = RigVariation(baseline_m=(0.1, 2.0), distance_m=(1.5, 6.0), parallax=(0.04, 0.8))
    samples = observed(rigs=rigs)
    distance_m = samples.truth_m[:, PELVIS, 2]
    assert 1.5 <= distance_m.min() < 1.6
    assert 5.7 < distance_m.max() <= 6.0
    parallax = samples.baseline_m / distance_m
    assert parallax.min() >= 0.04 - 1e-6
    assert parallax.max() <= 0.8 + 1e-6
    # Logarithmic: as many below as above the geometric mean.
    assert (distance_m < 3.0).float().mean() == pytest.approx(0.5, abs=0.04)


def test_nobody_stands_in_the_camera() -> None:
    near = RigVariation(baseline_m=(0.1, 0.2), distance_m=(0.2, 0.3))
    assert observed(rigs=near).truth_m[..., 2].min() >= 0.4 - 1e-5


def test_same_seed_same_samples() -> None:
    simulation = Simulation(RigVariation(), NoiseVariation(), LengthVariation())
    first, again, other = (simulation.observe(standing(50), generator(seed)) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_everything_at_once_is_finite() -> None:
    samples = Simulation(RigVariation(), NoiseVariation(), LengthVariation()).observe(standing(), generator())
    for value in samples:
        assert torch.isfinite(value).all()
    assert ((samples.confidence >= 0) & (samples.confidence <= 1)).all()
    missing = samples.confidence == 0
    assert 0.02 < missing.float().mean() < 0.3
    assert (samples.left[missing] == 0).all()
    assert (samples.right[missing] == 0).all()


# --- noise


def test_level_is_that_of_the_configuration_joint_by_joint() -> None:
    spread_m = error_m(observed(across_m=(0.01, 0.01))).std(dim=0)
    for joint, difficulty in {"LeftWrist": 1.5, "RightKnee": 0.9, "Pelvis": 1.8, "Thorax": 1.0}.items():
        np.testing.assert_allclose(spread_m[INDEX(joint)], 0.01 * difficulty, rtol=0.06, err_msg=joint)


def test_depth_ratio_adds_its_square_to_the_variance() -> None:
    found_m2 = error_m(observed(across_m=(0.01, 0.01), depth_ratio=(2, 2)))[:, INDEX("Thorax")].var(dim=0)
    assert float(found_m2.sum()) == pytest.approx(0.01**2 * (3 + 2**2), rel=0.06)
    # Along the line of sight, which here is oblique to the depth by up to 35 degrees.
    assert float(found_m2[1]) == pytest.approx(0.01**2, rel=0.06)
    assert float(found_m2[2]) > 0.01**2 * (1 + 2**2 * np.cos(np.deg2rad(35)) ** 2)


def kurtosis(values: Tensor) -> float:
    centred = values - values.mean()
    return float((centred**4).mean() / (centred**2).mean() ** 2)


def test_freedom_makes_heavy_tails() -> None:
    normal, heavy = (error_m(observed(across_m=(0.01, 0.01), freedom=(f, f))) for f in (1e6, 6.0))
    assert kurtosis(normal[:, INDEX("Thorax"), 0]) == pytest.approx(3, abs=0.3)
    # Student's t with 6 degrees of freedom has 3 + 6 / (6 - 4) = 6.
    assert 4.5 < kurtosis(heavy[:, INDEX("Thorax"), 0]) < 8


def test_gross_errors_are_as_frequent_as_asked() -> None:
    samples = observed(across_m=(0.003, 0.003), gross_share=0.05, gross_factor=(8, 8))
    found = error_m(samples)[:, INDEX("Thorax")].norm(dim=-1) > 4.2 * 0.003
    # Of errors eight times as large, a small part hides among the rest.
    assert found.float().mean() == pytest.approx(0.05 * 0.95, abs=0.013)


def test_smooth_errors_are_alike_along_a_bone_only() -> None:
    found_m = error_m(observed(across_m=(0.01, 0.01), smooth=(0.8, 0.8)))[..., 0]

    def correlation(a: str, b: str) -> float:
        return float(torch.corrcoef(found_m[:, [INDEX(a), INDEX(b)]].T)[0, 1])

    assert correlation("LeftWrist", "LeftElbow") == pytest.approx(0.8, abs=0.05)
    assert correlation("LeftWrist", "LeftShoulder") == pytest.approx(0.64, abs=0.06)
    assert abs(correlation("LeftWrist", "RightAnkle")) < 0.25


@pytest.mark.parametrize(("part", "legs_too"), [("body", True), ("trunk", False)])
def test_body_and_trunk_move_as_one(part: str, legs_too: bool) -> None:
    found_m = error_m(observed(None, **{"across_m": (0.01, 0.01), part: (3, 3)})).mean(dim=2)
    among_trunk = float(torch.corrcoef(found_m[:, [INDEX("Neck"), INDEX("LeftHip")]].T)[0, 1])
    with_legs = float(torch.corrcoef(found_m[:, [INDEX("Neck"), INDEX("LeftAnkle")]].T)[0, 1])
    assert among_trunk > 0.8
    assert with_legs > 0.8 if legs_too else abs(with_legs) < 0.1


def test_rows_are_equal_when_the_detectors_is_one_for_both() -> None:
    equal, own = (observed(across_m=(0.01, 0.01), view=(0.5, 0.5), equal_rows_share=s) for s in (1.0, 0.0))
    assert (equal.left[..., 1] - equal.right[..., 1]).abs().max() < 1e-6
    assert (own.left[..., 1] - own.right[..., 1]).std() > 1e-3
    assert (equal.left[..., 0] - equal.clean_left[..., 0]).std() > 1e-3


def test_confidence_follows_row_differences_and_errors() -> None:
    certain, rated = (
        observed(across_m=(0.01, 0.01), view=(0.8, 0.8), equal_rows_share=0.0, freedom=(3.0, 3.0), certain_share=share)
        for share in (1.0, 0.0)
    )
    rows = (certain.left[..., 1] - certain.right[..., 1]).abs()
    worst, best = rows > rows.quantile(0.98), rows < rows.quantile(0.5)
    assert certain.confidence[worst].mean() < 0.6
    assert certain.confidence[best].mean() > 0.97
    size_m = error_m(rated).norm(dim=-1)
    large = size_m > size_m.quantile(0.95)
    assert rated.confidence[large].mean() < rated.confidence[~large].mean() - 0.1


def test_pelvis_errs_to_where_the_person_faces() -> None:
    """Forward and a little down; a person facing the camera looks along -z, and y points down."""
    for turn_rad, towards in ((0.0, (0, 0, -1)), (np.pi / 2, (-1, 0, 0)), (np.pi, (0, 0, 1))):
        poses_m = standing(turn_rad=turn_rad)
        moved_m = error_m(observed(poses_m, pelvis_share=1, pelvis_m=(0.1, 0.1)))[:, PELVIS].mean(dim=0)
        forward_m = float(moved_m @ torch.tensor(towards, dtype=torch.float32))
        nose_m = (poses_m[0, INDEX("Nose")] - poses_m[0, INDEX("Neck")]) @ torch.tensor(towards, dtype=torch.float32)
        assert nose_m > 0.09
        assert forward_m > 0.04
        assert 0.1 < moved_m[1] / forward_m < 0.6


def test_definitions_are_mostly_mirrored() -> None:
    """One person faces the camera: left and right shoulder go up and forward together, outward apart."""
    found_m = error_m(observed(definition_m=0.02))[:, SHOULDERS]
    across, down, depth = (float(torch.corrcoef(found_m[..., axis].T)[0, 1]) for axis in range(3))
    mirrored = 0.9**2 / (0.9**2 + 0.45**2)
    assert (across, down, depth) == pytest.approx((-mirrored, mirrored, mirrored), abs=0.06)


def test_flat_people_have_shoulders_too_close_in_depth() -> None:
    poses_m = standing(turn_rad=np.pi / 4)
    samples = observed(poses_m, flat_share=1)
    found_m = triangulate(samples.left, samples.right, samples.baseline_m)[:, SHOULDERS]
    true_m = samples.truth_m[:, SHOULDERS]
    sight = torch.nn.functional.normalize(samples.truth_m[:, PELVIS], dim=-1)
    ratio = ((found_m[:, 1] - found_m[:, 0]) * sight).sum(-1) / ((true_m[:, 1] - true_m[:, 0]) * sight).sum(-1)
    assert 0.5 - 1e-3 <= ratio.min() < 0.55
    assert 0.95 < ratio.max() <= 1 + 1e-3
    assert ratio.mean() == pytest.approx(0.75, abs=0.02)


# --- missing and exchanged joints


def test_joints_go_missing_as_often_as_asked() -> None:
    samples = observed(missing_share=1.0, missing_joints=4)
    missing = (samples.confidence == 0).float()
    assert missing.sum(dim=1).mean() == pytest.approx(2.0, abs=0.15)
    assert missing.mean(dim=0).std() < 0.02
    assert (observed(missing_share=0.25).confidence == 0).any(dim=1).float().mean() < 0.25


def test_coco_has_no_thorax_neck_and_head_top_and_the_pelvis_between_the_hips() -> None:
    samples = observed(coco_share=1.0, across_m=(0.01, 0.01))
    expected = torch.ones(17)
    expected[[INDEX(joint) for joint in ("Thorax", "Neck", "HeadTop")]] = 0
    assert ((samples.confidence > 0) == (expected > 0)).all()
    for view in (samples.left, samples.right):
        torch.testing.assert_close(view[:, PELVIS], view[:, HIPS].mean(dim=1))


def test_legs_out_of_view() -> None:
    missing = observed(no_legs_share=1.0).confidence == 0
    assert missing[:, LEGS].all()
    assert missing.sum() == COUNT * len(LEGS)


def test_sides_are_exchanged_for_arms_or_legs_of_one_view() -> None:
    narrow = RigVariation(baseline_m=(0.5, 0.6), distance_m=(3, 4), parallax=(0.1, 0.3), slope=(0.05, 0.05))
    samples = observed(rigs=narrow, swap_share=1.0)
    seen = samples.confidence > 0
    legs = torch.tensor([joint.endswith(("Hip", "Knee", "Ankle")) for joint in BODY17.joints])
    sided = torch.tensor(BODY17.side != 0)
    changed = [
        ((view - clean).norm(dim=-1) > 1e-4) & seen
        for view, clean in ((samples.left, samples.clean_left), (samples.right, samples.clean_right))
    ]
    of_arms, of_legs = (torch.stack([(c & part).any(dim=1) for c in changed]) for part in (sided & ~legs, legs))
    struck = torch.cat([of_arms, of_legs])
    # Where the exchange makes rays part, the joint counts as missing and nothing is left to see.
    assert (struck.sum(dim=0) <= 1).all()
    assert (struck.float().mean(dim=1) > 0.15).all()
    assert not any((c & ~sided).any() for c in changed)
    mirror = torch.from_numpy(BODY17.mirror)
    for view, clean, where in zip(samples[1:3], samples[3:5], changed, strict=True):
        torch.testing.assert_close(view[where], clean[:, mirror][where], rtol=0, atol=1e-4)


# --- bodies and motion


@pytest.fixture
def motion(tmp_path: Path) -> MotionData:
    return MotionData(write_motion(tmp_path / "motion.npz"))


def bone_lengths(points_m: Tensor) -> Tensor:
    """(B, bones) in the order of the skeleton."""
    ends = torch.from_numpy(BODY17.bone_indices)
    return (points_m[:, ends[:, 0]] - points_m[:, ends[:, 1]]).norm(dim=-1)


def test_bodies_that_do_not_vary_are_only_turned_and_mirrored() -> None:
    poses_m = standing(200)
    varied_m = vary_bodies(torch.stack([poses_m, poses_m]), STILL, generator())
    torch.testing.assert_close(bone_lengths(varied_m), bone_lengths(poses_m))
    # A heading of its own each, about the vertical but for a slight roll and pitch.
    upright = varied_m[:, INDEX("Neck")] - varied_m[:, PELVIS]
    assert (torch.nn.functional.normalize(upright, dim=-1)[:, 1] < -0.95).all()
    facing = varied_m[:, INDEX("Nose")] - varied_m[:, INDEX("HeadTop")]
    heading = torch.atan2(facing[:, 0], facing[:, 2])
    assert (torch.histc(heading, 4, -np.pi, np.pi) > 30).all()


def test_left_of_the_person_stays_left() -> None:
    """Mirroring a body exchanges the names too: the left shoulder is on the left of who looks out of its eyes."""
    poses_m = standing(200)
    varied_m = vary_bodies(torch.stack([poses_m, poses_m]), BodyVariation(lying_share=1.0), generator())
    up = varied_m[:, SHOULDERS].mean(dim=1) - varied_m[:, HIPS].mean(dim=1)
    forward = varied_m[:, INDEX("Nose")] - varied_m[:, INDEX("HeadTop")]
    across = varied_m[:, SHOULDERS[1]] - varied_m[:, SHOULDERS[0]]
    # In a right-handed frame up x forward points to the left.
    handed = (torch.linalg.cross(up, forward, dim=-1) * across).sum(dim=-1)
    assert (handed > 0).float().mean() > 0.99


def test_mirrored_bones_grow_alike() -> None:
    poses_m = standing(500)
    variation = dataclasses.replace(STILL, scale=0.08, bone=0.06)
    factors = bone_lengths(vary_bodies(torch.stack([poses_m, poses_m]), variation, generator())) / bone_lengths(poses_m)
    position = {tuple(bone): number for number, bone in enumerate(BODY17.bone_indices.tolist())}
    other = [position[tuple(BODY17.mirror[list(bone)].tolist())] for bone in BODY17.bone_indices.tolist()]
    torch.testing.assert_close(factors, factors[:, other], rtol=1e-3, atol=0)
    assert factors.log().std(dim=0).mean() == pytest.approx(np.hypot(0.08, 0.06), rel=0.06)
    spread = (factors[:, 0].log() - factors[:, position[INDEX("LeftKnee"), INDEX("LeftHip")]].log()).std()
    assert float(spread) == pytest.approx(np.sqrt(2) * 0.06, rel=0.1)


def test_both_definitions_and_what_lies_between_are_drawn() -> None:
    one, other = standing(2000), standing(2000).clone()
    other[:, INDEX("HeadTop"), 1] -= 0.1
    lengths_m = (vary_bodies(torch.stack([one, other]), STILL, generator()))[:, [INDEX("HeadTop"), INDEX("Neck")]]
    found_m = (lengths_m[:, 0] - lengths_m[:, 1]).norm(dim=-1)
    low_m, high_m = ((p[0, INDEX("HeadTop")] - p[0, INDEX("Neck")]).norm() for p in (one, other))
    assert ((found_m - low_m).abs() < 1e-4).float().mean() == pytest.approx(0.3, abs=0.04)
    assert ((found_m - high_m).abs() < 1e-4).float().mean() == pytest.approx(0.3, abs=0.04)


def test_poses_come_in_camera_directions(motion: MotionData) -> None:
    poses = motion.draw(50, False, generator())
    assert poses.shape == (2, 50, 17, 3)
    known = torch.from_numpy(motion_fields()["pose_tenth_mm"].astype(np.float32) * 1e-4)
    # World x, y, z with z up; camera x right, y down, z forward.
    expected = torch.stack([known[..., 0], -known[..., 2], known[..., 1]], dim=-1)
    distance_m = (poses[0][:, None] - expected[None]).abs().amax(dim=(2, 3)).amin(dim=1)
    assert distance_m.max() < 1e-5


def test_validation_clips_are_never_trained_on(tmp_path: Path) -> None:
    fields = motion_fields()
    marked = fields["pose_tenth_mm"].copy()
    marked[:, INDEX("Nose"), 0] = 1000 * fields["clip_id"]
    motion = MotionData(write_motion(tmp_path / "marked.npz", pose_tenth_mm=marked))
    kept = set(range(VALIDATION_EVERY - 1, CLIPS, VALIDATION_EVERY))
    for validation, expected in ((True, kept), (False, set(range(CLIPS)) - kept)):
        marks_m = motion.draw(5000, validation, generator())[0, :, INDEX("Nose"), 0]
        assert set((marks_m * 10).round().int().tolist()) == expected


CLIP = {"group": "walk"}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "field missing": ({"clip_id": None}, "clip_id: expected a field of that name"),
    "other joints": ({"pose_tenth_mm": np.zeros((240, 16, 3), np.int16)}, "pose_tenth_mm: expected shape (240, 17, 3)"),
    "other frames": ({"clip_id": np.zeros(7, np.int32)}, "pose_tenth_mm: expected shape (7, 17, 3)"),
    "clip number alone": ({"clip_id": np.int32(3)}, "expected shape (0, 17, 3)"),
    "NaN": ({"pose_tenth_mm": np.full((240, 17, 3), np.nan)}, "pose_tenth_mm: expected finite numbers"),
    "no JSON": ({"clips": np.array("walk, run")}, "clips: expected JSON"),
    "clips by name": ({"clips": np.array(json.dumps({"walk": CLIP}))}, "clips: expected a list"),
    "no groups": ({"clips": np.array(json.dumps([{}] * CLIPS))}, "clips: expected a list"),
    "few clips": ({"clips": np.array(json.dumps([CLIP] * 9))}, "clips: expected at least 10, found 9"),
    "too few clips": ({"clips": np.array(json.dumps([CLIP] * 19))}, "clip_id: expected frames of each of the 19"),
    "clip without frames": ({"clips": np.array(json.dumps([CLIP] * 21))}, "clip_id: expected frames of each of the 21"),
    "mixed": (
        {"clip_id": np.tile(np.arange(CLIPS, dtype=np.int32), 12)},
        "clip_id: expected the frames clip after clip",
    ),
    "half numbers": ({"clip_id": np.arange(240) / 12}, "clip_id: expected frames"),
    "pickle": ({"clip_id": np.array([None] * 240)}, "cannot be read as motion data"),
}


@pytest.mark.parametrize("kind", BAD)
def test_motion_of_another_form_is_refused(tmp_path: Path, kind: str) -> None:
    changes, told = BAD[kind]
    path = write_motion(tmp_path / "motion.npz", **changes)
    with pytest.raises(UserError) as caught:
        MotionData(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert told in str(caught.value)


@pytest.mark.parametrize("kind", ["absent", "empty", "text", "cut short", "one array", "folder"])
def test_files_that_are_no_motion_are_named(tmp_path: Path, kind: str) -> None:
    path = write_motion(tmp_path / "motion.npz")
    content = path.read_bytes()
    match kind:
        case "absent":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("motion")
        case "cut short":
            path.write_bytes(content[: len(content) // 2])
        case "one array":
            with path.open("wb") as file:
                np.save(file, np.zeros(3))
        case "folder":
            path.unlink()
            path.mkdir()
    with pytest.raises(UserError, match=r"motion\.npz: "):
        MotionData(path)


def test_the_real_motion_file_is_read(shared_data: Path) -> None:
    motion = MotionData(shared_data / "mocap" / "mocap17.npz")
    assert int(motion.lengths.sum()) == 173_316
    poses = motion.draw(100, True, generator())
    assert (poses[:, :, PELVIS].abs() < 0.05).all()
    # Nearly all people of the data stand: the head is above the hips, y down.
    assert (poses[0, :, INDEX("HeadTop"), 1] < 0).float().mean() > 0.9
