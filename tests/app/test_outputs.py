"""Output files, read back by other means than the program's own; also after a kill and on a full disk."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.app.outputs import video_writer
from binopose.app.outputs.csv_writer import CsvWriter
from binopose.app.outputs.files import (
    OUTPUT_FILES,
    OutputError,
    forget_replaced,
    prepare_output_folder,
    restore_replaced,
    write_json,
)
from binopose.app.outputs.npz_writer import NpzWriter, recover_poses
from binopose.app.outputs.record import PoseRecord, Recording
from binopose.app.outputs.trc_writer import TrcWriter
from binopose.app.outputs.video_writer import VideoWriter, open_video_writer
from binopose.app.outputs.writers import OutputWriters
from binopose.models.skeleton import BODY17

RECORDING = Recording(BODY17.joints, 60.0, "left camera, x right, y down, z forward")


def records(count: int) -> list[PoseRecord]:
    """Random poses; every third frame has none, and the last joint of every fourth has no place."""
    random = np.random.default_rng(7)
    made = []
    for frame in range(count):
        if frame % 3 == 2:
            made.append(PoseRecord.without_pose(frame, frame / 60, 17))
            continue
        points_m, raw_m = random.normal(size=(2, 17, 3))
        if frame % 4 == 0:
            points_m[-1] = np.nan
        made.append(PoseRecord(frame, frame / 60, points_m, raw_m, random.random(17), random.random((17, 3))))
    return made


def write_all(folder: Path, made: list[PoseRecord], recording: Recording = RECORDING) -> None:
    with OutputWriters(folder, recording) as writers:
        for record in made:
            writers.write(record)


def opensim_tokens(line: str) -> list[str]:
    """Cells of a line as OpenSim cuts it: what follows the last tab counts only if it is not empty."""
    cells = line.split("\t")
    return cells if cells[-1] else cells[:-1]


def read_trc(path: Path) -> tuple[dict[str, str], list[str], np.ndarray, np.ndarray]:
    """Header, marker names, times (N,) and markers (N, M, 3) of a TRC file, refusing what OpenSim refuses."""
    lines = path.read_text().split("\n")
    assert lines[-1] == ""
    assert lines[0].startswith("PathFileType\t4\t(X/Y/Z)\t")
    header = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))
    names = [cell for cell in lines[3].split("\t") if cell]
    assert names[:2] == ["Frame#", "Time"]
    markers = int(header["NumMarkers"])
    axes = [cell for cell in lines[4].split("\t") if cell]
    assert axes == [f"{axis}{number}" for number in range(1, markers + 1) for axis in "XYZ"]
    assert lines[5] == ""
    rows = [opensim_tokens(line) for line in lines[6:-1]]
    assert all(len(row) == 2 + 3 * markers for row in rows)
    assert [row[0] for row in rows] == [str(number) for number in range(1, len(rows) + 1)]
    values = np.array([[float(cell) if cell else np.nan for cell in row[1:]] for row in rows])
    values = values.reshape(len(rows), 1 + 3 * markers)
    return header, names[2:], values[:, 0], values[:, 1:].reshape(len(rows), markers, 3)


def run_python(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own."""
    command = [sys.executable, "-c", code, str(folder), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


# -- poses ---------------------------------------------------------------------------------------------------------


def test_npz_holds_every_frame(tmp_path: Path) -> None:
    made = records(10)
    write_all(tmp_path, made)
    with np.load(tmp_path / "poses.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert {name: (values.dtype.str, values.shape) for name, values in arrays.items() if values.dtype.kind != "U"} == {
        "points_m": ("<f4", (10, 17, 3)),
        "refined_points_m": ("<f4", (10, 17, 3)),
        "raw_points_m": ("<f4", (10, 17, 3)),
        "confidence": ("<f4", (10, 17)),
        "sigma_m": ("<f4", (10, 17, 3)),
        "timestamp_s": ("<f8", (10,)),
        "frame": ("<i8", (10,)),
        "marks": ("|u1", (10,)),
    }
    for name in ("points_m", "raw_points_m", "confidence", "sigma_m"):
        np.testing.assert_array_equal(arrays[name], np.stack([getattr(r, name) for r in made]).astype(np.float32))
    np.testing.assert_array_equal(arrays["refined_points_m"], arrays["points_m"], "the same unless smoothed")
    assert arrays["timestamp_s"].tolist() == [record.timestamp_s for record in made]
    assert tuple(arrays["joint_names"].tolist()) == BODY17.joints
    assert str(arrays["frame_of_reference"]) == RECORDING.frame_of_reference
    with zipfile.ZipFile(tmp_path / "poses.npz") as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_DEFLATED}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["poses.csv", "poses.npz", "poses.trc"]


