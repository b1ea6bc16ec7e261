"""Stereo recordings: little videos whose frames carry their own number, paired, cut off and abandoned."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.app.recording import StereoRecording, VideoFile, VideoFileError

WIDTH, HEIGHT, BITS = 96, 48, 8


def numbered(number: int, width: int = WIDTH) -> np.ndarray:
    """A picture of eight upright stripes, black or white: the number in binary; survives any compression."""
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    row = np.repeat(np.array(bits, dtype=np.uint8) * 220 + 15, WIDTH // BITS)
    picture = np.full((HEIGHT, width, 3), 128, dtype=np.uint8)
    picture[:, :WIDTH] = row[None, :, None]
    return picture


def number_in(picture: np.ndarray) -> int:
    stripes = picture[:, :WIDTH].reshape(HEIGHT, BITS, WIDTH // BITS, 3)[4:-4, :, 3:-3].mean(axis=(0, 2, 3))
    return sum(1 << bit for bit, brightness in enumerate(stripes) if brightness > 128)


def write(path: Path, pictures: Iterator[np.ndarray] | list[np.ndarray], rate: float = 30.0) -> Path:
    pictures = list(pictures)
    codec = {".avi": "MJPG", ".mkv": "MJPG", ".mp4": "mp4v"}[path.suffix]
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), rate, (width, height))
    assert writer.isOpened()
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


def video(path: Path, frames: int, rate: float = 30.0, first: int = 0) -> Path:
    return write(path, [numbered(first + number) for number in range(frames)], rate)


@pytest.fixture(autouse=True)
def no_thread_outlives_the_test() -> Iterator[None]:
    """Decoding threads end with the recording they belong to."""
    before = set(threading.enumerate())
    yield
    deadline_s = time.monotonic() + 2
    while (left := set(threading.enumerate()) - before) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert not left, [thread.name for thread in left]


def pairs_of(recording: StereoRecording) -> list[tuple[int, int, float]]:
    """Numbers in the left and right picture, and the time stamp."""
    with recording:
        return [(number_in(pair.left), number_in(pair.right), pair.timestamp_s) for pair in recording]


@pytest.mark.parametrize("ending", ["avi", "mkv", "mp4"])
def test_same_rate_is_paired_by_number(tmp_path: Path, ending: str) -> None:
    left, right = video(tmp_path / f"l.{ending}", 40), video(tmp_path / f"r.{ending}", 40, first=100)
    recording = StereoRecording(left, right)
    assert recording.sizes_px == ((WIDTH, HEIGHT), (WIDTH, HEIGHT))
    assert recording.frames == 40
    assert recording.frames_per_second == pytest.approx(30)
    found = pairs_of(recording)
    assert [pair[:2] for pair in found] == [(number, 100 + number) for number in range(40)]
    assert [stamp for *_, stamp in found] == pytest.approx([number / 30 for number in range(40)], abs=0.002)
    assert recording.warnings == []
    assert not recording.incomplete


def test_pairs_are_counted_from_nought(tmp_path: Path) -> None:
    with StereoRecording(video(tmp_path / "l.avi", 7), video(tmp_path / "r.avi", 7)) as recording:
        assert [pair.index for pair in recording] == list(range(7))


@pytest.mark.parametrize("rates", [(30, 60), (60, 30), (30, 25), (25, 30), (24, 60), (30, 29)])
def test_different_rates_are_paired_by_time(tmp_path: Path, rates: tuple[int, int]) -> None:
    seconds = 2
    left = video(tmp_path / "l.avi", seconds * rates[0], rates[0])
    right = video(tmp_path / "r.avi", seconds * rates[1], rates[1])
    recording = StereoRecording(left, right)
    found = pairs_of(recording)
    slow, fast = min(rates), max(rates)
    assert recording.frames_per_second == pytest.approx(slow, rel=1e-3)
    assert len(found) >= seconds * slow - 1
    for number, (left_number, right_number, stamp_s) in enumerate(found):
        slow_number, fast_number = (left_number, right_number) if rates[0] < rates[1] else (right_number, left_number)
        assert slow_number == number
        assert stamp_s == pytest.approx(number / slow, abs=1e-3)
        assert abs(fast_number / fast - number / slow) <= 0.5 / fast + 1e-3, (number, fast_number)
    assert any("paired by time" in warning for warning in recording.warnings)
    assert not recording.incomplete


def test_nearly_equal_rates_are_the_same(tmp_path: Path) -> None:
    """30 and 29.97 are one rate written in two ways."""
    left, right = video(tmp_path / "l.avi", 30, 30.0), video(tmp_path / "r.avi", 30, 29.97)
    recording = StereoRecording(left, right)
    assert [pair[:2] for pair in pairs_of(recording)] == [(number, number) for number in range(30)]
    assert recording.warnings == []


@pytest.mark.parametrize(("frames", "others"), [(50, 30), (30, 50)])
def test_shorter_view_counts_and_this_is_said(tmp_path: Path, frames: int, others: int) -> None:
    recording = StereoRecording(video(tmp_path / "l.avi", frames), video(tmp_path / "r.avi", others))
    assert recording.frames == 30
    assert [pair[:2] for pair in pairs_of(recording)] == [(number, number) for number in range(30)]
    (warning,) = recording.warnings
    assert f"{frames} and {others} frames" in warning
    assert not recording.incomplete


def test_different_rates_and_lengths(tmp_path: Path) -> None:
    """Two seconds at 60 against one at 30: one second is common to both."""
    recording = StereoRecording(video(tmp_path / "l.avi", 120, 60), video(tmp_path / "r.avi", 30, 30))
    assert recording.frames == 30
    found = pairs_of(recording)
    assert [pair[:2] for pair in found] == [(2 * number, number) for number in range(30)]
    recording = StereoRecording(video(tmp_path / "l.avi", 30, 60), video(tmp_path / "r.avi", 60, 30))
    found = pairs_of(recording)
    assert found[14][:2] == (28, 14)
    assert len(found) <= 17


def moov_first(path: Path) -> Path:
    """Move the index of an .mp4 in front of the pictures, as files made for streaming have it."""
    data = path.read_bytes()
    boxes, offset = {}, 0
    while offset < len(data):
        size, kind = struct.unpack(">I4s", data[offset : offset + 8])
        boxes[kind] = data[offset : offset + size]
        offset += size
    moov = bytearray(boxes[b"moov"])
    at = moov.find(b"stco") + 4
    (count,) = struct.unpack(">I", moov[at + 4 : at + 8])
    for entry in range(at + 8, at + 8 + 4 * count, 4):
        (chunk,) = struct.unpack(">I", moov[entry : entry + 4])
        moov[entry : entry + 4] = struct.pack(">I", chunk + len(moov))
    rest = b"".join(box for kind, box in boxes.items() if kind not in (b"ftyp", b"moov"))
    path.write_bytes(boxes[b"ftyp"] + bytes(moov) + rest)
    return path


def cut_off(path: Path, share: float) -> Path:
    if path.suffix == ".mp4":
        moov_first(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


@pytest.mark.parametrize("ending", ["avi", "mp4"])
@pytest.mark.parametrize("view", [0, 1])
def test_file_that_breaks_off_is_used_as_far_as_it_goes(tmp_path: Path, ending: str, view: int) -> None:
    files = [video(tmp_path / f"{name}.{ending}", 60) for name in ("l", "r")]
    cut_off(files[view], 0.5)
    recording = StereoRecording(files[0], files[1])
    found = pairs_of(recording)
    assert 10 < len(found) < 50
    # The frame across which the cut goes is shown as far as it can be decoded; it may repeat the one before.
    assert [pair[:2] for pair in found[:-1]] == [(number, number) for number in range(len(found) - 1)]
    assert recording.incomplete
    (warning,) = [warning for warning in recording.warnings if "breaks off" in warning]
    assert files[view].name in warning
    assert "of 60 frames" in warning


def test_side_by_side_file_that_breaks_off(tmp_path: Path) -> None:
    both = [np.concatenate([numbered(n), numbered(200 - n)], axis=1) for n in range(60)]
    path = cut_off(write(tmp_path / "both.avi", both), 0.4)
    recording = StereoRecording(path, None)
    assert len(pairs_of(recording)) > 10
    assert recording.incomplete


def test_file_without_a_frame_count_is_read_to_its_end(tmp_path: Path) -> None:
    """An .mkv that a crashed recorder left has neither length nor index."""
    paths = [video(tmp_path / f"{name}.mkv", 60) for name in ("l", "r")]
    for path in paths:
        cut_off(path, 0.6)
    found = pairs_of(StereoRecording(*paths))
    assert 15 < len(found) < 60
    assert [pair[:2] for pair in found[:-1]] == [(number, number) for number in range(len(found) - 1)]


@pytest.mark.parametrize("width", [2 * WIDTH, 2 * WIDTH + 10])
def test_side_by_side(tmp_path: Path, width: int) -> None:
    half = width // 2
    both = [np.concatenate([numbered(n, half), numbered(200 - n, half)], axis=1) for n in range(20)]
    recording = StereoRecording(write(tmp_path / "both.avi", both), None)
    assert recording.sizes_px == ((half, HEIGHT), (half, HEIGHT))
    assert recording.frames == 20
    with recording:
        pairs = list(recording)
    assert [(number_in(pair.left), number_in(pair.right)) for pair in pairs] == [(n, 200 - n) for n in range(20)]
    for pair in pairs:
        assert pair.left.shape == pair.right.shape == (HEIGHT, half, 3)
        assert pair.left.flags["C_CONTIGUOUS"]


def test_odd_width_cannot_be_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "odd.png"  # a video of one picture; the encoders at hand make every width even
    cv2.imwrite(str(path), numbered(1, 2 * WIDTH + 1))
    with pytest.raises(VideoFileError, match=rf"odd\.png: {2 * WIDTH + 1} pixels wide"):
        StereoRecording(path, None)


def test_missing_and_unreadable_files_are_named(tmp_path: Path) -> None:
    good = video(tmp_path / "good.avi", 5)
    with pytest.raises(VideoFileError, match=r"none\.mp4: no such file"):
        StereoRecording(good, tmp_path / "none.mp4")
    with pytest.raises(VideoFileError, match=r"none\.mp4: no such file"):
        StereoRecording(tmp_path / "none.mp4", good)
    with pytest.raises(VideoFileError, match=tmp_path.name):
        StereoRecording(tmp_path, good)
    empty, text, headless = tmp_path / "empty.mp4", tmp_path / "text.mp4", video(tmp_path / "headless.mp4", 20)
    empty.write_bytes(b"")
    text.write_text("no video at all\n" * 50, encoding="utf-8")
    headless.write_bytes(headless.read_bytes()[:-800])  # the index at the end is gone
    for path in (empty, text, headless):
        for views in ((path, good), (good, path), (path, None)):
            with pytest.raises(VideoFileError, match=rf"{path.name}: cannot be read as a video \(\d+ bytes\)"):
                StereoRecording(*views)


def test_threads_end_when_not_all_was_read(tmp_path: Path) -> None:
    """The fixture of this file looks for left-over threads; the queue is full when the reader goes."""
    left, right = video(tmp_path / "l.avi", 120), video(tmp_path / "r.avi", 120)
    with StereoRecording(left, right) as recording:
        pairs = iter(recording)
        for _ in range(3):
            next(pairs)
        time.sleep(0.1)
    with StereoRecording(left, right):
        pass


def test_threads_end_after_an_error_in_the_loop(tmp_path: Path) -> None:
    left = video(tmp_path / "l.avi", 60)

    def stumble() -> None:
        with StereoRecording(left, left) as recording:
            for _ in recording:
                raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stumble()


def test_closing_twice_does_no_harm(tmp_path: Path) -> None:
    recording = StereoRecording(video(tmp_path / "l.avi", 10), video(tmp_path / "r.avi", 10))
    recording.close()
    recording.close()


def test_reader_is_not_left_waiting_when_the_file_is_closed(tmp_path: Path) -> None:
    """A loop in another thread must come to its end when somebody closes the file under it."""
    file = VideoFile(video(tmp_path / "l.avi", 60))
    ended = threading.Event()

    def read_all() -> None:
        while file.next() is not None:
            time.sleep(0.005)
        ended.set()

    reader = threading.Thread(target=read_all, daemon=True)
    reader.start()
    time.sleep(0.05)
    file.close()
    waited = ended.wait(2)
    if not waited:
        file._queue.put(None)  # let the reader go, or it hangs until the tests end
        reader.join(2)
    assert waited, "next() waits for ever after close()"


def test_one_file_may_serve_as_both_views(tmp_path: Path) -> None:
    path = video(tmp_path / "l.avi", 12)
    assert [pair[:2] for pair in pairs_of(StereoRecording(path, path))] == [(n, n) for n in range(12)]


def test_single_picture(tmp_path: Path) -> None:
    found = pairs_of(StereoRecording(video(tmp_path / "l.avi", 1), video(tmp_path / "r.avi", 1)))
    assert [pair[:2] for pair in found] == [(0, 0)]


def test_rotation_of_telephones_is_applied(tmp_path: Path) -> None:
    """A quarter turn in the track header: what is stored lying down is meant standing."""
    path = video(tmp_path / "l.mp4", 5)
    data = bytearray(path.read_bytes())
    matrix = data.find(b"tkhd") + 4 + 40
    assert struct.unpack(">9i", data[matrix : matrix + 36])[:2] == (65536, 0)
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, HEIGHT << 16, 0, 1 << 30)
    path.write_bytes(data)
    with StereoRecording(path, path) as recording:
        assert recording.sizes_px == ((HEIGHT, WIDTH), (HEIGHT, WIDTH))
        for number, pair in enumerate(recording):
            upright = np.rot90(pair.left)  # a turn to the right is undone by one to the left
            assert number_in(np.ascontiguousarray(upright)) == number


def test_decoding_runs_ahead_of_a_slow_reader_only_a_little(tmp_path: Path) -> None:
    """Memory stays bounded however slow the reader is."""
    file = VideoFile(video(tmp_path / "l.avi", 100))
    try:
        time.sleep(0.3)
        assert 2 <= file.frames_read < 12
    finally:
        file.close()


def test_a_decoder_that_fails_ends_the_video_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        """A capture whose fifth frame raises, as cv2 does on some damaged files."""

        def __init__(self, real: cv2.VideoCapture) -> None:
            self._real, self._reads = real, 0

        def read(self) -> tuple[bool, np.ndarray]:
            self._reads += 1
            if self._reads > 4:
                raise cv2.error("damaged")
            return self._real.read()

        def __getattr__(self, name: str) -> object:
            return getattr(self._real, name)

    path = video(tmp_path / "l.avi", 12)
    real = cv2.VideoCapture
    monkeypatch.setattr("binopose.app.recording.cv2.VideoCapture", lambda *arguments: Failing(real(*arguments)))
    with StereoRecording(path, path) as recording:
        assert len(list(recording)) == 4
        assert recording.incomplete
        assert "decoding stopped" in " ".join(recording.warnings)
