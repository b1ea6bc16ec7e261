"""The commands as a user runs them: whole runs with known truth, and everything that can be wrong with the input."""

from __future__ import annotations

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.app.main import main
from binopose.app.outputs.video_writer import open_video_writer
from binopose.app.simulation.motion import SimulatedPerson
from binopose.app.simulation.scene import SimulatedScene
from binopose.app.simulation.virtual_rig import virtual_rig
from binopose.calibration.rig_file import load_rig, save_rig
from binopose.models.skeleton import BODY17

FRAMES = 45
RATE = 30.0
OUTPUTS = {"poses.npz", "poses.csv", "poses.trc", "overlay.mp4", "summary.json"}


def write_video(path: Path, pictures: Iterator[np.ndarray] | list[np.ndarray], rate: float = RATE) -> Path:
    pictures = list(pictures)
    height, width = pictures[0].shape[:2]
    with open_video_writer(path, (width, height), rate) as writer:
        for number, picture in enumerate(pictures):
            writer.write(picture, number / rate)
    return path


@dataclass(frozen=True)
class Filmed:
    """A rendered person filmed by two virtual cameras, the rig file, and the truth in the left camera's frame."""

    left: Path
    right: Path
    rig: Path
    truth_m: np.ndarray


@pytest.fixture(scope="session")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Filmed:
    folder = tmp_path_factory.mktemp("filmed")
    rig = virtual_rig()
    scene = SimulatedScene(rig, SimulatedPerson())
    pairs = [scene.images(number / RATE) for number in range(FRAMES)]
    save_rig(rig, folder / "rig.toml")
    return Filmed(
        write_video(folder / "left.mp4", [left for left, _ in pairs]),
        write_video(folder / "right.mp4", [right for _, right in pairs]),
        folder / "rig.toml",
        np.stack([scene.truth_m(number / RATE) for number in range(FRAMES)]),
    )


@pytest.fixture(scope="session")
def empty_room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    noise = np.random.default_rng(0).integers(90, 110, (720, 1280, 3)).astype(np.uint8)
    return write_video(tmp_path_factory.mktemp("empty") / "empty.mp4", [noise] * FRAMES)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def video(filmed: Filmed, output: Path, *more: object, left: Path | None = None, right: Path | None = None) -> int:
    return run("video", left or filmed.left, right or filmed.right, "--rig", filmed.rig, "-o", output, *more)


def summary_of(output: Path) -> dict:
    return json.loads((output / "summary.json").read_text())