def test_run_without_frames_leaves_readable_files(tmp_path: Path) -> None:
    write_all(tmp_path, [])
    with np.load(tmp_path / "poses.npz", allow_pickle=False) as file:
        assert file["points_m"].shape == (0, 17, 3)
    assert len((tmp_path / "poses.csv").read_text().splitlines()) == 1
    assert read_trc(tmp_path / "poses.trc")[0]["NumFrames"].strip() == "0"


def test_csv_says_the_same_as_npz(tmp_path: Path) -> None:
    write_all(tmp_path, records(12))
    with (tmp_path / "poses.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["timestamp_s", "frame", "RightAnkle_x_m", "RightAnkle_y_m"]
    assert len(rows[0]) == 2 + 17 * 7
    with np.load(tmp_path / "poses.npz", allow_pickle=False) as poses:
        assert [int(row["frame"]) for row in rows] == poses["frame"].tolist()
        np.testing.assert_allclose([float(row["timestamp_s"]) for row in rows], poses["timestamp_s"], atol=1e-6)
        for joint, name in enumerate(BODY17.joints):
            columns = {f"{name}_{axis}_m": poses["points_m"][:, joint, i] for i, axis in enumerate("xyz")}
            columns |= {f"{name}_sigma_{axis}_m": poses["sigma_m"][:, joint, i] for i, axis in enumerate("xyz")}
            columns[f"{name}_confidence"] = poses["confidence"][:, joint]
            for column, expected in columns.items():
                found = [float(row[column]) if row[column] else np.nan for row in rows]
                np.testing.assert_allclose(found, expected, atol=2e-6, err_msg=column)
    assert rows[2]["Nose_x_m"] == ""


@pytest.mark.parametrize("z_up", [False, True])
def test_trc_is_what_opensim_reads(tmp_path: Path, z_up: bool) -> None:
    made = records(9)
    recording = Recording(BODY17.joints, 29.97, "somewhere", z_up)
    write_all(tmp_path, made, recording)
    header, names, times_s, markers_m = read_trc(tmp_path / "poses.trc")
    assert header["NumFrames"].strip() == header["OrigNumFrames"].strip() == "9"
    assert (header["Units"], float(header["DataRate"])) == ("m", 29.97)
    assert tuple(names) == BODY17.joints
    np.testing.assert_allclose(times_s, [record.timestamp_s for record in made], atol=1e-6)
    x, y, z = np.moveaxis(np.stack([record.points_m for record in made]), -1, 0)
    expected = np.stack([x, z, -y] if z_up else [x, -y, -z], axis=-1)
    np.testing.assert_allclose(markers_m, expected, atol=1e-6)


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    made = records(100)
    with OutputWriters(tmp_path, RECORDING) as writers:
        for record in made:
            writers.write(record)
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(10):
            for record in made:
                writers.write(record)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert after - before < 20_000  # 1000 frames are 700 kB
    with np.load(tmp_path / "poses.npz", allow_pickle=False) as poses:
        assert len(poses["frame"]) == 1100


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from binopose.app.outputs.record import PoseRecord, Recording
from binopose.app.outputs.writers import OutputWriters
from binopose.models.skeleton import BODY17
points_m = np.arange(51.0).reshape(17, 3)
with OutputWriters(Path(sys.argv[1]), Recording(BODY17.joints, 30.0, "the room")) as writers:
    for frame in range(500):
        writers.write(PoseRecord(frame, frame / 30, points_m + frame, points_m, np.ones(17), points_m))
        if frame == 123:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_run_loses_no_frame(tmp_path: Path) -> None:
    assert run_python(KILLED, tmp_path).returncode == -signal.SIGKILL
    expected = np.arange(51.0).reshape(17, 3) + np.arange(124)[:, None, None]

    journal = np.load(tmp_path / "poses.partial.npy", allow_pickle=False)
    np.testing.assert_array_equal(journal["points_m"], expected)
    lines = (tmp_path / "poses.csv").read_text()
    assert lines.endswith("\n")
    rows = list(csv.reader(lines.splitlines()))
    assert len(rows) == 125
    assert {len(row) for row in rows} == {2 + 17 * 7}
    np.testing.assert_allclose(read_trc(tmp_path / "poses.trc")[3][..., 0], expected[..., 0])

    assert recover_poses(tmp_path) == 124
    with np.load(tmp_path / "poses.npz", allow_pickle=False) as poses:
        np.testing.assert_array_equal(poses["points_m"], expected)
        assert str(poses["frame_of_reference"]) == "the room"
    with pytest.raises(OutputError, match=r"poses\.partial\.npy"):
        recover_poses(tmp_path)


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from binopose.app.outputs.files import OutputError
from binopose.app.outputs.record import PoseRecord, Recording
from binopose.app.outputs.writers import OutputWriters
from binopose.models.skeleton import BODY17
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
points_m = np.random.default_rng(0).normal(size=(17, 3))
try:
    with OutputWriters(Path(sys.argv[1]), Recording(BODY17.joints, 30.0, "the room")) as writers:
        for frame in range(500):
            writers.write(PoseRecord(frame, frame / 30, points_m + frame, points_m, np.ones(17), points_m))
except OutputError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a POSIX facility")
def test_full_disk_keeps_whole_records_in_every_file(tmp_path: Path) -> None:
    run = run_python(FULL, tmp_path)
    assert run.returncode == 1
    assert "poses.csv: cannot be written" in run.stderr
    assert "Traceback" not in run.stderr
    rows = list(csv.reader((tmp_path / "poses.csv").read_text().splitlines()))
    assert (tmp_path / "poses.csv").stat().st_size <= 50_000
    assert {len(row) for row in rows} == {2 + 17 * 7}
    with np.load(tmp_path / "poses.npz", allow_pickle=False) as poses:
        # The npz is written before the csv, so it has the frame the csv could not take.
        assert len(poses["frame"]) == len(rows) > 30
    header, _, times_s, _ = read_trc(tmp_path / "poses.trc")
    assert int(header["NumFrames"]) == len(times_s) == len(rows) - 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_file_that_cannot_be_finished_does_not_spoil_the_others(tmp_path: Path) -> None:
    made = records(8)
    writers = OutputWriters(tmp_path, RECORDING)
    for record in made:
        writers.write(record)
    (tmp_path / "poses.npz.unfinished").symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"all 8 poses are kept in .*poses\.partial\.npy"):
        writers.close()
    assert int(read_trc(tmp_path / "poses.trc")[0]["NumFrames"]) == 8
    assert recover_poses(tmp_path) == 8
    with np.load(tmp_path / "poses.npz", allow_pickle=False) as poses:
        np.testing.assert_array_equal(poses["points_m"], np.stack([r.points_m for r in made]).astype(np.float32))


