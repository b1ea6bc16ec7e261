"""Pose files smoothed after a run: what changes, what stays, and that they are whole whatever happens."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import pytest
from binopose.app.commands.video import smoothing_hz
from binopose.app.outputs import writers as writers_module
from binopose.app.outputs.files import OutputError
from binopose.app.outputs.record import Mark, PoseRecord, Recording
from binopose.app.outputs.writers import OutputWriters
from binopose.app.smoothing import smooth_files, smooth_poses
from binopose.models.bone_lengths import segment_names, segments_of
from binopose.models.skeleton import BODY17

RATE_HZ = 60.0
RECORDING = Recording(BODY17.joints, RATE_HZ, "left camera")
FRAMES = 120
BODY_M = np.random.default_rng(9).normal((0.0, 0.0, 3.0), 0.3, (17, 3))


def truth_m(time_s: float) -> np.ndarray:
    """A body that sways, (17, 3)."""
    return BODY_M + np.array([0.2 * np.sin(2 * np.pi * 0.8 * time_s), 0.0, 0.1 * time_s])


def write_run(
    folder: Path,
    absent: range = range(0),
    rate_hz: float = RATE_HZ,
    moved_after: int = FRAMES,
    reacquired: int | None = None,
) -> Path:
    """Files of a run with 10 mm of noise; `absent` frames have no pose, after `moved_after` somebody else is there."""
    rng = np.random.default_rng(4)
    folder.mkdir(exist_ok=True)
    with OutputWriters(folder, RECORDING) as writers:
        for frame in range(FRAMES):
            time_s = frame / rate_hz
            if frame in absent:
                writers.write(PoseRecord.without_pose(frame, time_s, 17))
                continue
            points_m = truth_m(time_s) + rng.normal(0, 0.01, (17, 3)) + (2.0 if frame > moved_after else 0.0)
            confidence, sigma_m = np.full(17, 0.9), np.full((17, 3), 0.02)
            marks = Mark.REACQUIRED if frame == reacquired else 0
            writers.write(PoseRecord(frame, time_s, points_m, points_m + 0.001, confidence, sigma_m, marks=marks))
    return folder


def load(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "poses.npz", allow_pickle=False) as poses:
        return dict(poses)


def test_smoothed_poses_are_closer_to_the_truth_and_the_ones_before_are_kept(tmp_path: Path) -> None:
    before = load(write_run(tmp_path))
    found = smooth_files(tmp_path, RECORDING, 6.0)
    after = load(tmp_path)
    expected_m = np.stack([truth_m(time_s) for time_s in after["timestamp_s"]])
    error_mm, refined_error_mm = (
        np.linalg.norm(after[name] - expected_m, axis=-1).mean() * 1e3 for name in ("points_m", "refined_points_m")
    )
    assert error_mm < 0.6 * refined_error_mm
    np.testing.assert_array_equal(after["refined_points_m"], before["points_m"])
    for name in ("raw_points_m", "confidence", "sigma_m", "timestamp_s", "frame", "joint_names", "frame_of_reference"):
        np.testing.assert_array_equal(after[name], before[name], name)
    jitter = found.figures["jitter_m_s3"]
    assert jitter["smoothed"] < 0.1 * jitter["refined"]
    assert jitter["refined"] == pytest.approx(0.01 * np.sqrt(60) * 60**3, rel=0.1)
    assert abs(found.figures["lag_ms"]) < 1
    assert found.figures["cutoff_hz"] == 6.0
    assert not found.warnings


def test_all_files_say_the_same(tmp_path: Path) -> None:
    write_run(tmp_path)
    smooth_files(tmp_path, RECORDING, 6.0)
    points_m = load(tmp_path)["points_m"]
    with (tmp_path / "poses.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    nose_x_m = [float(row["Nose_x_m"]) for row in rows]
    np.testing.assert_allclose(nose_x_m, points_m[:, BODY17.index("Nose"), 0], atol=1e-6)
    lines = (tmp_path / "poses.trc").read_text().splitlines()
    assert lines[0].endswith("poses.trc")
    assert [float(cell) for cell in lines[6].split("\t")[2:5]] == pytest.approx(points_m[0, 0] * [1, -1, -1], abs=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["poses.csv", "poses.npz", "poses.trc"]


def test_a_short_gap_is_closed_and_marked(tmp_path: Path) -> None:
    write_run(tmp_path, absent=range(50, 58))
    found = smooth_files(tmp_path, RECORDING, 6.0)
    poses = load(tmp_path)
    assert np.isfinite(poses["points_m"]).all()
    assert np.isnan(poses["refined_points_m"][50:58]).all()
    assert (poses["confidence"][50:58] == 0).all()
    assert (poses["confidence"][:50] > 0).all()
    assert np.flatnonzero(poses["marks"] & Mark.FILLED).tolist() == list(range(50, 58))
    middle, end = poses["sigma_m"][54], poses["sigma_m"][50]
    assert (middle > end).all(), "in the middle of a gap less is known"
    assert (end > 0.02).all()
    assert (middle < 0.06).all()
    assert found.figures["filled_frames"] == 8
    assert found.figures["filled_joints"] == 8 * 17


def test_a_long_gap_stays(tmp_path: Path) -> None:
    write_run(tmp_path, absent=range(50, 70))
    figures = smooth_files(tmp_path, RECORDING, 6.0).figures
    assert np.flatnonzero(np.isnan(load(tmp_path)["points_m"][:, 0, 0])).tolist() == list(range(50, 70))
    assert figures["filled_frames"] == figures["filled_joints"] == 0


def test_not_across_a_change_of_person(tmp_path: Path) -> None:
    write_run(tmp_path, absent=range(60, 64), moved_after=60)
    figures = smooth_files(tmp_path, RECORDING, 6.0).figures
    assert figures["person_changes"] == 1
    assert np.isnan(load(tmp_path)["points_m"][60:64]).all()


def test_not_across_a_frame_where_somebody_appeared_anew(tmp_path: Path) -> None:
    write_run(tmp_path, absent=range(60, 64), reacquired=64)
    assert smooth_files(tmp_path, RECORDING, 6.0).figures["person_changes"] == 1
    assert np.isnan(load(tmp_path)["points_m"][60:64]).all()
    assert load(tmp_path)["marks"][64] == Mark.REACQUIRED


def test_kept_bone_lengths_are_kept_by_the_last_person(tmp_path: Path) -> None:
    write_run(tmp_path, moved_after=60)
    held_m = np.full(segments_of(BODY17).groups, np.nan)
    held_m[segment_names(BODY17).index("Knee_Hip")] = 0.4
    smooth_files(tmp_path, RECORDING, 6.0, held_m)
    points_m = load(tmp_path)["points_m"]
    thigh_m = np.linalg.norm(points_m[:, BODY17.index("LeftKnee")] - points_m[:, BODY17.index("LeftHip")], axis=1)
    np.testing.assert_allclose(thigh_m[61:], 0.4, atol=1e-5)
    assert np.abs(thigh_m[:61] - 0.4).min() > 0.01, "the bones of whoever was there before are not touched"


def test_bones_do_not_shrink_where_a_joint_goes_to_and_fro() -> None:
    """An elbow that a detector sees now here, now there: refinement keeps the bones, plain smoothing would not."""
    time_s = np.arange(FRAMES) / RATE_HZ
    refined_m = np.tile(BODY_M, (FRAMES, 1, 1))
    wrist, elbow = BODY17.index("LeftWrist"), BODY17.index("LeftElbow")
    angle_rad = np.where((np.arange(FRAMES) // 12) % 2, 1.0, -1.0)
    forearm_m = 0.25 * np.stack([np.sin(angle_rad), np.cos(angle_rad), 0 * angle_rad], axis=1)
    refined_m[:, wrist] = refined_m[:, elbow] + forearm_m
    nobody_else = np.zeros(FRAMES, dtype=bool)
    plain, kept = (
        smooth_poses(refined_m, time_s, nobody_else, 6.0, held_m).points_m
        for held_m in (None, np.full(segments_of(BODY17).groups, np.nan))
    )
    plain_m, kept_m = (np.linalg.norm(each[:, wrist] - each[:, elbow], axis=1) for each in (plain, kept))
    assert plain_m.min() < 0.2
    np.testing.assert_allclose(kept_m, 0.25, atol=1e-3)


def test_too_few_frames_for_the_cutoff_is_said(tmp_path: Path) -> None:
    before = load(write_run(tmp_path, rate_hz=10.0))
    found = smooth_files(tmp_path, RECORDING, 6.0)
    assert found.figures["cutoff_hz"] is None
    assert "10 frames per second" in found.warnings[0]
    np.testing.assert_allclose(load(tmp_path)["points_m"], before["points_m"], atol=1e-6)


def test_runs_without_poses_or_frames(tmp_path: Path) -> None:
    write_run(tmp_path / "nobody", absent=range(FRAMES))
    assert smooth_files(tmp_path / "nobody", RECORDING, 6.0).figures["filled_joints"] == 0
    (tmp_path / "empty").mkdir()
    with OutputWriters(tmp_path / "empty", RECORDING):
        pass
    smooth_files(tmp_path / "empty", RECORDING, 6.0)
    assert load(tmp_path / "empty")["points_m"].shape == (0, 17, 3)


def test_a_full_disk_leaves_the_files_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    class FullDisk:
        def __init__(self, path: Path, recording: Recording) -> None:
            self.path = path

        def write(self, record: PoseRecord) -> None:
            if record.frame == 30:
                raise OutputError(f"{self.path}: cannot be written (No space left on device)")

        def close(self) -> None:
            pass

    monkeypatch.setitem(writers_module.WRITERS, "poses.trc", FullDisk)
    with pytest.raises(OutputError, match="No space left"):
        smooth_files(tmp_path, RECORDING, 6.0)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_option() -> None:
    assert smoothing_hz("off") is None
    assert smoothing_hz("4.5") == 4.5
    for text in ("0", "-1", "nan", "inf", "soft"):
        with pytest.raises(argparse.ArgumentTypeError, match="100 Hz"):
            smoothing_hz(text)