def frames_in(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    return count


def assert_outputs_agree(output: Path, frames: int | None = None) -> None:
    """All files are there, readable, and of the same length."""
    assert {path.name for path in output.iterdir()} == OUTPUTS
    poses = np.load(output / "poses.npz", allow_pickle=False)
    count = len(poses["frame"])
    assert frames is None or count == frames
    assert poses["points_m"].shape == poses["raw_points_m"].shape == poses["sigma_m"].shape == (count, 17, 3)
    assert poses["confidence"].shape == (count, 17)
    with (output / "poses.csv").open() as file:
        assert len(list(csv.reader(file))) == count + 1
    trc = (output / "poses.trc").read_text().splitlines()
    assert int(trc[2].split("\t")[2]) == count
    assert frames_in(output / "overlay.mp4") == count
    assert summary_of(output)["frames"] == count


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The error message; there is exactly one, and no traceback."""
    err = capsys.readouterr().err
    assert err.count("error: ") == 1, err
    assert "Traceback" not in err
    return err


# Whole runs.


def test_demo_reports_its_error_and_refining_helps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo", "-o", tmp_path / "out", "--duration", 6) == 0
    said = capsys.readouterr().out
    assert "imulated" in said
    assert_outputs_agree(tmp_path / "out", 180)
    poses = np.load(tmp_path / "out" / "poses.npz")
    scene = SimulatedScene(virtual_rig(), SimulatedPerson())
    truth_m = np.stack([scene.truth_m(t) for t in poses["timestamp_s"]])
    observed = poses["confidence"] > 0
    triangulated_mm, refined_mm = (
        np.linalg.norm(poses[name] - truth_m, axis=-1)[observed].mean() * 1e3 for name in ("raw_points_m", "points_m")
    )
    assert refined_mm < triangulated_mm < 60
    assert f"triangulated {triangulated_mm:.1f} mm" in said
    assert f"refined (dual-diffusion) {refined_mm:.1f} mm" in said


def test_demo_in_the_world_frame_stands_on_the_floor(tmp_path: Path) -> None:
    assert run("demo", "-o", tmp_path / "out", "--duration", 1, "--world", "--no-overlay") == 0
    points_m = np.load(tmp_path / "out" / "poses.npz")["points_m"]
    ankles = [BODY17.index("RightAnkle"), BODY17.index("LeftAnkle")]
    assert -0.1 < points_m[:, ankles, 2].min() < 0.2
    assert 1.4 < points_m[:, BODY17.index("HeadTop"), 2].mean() < 2.0


def test_video_finds_the_rendered_person_where_it_is(
    filmed: Filmed, tmp_path: Path, blazepose_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert video(filmed, tmp_path / "out") == 0
    assert_outputs_agree(tmp_path / "out", FRAMES)
    poses = np.load(tmp_path / "out" / "poses.npz")
    assert np.isfinite(poses["points_m"]).all(axis=(1, 2)).mean() >= 0.95
    # BlazePose's joints are not the simulation's, and 0.25 m of baseline leaves centimetres; limbs are where they are.
    limbs = [BODY17.index(f"{side}{joint}") for side in ("Left", "Right") for joint in ("Hip", "Knee", "Ankle")]
    error_m = np.linalg.norm(poses["points_m"] - filmed.truth_m, axis=-1)[:, limbs]
    assert np.median(error_m) < 0.12
    summary = summary_of(tmp_path / "out")
    assert summary["detector"] == "blazepose"
    assert summary["frames_with_pose"] >= 0.95 * FRAMES
    assert {"read", "rectify", "detect", "triangulate", "refine", "draw"} <= set(summary["stage_ms"])
    said = capsys.readouterr()
    assert str(tmp_path / "out" / "overlay.mp4") in said.out
    # Joints nobody observes say so.
    assert (poses["confidence"][:, BODY17.index("HeadTop")] == 0).all()


def test_side_by_side_gives_what_two_files_give(filmed: Filmed, tmp_path: Path, blazepose_weights: Path) -> None:
    views = [cv2.VideoCapture(str(path)) for path in (filmed.left, filmed.right)]
    both = [np.hstack([views[0].read()[1], views[1].read()[1]]) for _ in range(12)]
    path = write_video(tmp_path / "both.mp4", both)
    arguments = ("--rig", filmed.rig, "-o", tmp_path / "out", "--no-overlay")
    assert run("video", path, "--side-by-side", *arguments) == 0
    assert video(filmed, tmp_path / "two", "--no-overlay") == 0
    one, two = (np.load(tmp_path / name / "poses.npz")["points_m"][:12] for name in ("out", "two"))
    # The same pictures but for one more lossy encoding.
    assert np.nanmedian(np.linalg.norm(one - two, axis=-1)) < 0.03


def test_real_people_are_found_in_almost_every_frame(
    shared_data: Path, tmp_path: Path, blazepose_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared_data / "stereo" / "pose2sim-single-person"
    rig = tmp_path / "rig.toml"
    qca = folder / "calibration" / "Calib.qca.txt"
    assert run("rig", "import", qca, "--left", "cam01", "--right", "cam02", "-o", rig) == 0
    assert "baseline 2853.5 mm" in capsys.readouterr().out
    videos = (folder / "videos" / "cam01.mp4", folder / "videos" / "cam02.mp4")
    assert run("video", *videos, "--rig", rig, "-o", tmp_path / "out", "--no-overlay", "--world") == 0
    summary = summary_of(tmp_path / "out")
    poses = np.load(tmp_path / "out" / "poses.npz")
    assert summary["frames"] == 100
    assert np.isfinite(poses["points_m"]).all(axis=(1, 2)).mean() >= 0.95
    # Published for this clip, all landmarks, before anything is put right: 5.8 px median.
    assert summary["raw_reprojection_px"]["median"] < 7
    assert summary["frames_with_exchanged_sides"] > 10
    assert any("1088" in warning for warning in summary["warnings"])
    # In the room the man stands upright to begin with: head above hips above ankles, by what a man has there.
    up_m = poses["points_m"][:10, :, 2].mean(axis=0)
    assert 0.45 < up_m[BODY17.index("Nose")] - up_m[BODY17.index("Pelvis")] < 0.75
    assert 0.6 < up_m[BODY17.index("Pelvis")] - up_m[BODY17.index("LeftAnkle")] < 0.95


# What can be wrong with the input: a message and an exit code, no traceback, nothing lost.


@pytest.mark.parametrize("which", ["left", "right"])
def test_a_missing_video_is_named(
    filmed: Filmed, tmp_path: Path, which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert video(filmed, tmp_path / "out", **{which: tmp_path / "nowhere.mp4"}) == 2
    assert "nowhere.mp4: no such file" in one_error(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100], ids=["empty", "text"])
def test_an_unreadable_video_is_named(
    filmed: Filmed, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(content)
    assert video(filmed, tmp_path / "out", right=broken) == 2
    assert "broken.mp4: cannot be read as a video" in one_error(capsys)
    assert not (tmp_path / "out").exists()


def test_a_truncated_video_is_used_as_far_as_it_goes(
    filmed: Filmed, tmp_path: Path, blazepose_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = cv2.VideoCapture(str(filmed.left))
    path = tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, (1280, 720))
    while (frame := capture.read())[0]:
        writer.write(frame[1])
    writer.release()
    # An AVI states its length at the front, so half a file announces more frames than it has.
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert video(filmed, tmp_path / "out", left=path) == 3
    assert_outputs_agree(tmp_path / "out")
    count = summary_of(tmp_path / "out")["frames"]
    assert 0.3 * FRAMES < count < 0.7 * FRAMES
    assert f"breaks off after {count} of {FRAMES} frames" in capsys.readouterr().err


def test_views_of_different_length_give_the_shorter(
    filmed: Filmed, tmp_path: Path, blazepose_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = cv2.VideoCapture(str(filmed.right))
    short = write_video(tmp_path / "short.mp4", [capture.read()[1] for _ in range(20)])
    assert video(filmed, tmp_path / "out", "--no-overlay", right=short) == 0
    assert summary_of(tmp_path / "out")["frames"] == 20
    assert "differ in length (45 and 20 frames)" in capsys.readouterr().err


def test_views_of_different_rate_are_paired_by_time(
    filmed: Filmed, tmp_path: Path, blazepose_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capture = cv2.VideoCapture(str(filmed.right))
    half = [picture for number in range(FRAMES) if (picture := capture.read()[1]) is not None and number % 2 == 0]
    slow = write_video(tmp_path / "slow.mp4", half, RATE / 2)
    assert video(filmed, tmp_path / "out", "--no-overlay", right=slow) == 0
    assert "paired by time stamp" in capsys.readouterr().err
    poses = np.load(tmp_path / "out" / "poses.npz")
    np.testing.assert_allclose(np.diff(poses["timestamp_s"]), 2 / RATE, atol=2e-3)
    # Pictures of other moments would put the walking person somewhere else altogether.
    assert summary_of(tmp_path / "out")["epipolar_px"]["median"] < 5


def test_pictures_of_another_shape_than_the_rig_are_refused(
    filmed: Filmed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    square = write_video(tmp_path / "square.mp4", [np.zeros((480, 640, 3), np.uint8)] * 5)
    assert video(filmed, tmp_path / "out", left=square, right=square) == 2
    message = one_error(capsys)
    assert "640 x 480" in message
    assert "1280 x 720" in message
    assert not (tmp_path / "out").exists()


def test_smaller_pictures_of_the_same_shape_scale_the_rig(
    filmed: Filmed, tmp_path: Path, blazepose_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    halves = []
    for path in (filmed.left, filmed.right):
        capture = cv2.VideoCapture(str(path))
        pictures = [cv2.resize(capture.read()[1], (640, 360), interpolation=cv2.INTER_AREA) for _ in range(15)]
        halves.append(write_video(tmp_path / path.name, pictures))
    assert video(filmed, tmp_path / "out", "--no-overlay", left=halves[0], right=halves[1]) == 0
    assert "the calibration was scaled" in capsys.readouterr().err
    pelvis_m = np.load(tmp_path / "out" / "poses.npz")["points_m"][:, BODY17.index("Pelvis")]
    assert np.median(np.linalg.norm(pelvis_m - filmed.truth_m[:15, BODY17.index("Pelvis")], axis=1)) < 0.12


def test_exchanged_views_are_named_as_such_and_leave_nothing(
    filmed: Filmed, tmp_path: Path, blazepose_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert video(filmed, tmp_path / "out", left=filmed.right, right=filmed.left) == 2
    message = one_error(capsys)
    assert "left and right seem to be exchanged" in message
    assert "negative disparity" in message
    assert not (tmp_path / "out").exists()


def test_exchanged_views_do_not_cost_the_results_of_an_earlier_run(
    filmed: Filmed, tmp_path: Path, blazepose_weights: Path
) -> None:
    output = tmp_path / "out"
    assert run("demo", "-o", output, "--duration", 0.5) == 0
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    assert video(filmed, output, "--force", left=filmed.right, right=filmed.left) == 2
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


def test_nobody_in_view_is_said_and_is_no_pose(
    filmed: Filmed, empty_room: Path, tmp_path: Path, blazepose_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert video(filmed, tmp_path / "out", left=empty_room, right=empty_room) == 3
    assert_outputs_agree(tmp_path / "out", FRAMES)
    assert np.isnan(np.load(tmp_path / "out" / "poses.npz")["points_m"]).all()
    assert "nobody was found in both views" in capsys.readouterr().err
    assert summary_of(tmp_path / "out")["reprojection_px"]["mean"] is None


def test_somebody_in_one_view_only_is_no_pose(
    filmed: Filmed, empty_room: Path, tmp_path: Path, blazepose_weights: Path
) -> None:
    assert video(filmed, tmp_path / "out", "--no-overlay", right=empty_room) == 3
    assert np.isnan(np.load(tmp_path / "out" / "poses.npz")["points_m"]).all()
    assert summary_of(tmp_path / "out")["frames_in_one_view"] > 0.9 * FRAMES


def _without(section: str) -> Callable[[str], str]:
    return lambda text: text.replace(f"[{section}]", f"[{section}_]")


BROKEN_RIGS = {
    "empty": (lambda text: "", "format"),
    "no toml": (lambda text: text.replace("=", ":"), "not valid TOML"),
    "foreign": (lambda text: 'title = "shopping list"\n', "format"),
    "newer": (lambda text: text.replace("version = 1", "version = 9"), "version"),
    "no left camera": (_without("left"), "left"),
    "no transform": (_without("right_from_left"), "right_from_left"),
    "a word for a number": (lambda text: text.replace("1280", '"wide"', 1), "left.size_px"),
    "no rotation": (lambda text: text.replace("rotation = [", "rotation = [[2, 0, 0], [0, 1, 0], [0, 0, 1]]\nx = [", 1),
                    "rotation"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_RIGS)
def test_a_broken_rig_file_is_named_with_the_key(
    filmed: Filmed, tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    breaks, expected = BROKEN_RIGS[case]
    rig = tmp_path / "rig.toml"
    rig.write_text(breaks(filmed.rig.read_text()))
    assert run("video", filmed.left, filmed.right, "--rig", rig, "-o", tmp_path / "out") == 2
    message = one_error(capsys)
    assert str(rig) in message
    assert expected in message
    assert not (tmp_path / "out").exists()


def test_a_full_output_folder_is_refused_before_work_starts(
    filmed: Filmed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    assert video(filmed, tmp_path / "out") == 2
    assert "thesis.txt" in one_error(capsys)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_force_replaces_only_its_own_files(tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert run("demo", "-o", output, "--duration", 0.2) == 0
    (output / "thesis.txt").write_text("precious")
    assert run("demo", "-o", output, "--duration", 0.1, "--no-overlay") == 2
    assert run("demo", "-o", output, "--duration", 0.1, "--no-overlay", "--force") == 0
    assert (output / "thesis.txt").read_text() == "precious"
    assert not (output / "overlay.mp4").exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run("demo", "-o", tmp_path / "file" / "out") == 2
    assert str(tmp_path / "file" / "out") in one_error(capsys)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("nowhere.onnx", None, "no such file"),
        ("broken.onnx", b"not a network", "broken.onnx"),
        ("broken.zip", b"PK not a zip", "broken.zip"),
        ("yolo", None, 'found "yolo"'),
    ],
)
def test_a_detector_that_is_none_is_refused(
    filmed: Filmed,
    tmp_path: Path,
    name: str,
    content: bytes | None,
    expected: str,
    blazepose_weights: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    detector = tmp_path / name if "." in name else name
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert video(filmed, tmp_path / "out", "--detector", detector) == 2
    assert expected in one_error(capsys)
    assert not (tmp_path / "out").exists()


def test_one_video_without_side_by_side_is_explained(filmed: Filmed, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("video", filmed.left, "--rig", filmed.rig, "-o", "unused") == 2
    assert "--side-by-side" in one_error(capsys)


def test_world_needs_a_world_frame(filmed: Filmed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rig = load_rig(filmed.rig)
    bare = tmp_path / "bare.toml"
    save_rig(type(rig)(rig.left, rig.right, rig.right_from_left), bare)
    assert run("video", filmed.left, filmed.right, "--rig", bare, "-o", tmp_path / "out", "--world") == 2
    assert "world_from_left" in one_error(capsys)
    assert not (tmp_path / "out").exists()


def _demo_process(output: Path, *more: str, limit_bytes: int | None = None) -> subprocess.Popen[str]:
    def limit() -> None:
        if limit_bytes is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    command = [sys.executable, "-m", "binopose.app", "demo", "-o", str(output), "--duration", "600", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=limit)


def _wait_for_frames(output: Path, process: subprocess.Popen[str], lines: int) -> None:
    deadline_s = time.monotonic() + 60
    poses = output / "poses.csv"
    while not poses.is_file() or poses.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_valid_files(tmp_path: Path, number: signal.Signals) -> None:
    process = _demo_process(tmp_path / "out")
    _wait_for_frames(tmp_path / "out", process, 20)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert_outputs_agree(tmp_path / "out")
    assert "interrupted" in summary_of(tmp_path / "out")["warnings"][0]


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_a_killed_run_can_be_recovered(tmp_path: Path) -> None:
    process = _demo_process(tmp_path / "out", "--no-overlay")
    _wait_for_frames(tmp_path / "out", process, 20)
    process.kill()
    process.communicate(timeout=30)
    journal = tmp_path / "out" / "poses.partial.npy"
    # After a crash of the machine the header may be newer than the records.
    journal.write_bytes(journal.read_bytes()[:-1000])
    assert run("recover", tmp_path / "out") == 0
    count = len(np.load(tmp_path / "out" / "poses.npz")["frame"])
    assert count >= 17
    trc = (tmp_path / "out" / "poses.trc").read_text().splitlines()
    assert int(trc[2].split("\t")[2]) == int(trc[2].split("\t")[7]) == len(trc) - 6 >= count
    assert run("recover", tmp_path / "out") == 2  # nothing left to recover


@pytest.mark.skipif(os.name != "posix", reason="file size limits as POSIX has them")
def test_a_full_disk_ends_the_run_with_readable_files(tmp_path: Path) -> None:
    process = _demo_process(tmp_path / "out", "--no-overlay", limit_bytes=200_000)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert "Traceback" not in err
    assert "cannot be written" in err
    with (tmp_path / "out" / "poses.csv").open() as file:
        rows = list(csv.reader(file))
    assert len(rows) > 20
    assert all(len(row) == len(rows[0]) for row in rows)


def test_settings_come_from_a_file_and_the_command_line_wins(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(f'duration = 0.2\nno-overlay = true\noutput = "{tmp_path / "from-file"}"\ndenoiser = "off"\n')
    assert run("demo", "--config", settings, "--denoiser", "skeleton") == 0
    summary = summary_of(tmp_path / "from-file")
    assert summary["frames"] == 6
    assert summary["denoiser"] == "skeleton"


def test_odd_arguments_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("demo", "-o", tmp_path / "out", "--seed", -1) == 2
    assert "--seed" in one_error(capsys)
    assert run("demo", "-o", tmp_path / ("x" * 300)) == 2
    one_error(capsys)
    # An abbreviation of --config would be understood by one parser and not by the other.
    with pytest.raises(SystemExit):
        run("demo", "-o", tmp_path / "out", "--conf", tmp_path / "nowhere.toml")
    assert "unrecognized arguments: --conf" in capsys.readouterr().err


def test_a_reader_who_has_enough_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m binopose.app models list | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_every_command_teaches_itself(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("demo", "video", "calibrate", "board", "rig", "models", "recover"):
        with pytest.raises(SystemExit) as done:
            run(command, "--help")
        assert done.value.code == 0
        assert command in capsys.readouterr().out