@pytest.mark.parametrize("writer", [NpzWriter, CsvWriter, TrcWriter])
def test_closing_twice_is_allowed(tmp_path: Path, writer: type[NpzWriter | CsvWriter | TrcWriter]) -> None:
    opened = writer(tmp_path / ("poses.npz" if writer is NpzWriter else "poses.txt"), RECORDING)
    opened.write(records(1)[0])
    opened.close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    opened.close()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_record_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sigma_m: expected shape \(17, 3\), got \(17,\)"):
        PoseRecord(0, 0.0, np.zeros((17, 3)), np.zeros((17, 3)), np.zeros(17), np.zeros(17))


# -- folder and json -----------------------------------------------------------------------------------------------


def test_json_has_null_for_nan_and_replaces_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_json(
        path, {"a": float("nan"), "b": np.array([1.5, np.inf]), "c": {"d": np.int64(3)}, "e": tmp_path, "f": "é"}
    )
    assert json.loads(path.read_text("utf-8")) == {
        "a": None, "b": [1.5, None], "c": {"d": 3}, "e": str(tmp_path), "f": "é",
    }  # fmt: skip
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["summary.json"]


def test_output_folder_is_made(tmp_path: Path) -> None:
    assert prepare_output_folder(tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []
    prepare_output_folder(tmp_path / "a" / "b")  # empty is as good as new


def test_output_folder_with_files_is_refused_or_cleared_of_ours(tmp_path: Path) -> None:
    for name in (*OUTPUT_FILES, "notes.txt", "poses.npz.unfinished"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old")
    with pytest.raises(OutputError, match=r"expected an empty or new folder.*--force"):
        prepare_output_folder(tmp_path)
    assert (tmp_path / "poses.npz").exists()
    prepare_output_folder(tmp_path, force=True)
    (tmp_path / "poses.npz").write_text("new")
    restore_replaced(tmp_path)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {*OUTPUT_FILES, "notes.txt"}
    assert (tmp_path / "poses.npz").read_text() == "old"
    prepare_output_folder(tmp_path, force=True)
    forget_replaced(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_output_folder_that_is_a_file_or_below_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="expected a folder for the results, found a file"):
        prepare_output_folder(tmp_path / "file", force=True)
    with pytest.raises(OutputError, match="cannot be written"):
        prepare_output_folder(tmp_path / "file" / "results")
    assert (tmp_path / "file").read_text() == "x"


# -- video ---------------------------------------------------------------------------------------------------------

SIZE_PX = (96, 64)


def coloured(number: int) -> np.ndarray:
    """A plain picture whose colour tells its number."""
    return np.full((SIZE_PX[1], SIZE_PX[0], 3), (40 + 5 * number, 200 - 4 * number, 90), np.uint8)


def read_with_cv2(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    pictures = []
    while (read := capture.read())[0]:
        pictures.append(read[1])
    capture.release()
    return pictures


def mean_colours(pictures: list[np.ndarray]) -> np.ndarray:
    return np.array([picture.reshape(-1, 3).mean(axis=0) for picture in pictures])


def test_h264_keeps_pictures_colours_and_times(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "overlay.mp4"
    times_s = 100 + np.cumsum(np.r_[0, np.tile([0.02, 0.05], 15)[:24]])
    with open_video_writer(path, SIZE_PX, 30.0) as writer:
        for number, time_s in enumerate(times_s):
            writer.write(coloured(number), float(time_s))
    expected = mean_colours([coloured(number) for number in range(25)])
    np.testing.assert_allclose(mean_colours(read_with_cv2(path)), expected, atol=4)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec.name, stream.width, stream.height) == ("h264", *SIZE_PX)
        assert stream.frames == 25
        decoded = list(container.decode(stream))
    np.testing.assert_allclose([frame.time for frame in decoded], times_s - 100, atol=1e-4)
    # By its own tags; the scaler behind it is not what wrote the file.
    np.testing.assert_allclose(mean_colours([f.to_ndarray(format="bgr24") for f in decoded]), expected, atol=5)


def test_h264_times_that_go_back_still_make_a_video(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "overlay.mp4"
    with open_video_writer(path, SIZE_PX, 20.0) as writer:
        for number, time_s in enumerate([0.0, 0.05, 0.1, 0.1, 0.0, 0.05]):  # stands still, then starts over
            writer.write(coloured(number), time_s)
    with av.open(str(path)) as container:
        times_s = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(times_s, [0.0, 0.05, 0.1, 0.15, 0.2, 0.25], atol=1e-4)


KILLED_VIDEO = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from binopose.app.outputs.video_writer import open_video_writer
with open_video_writer(Path(sys.argv[1]) / "overlay.mp4", (96, 64), 10.0) as writer:
    for number in range(100):
        writer.write(np.full((64, 96, 3), 2 * number, np.uint8), number / 10)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_run_leaves_a_video_that_plays(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    assert run_python(KILLED_VIDEO, tmp_path).returncode == -signal.SIGKILL
    colours = mean_colours(read_with_cv2(tmp_path / "overlay.mp4"))
    assert len(colours) >= 60  # of 100; the encoder holds the last few seconds at this slow rate
    np.testing.assert_allclose(colours[:, 1], 2 * np.arange(len(colours)), atol=4)
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        assert len(list(container.decode(video=0))) == len(colours)


FULL_VIDEO = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from binopose.app.outputs.files import OutputError
from binopose.app.outputs.video_writer import open_video_writer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
random = np.random.default_rng(0)
pictures = random.integers(0, 255, (10, 64, 96, 3), dtype=np.uint8)
try:
    with open_video_writer(Path(sys.argv[1]) / "overlay.mp4", (96, 64), 10.0) as writer:
        for number in range(400):
            writer.write(pictures[number % 10], number / 10)
except OutputError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a POSIX facility")
def test_full_disk_ends_the_video_between_two_fragments(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    run = run_python(FULL_VIDEO, tmp_path)
    assert run.returncode == 1
    assert "overlay.mp4: cannot be written" in run.stderr
    with av.open(str(tmp_path / "overlay.mp4")) as container:  # a broken end would raise here
        count = len(list(container.decode(video=0)))
    assert 10 <= count < 400
    assert len(read_with_cv2(tmp_path / "overlay.mp4")) == count


def test_without_pyav_opencv_writes_the_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(video_writer.importlib.util, "find_spec", lambda name: None)
    path = tmp_path / "overlay.mp4"
    with open_video_writer(path, SIZE_PX, 25.0) as writer:
        for number in range(20):
            writer.write(coloured(number), number / 25)
    assert "pip install av" in caplog.text
    expected = mean_colours([coloured(number) for number in range(20)])
    np.testing.assert_allclose(mean_colours(read_with_cv2(path)), expected, atol=6)


@pytest.mark.parametrize("pyav", [True, False])
def test_video_that_cannot_be_opened_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pyav: bool
) -> None:
    if pyav:
        pytest.importorskip("av")
    else:
        monkeypatch.setattr(video_writer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OutputError, match=r"nowhere.overlay\.mp4"):
        open_video_writer(tmp_path / "nowhere" / "overlay.mp4", SIZE_PX, 25.0)


class SpyEncoder:
    """Notes what it is given and by which thread; fails at a chosen picture."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at = fail_at
        self.seen: list[int] = []
        self.threads: set[int] = set()
        self.closed = 0
        self.gate = threading.Event()

    def encode(self, image: np.ndarray, timestamp_s: float) -> None:
        self.gate.wait(10)
        self.threads.add(threading.get_ident())
        if len(self.seen) == self.fail_at:
            raise OutputError("disk full")
        self.seen.append(int(image[0, 0, 0]))

    def close(self) -> None:
        self.closed += 1


def test_encoding_runs_beside_the_caller_and_in_order() -> None:
    spy = SpyEncoder()
    with VideoWriter(spy, (2, 2)) as writer:
        for number in range(4):
            writer.write(np.full((2, 2, 3), number, np.uint8), number)  # returns although nothing is encoded yet
        assert spy.seen == []
        spy.gate.set()
        for number in range(4, 50):
            writer.write(np.full((2, 2, 3), number, np.uint8), number)
    assert spy.seen == list(range(50))
    assert len(spy.threads) == 1
    assert threading.get_ident() not in spy.threads
    assert spy.closed == 1


def test_error_of_the_encoder_reaches_the_caller_once_and_closes() -> None:
    spy = SpyEncoder(fail_at=3)
    spy.gate.set()
    writer = VideoWriter(spy, (2, 2))

    def write_many() -> None:
        with writer:
            for _ in range(100):
                writer.write(np.zeros((2, 2, 3), np.uint8), 0.0)

    with pytest.raises(OutputError, match="disk full"):
        write_many()
    assert spy.closed == 1
    writer.close()


def test_pictures_of_another_size_are_refused() -> None:
    with VideoWriter(SpyEncoder(), (4, 2)) as writer, pytest.raises(ValueError, match=r"expected \(2, 4, 3\)"):
        writer.write(np.zeros((4, 2, 3), np.uint8), 0.0)
    with pytest.raises(ValueError, match="even"):
        open_video_writer(Path("never.mp4"), (5, 4), 30.0)
