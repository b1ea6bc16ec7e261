"""Guided live calibration: a board that rests and moves before two simulated cameras, played in real time."""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.app.calibrating import PictureFolder, SessionOptions, TooFewPairsError, capture_guided
from binopose.app.calibrating.guide import Guide, attitude_of, missing_tasks, reachable_thirds, thirds_of, would_do
from binopose.app.calibrating.panel import GuideFrame, GuidePanel
from binopose.app.calibrating.search import SearchedPair, find_in_moving_picture
from binopose.app.calibrating.selection import KeptPair, PairSelection
from binopose.app.calibrating.session import reason_to_end
from binopose.app.calibrating.verdict import Finding, RunningVerdict
from binopose.app.capture import CapturedPair, open_stereo
from binopose.app.commands import calibrate
from binopose.app.frames import FramePair
from binopose.app.window import PreviewFile, WindowError, check_display
from binopose.calibration.boards import Board, BoardKind
from binopose.calibration.errors import UserError
from binopose.calibration.judge import Judgement, Reason
from binopose.calibration.pictures import PicturePair, PicturesError
from binopose.calibration.rig import RigidTransform, StereoRig
from binopose.calibration.rig_file import load_rig
from binopose.calibration.view_choice import SeenPair

from ..calibration.rig_simulation import BoardPainter, make_rig, simulate
from .stream_server import StreamServer

SIZE = (640, 360)
BOARD = Board(7, 4, 0.03)
RATE_HZ = 20
REST_FRAMES, MOVE_FRAMES = 15, 6


class QuickPainter(BoardPainter):
    """For boards in motion, whose pictures nobody measures."""

    SAMPLES = 1


def between(first: RigidTransform, second: RigidTransform, part: float) -> RigidTransform:
    turn, _ = cv2.Rodrigues(second.rotation @ first.rotation.T)
    rotation = cv2.Rodrigues(part * turn)[0] @ first.rotation
    return RigidTransform(rotation, (1 - part) * first.translation_m + part * second.translation_m)


def film(folder: Path, rig: StereoRig, poses: list[RigidTransform]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Write left.avi and right.avi of a board that rests in each pose and moves on; the pictures at rest."""
    rest: list[list[np.ndarray]] = []
    for name, camera, from_left in (("left", rig.left, None), ("right", rig.right, rig.right_from_left)):
        exact, quick = BoardPainter(camera), QuickPainter(camera)
        size = camera.size_px
        writer = cv2.VideoWriter(str(folder / f"{name}.avi"), cv2.VideoWriter.fourcc(*"MJPG"), RATE_HZ, size)
        rng = np.random.default_rng(len(rest))
        rest.append([])
        for number, pose in enumerate(poses):
            moves = [between(poses[number - 1], pose, (k + 1) / (MOVE_FRAMES + 1)) for k in range(MOVE_FRAMES)]
            seen = [place if from_left is None else from_left @ place for place in (*moves, pose)]
            for place in seen[:-1] * (number > 0):
                writer.write(cv2.cvtColor(quick.paint(place, BOARD), cv2.COLOR_GRAY2BGR))
            still = exact.paint(seen[-1], BOARD, noise=0.0)
            rest[-1].append(still)
            for _ in range(REST_FRAMES):
                noisy = np.clip(still + rng.normal(0, 2.0, still.shape), 0, 255).astype(np.uint8)
                writer.write(cv2.cvtColor(noisy, cv2.COLOR_GRAY2BGR))
        writer.release()
    return list(zip(*rest, strict=True))


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    calibrate.add_parser(parser.add_subparsers())
    args = parser.parse_args(["calibrate", *arguments])
    return args.run(args)


def options(folder: Path, *more: str) -> list[str]:
    board = ["--board", f"{BOARD.columns}x{BOARD.rows}", "--square-mm", f"{BOARD.square_m * 1e3:g}"]
    return ["--live", "--headless", *board, "-o", str(folder / "rig.toml"), "--report", str(folder / "report"), *more]


def test_a_session_takes_resting_boards_and_ends_in_the_right_rig(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = make_rig(0.15, 4, "pinhole", SIZE)
    poses = simulate(rig, BOARD, 12, 0.0, seed=11).poses
    rest = film(tmp_path, rig, poses)
    earlier = tmp_path / "report" / "pictures" / "left_001.png"
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(b"of an earlier session")
    preview = tmp_path / "now.png"
    previews: list[tuple[int, ...]] = []
    ended = threading.Event()

    def watch() -> None:
        # As another program would: at any time the file is a whole picture.
        while not ended.wait(0.03):
            if preview.exists():
                picture = cv2.imdecode(np.frombuffer(preview.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
                previews.append((0,) if picture is None else picture.shape)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        sources = [str(tmp_path / f"{side}.avi") for side in ("left", "right")]
        assert run(*sources, *options(tmp_path, "--preview", str(preview), "--pairs", "10")) == 0
    finally:
        ended.set()
        watcher.join()

    assert load_rig(tmp_path / "rig.toml").baseline_m == pytest.approx(0.15, rel=0.01)
    assert (tmp_path / "report" / "report.html").is_file()
    assert earlier.read_bytes() == b"of an earlier session"
    assert len(list(earlier.parent.iterdir())) == 1
    kept = sorted((tmp_path / "report" / "pictures-2").glob("left_*.png"))
    moments = []
    for left_file in kept:
        pair = [read_grey(path) for path in (left_file, left_file.with_name(left_file.name.replace("left", "right")))]
        off = [[cv2.absdiff(a, b).mean() for a, b in zip(pair, still, strict=True)]
               for still in rest]  # fmt: skip
        moments.append(int(np.max(off, axis=1).argmin()))
        # JPEG and noise; a board a fiftieth of the picture further on is off by more.
        assert max(off[moments[-1]]) < 4.0
    assert len(set(moments)) == len(moments)  # each rest once
    assert len(moments) == 10
    said = capsys.readouterr().out
    assert "10 pairs, as many as wanted" in said
    assert len(previews) > 5
    assert set(previews) == {previews[0]}
    assert len(previews[0]) == 3


def test_a_verdict_is_worked_out_beside_and_told_once(tmp_path: Path) -> None:
    """However long it takes: a session may be over before, on a slow machine."""
    rig = make_rig(0.15, 4, "pinhole", SIZE)
    kept = []
    for number, pictures in enumerate(film(tmp_path, rig, simulate(rig, BOARD, 6, 0.0, seed=11).poses), 1):
        files = PicturePair(*(tmp_path / f"{side}_{number}.png" for side in ("left", "right")))
        for path, picture in zip((files.left, files.right), pictures, strict=True):
            cv2.imwrite(str(path), picture)
        kept.append(KeptPair(number, files, SeenPair(None, None)))
    with RunningVerdict(BOARD, (SIZE, SIZE), None, False) as verdict:
        assert not verdict.update(kept[:2])
        assert not verdict.working, "two pairs are too few to begin"
        assert not verdict.update(kept)
        assert verdict.working
        while not verdict.update(kept):
            time.sleep(0.01)
        assert verdict.latest is not None
        assert verdict.latest.numbers == tuple(range(1, 7))
        assert verdict.latest.baseline_m == pytest.approx(0.15, rel=0.01)
        assert not verdict.update(kept)
        assert not verdict.working, "nothing has changed since"


def read_grey(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert image is not None, path
    return image


def test_too_few_pairs_of_a_side_by_side_camera_are_said_and_their_pictures_kept(tmp_path: Path) -> None:
    rig = make_rig(0.15, 4, "pinhole", SIZE)
    rest = film(tmp_path, rig, simulate(rig, BOARD, 2, 0.0, seed=11).poses)
    both = str(tmp_path / "both.avi")
    writer = cv2.VideoWriter(both, cv2.VideoWriter.fourcc(*"MJPG"), RATE_HZ, (2 * SIZE[0], SIZE[1]))
    readers = [cv2.VideoCapture(str(tmp_path / f"{side}.avi")) for side in ("left", "right")]
    while all((views := [reader.read() for reader in readers])[k][0] for k in (0, 1)):
        writer.write(np.hstack([image for _, image in views]))
    writer.release()
    with pytest.raises(TooFewPairsError, match=r"2 pairs were taken, at least 6.*kept in .*report.pictures"):
        run(both, "--side-by-side", *options(tmp_path))
    pictures = tmp_path / "report" / "pictures"
    assert len(list(pictures.iterdir())) == 4
    for side, still in zip(("left", "right"), rest[0], strict=True):
        assert cv2.absdiff(read_grey(pictures / f"{side}_001.png"), still).mean() < 4.0
    assert not (tmp_path / "rig.toml").exists()


def test_a_camera_that_vanishes_is_missed_and_welcomed_back(tmp_path: Path) -> None:
    said: list[str] = []

    def wait_for(text: str) -> None:
        deadline_s = time.monotonic() + 10
        while not any(text in line for line in said):
            assert time.monotonic() < deadline_s, said
            time.sleep(0.02)

    def work() -> None:
        folder, preview = PictureFolder(tmp_path / "pictures"), PreviewFile(tmp_path / "now.png")
        with pytest.raises(TooFewPairsError, match="0 pairs"):
            capture_guided(capture, BOARD, folder, SessionOptions(10), said.append, None, preview)
        said.append("over")

    with StreamServer(rate_hz=20) as left, StreamServer(rate_hz=20) as right:
        with open_stereo(left.url(), right.url()) as capture:
            session = threading.Thread(target=work)
            session.start()
            deadline_s = time.monotonic() + 10
            while not (tmp_path / "now.png").exists() and time.monotonic() < deadline_s:
                time.sleep(0.02)
            right.stop()
            wait_for("right camera: ")
            right.start()
            wait_for("right camera: back")
        wait_for("over")  # a closed capture ends the session
        session.join()
    assert cv2.imread(str(tmp_path / "now.png")) is not None


# Guidance.


def corners_of(rig: StereoRig, pose: RigidTransform) -> SeenPair:
    in_left = pose.apply(BOARD.points_m)
    right_px = rig.right.px_from_camera(rig.right_from_left.apply(in_left))
    return SeenPair(rig.left.px_from_camera(in_left), right_px, 2.0, 2.0)


def held(turn_deg: tuple[float, float, float], place_m: tuple[float, float, float]) -> RigidTransform:
    """A board whose middle is at place_m, turned about it."""
    rotation = cv2.Rodrigues(np.deg2rad(turn_deg))[0]
    return RigidTransform(rotation, np.array(place_m) - rotation @ BOARD.points_m.mean(axis=0))


@pytest.mark.parametrize(
    ("side", "corner"), [("left", (-1, 0)), ("right", (1, 0)), ("top", (0, -1)), ("bottom", (0, 1))]
)
def test_the_side_turned_to_the_camera_is_named_as_seen_in_the_picture(side: str, corner: tuple[int, int]) -> None:
    rig = make_rig(0.15, 4, "pinhole", SIZE)
    # The corner of the named side is brought nearer: that, and not the sign of an angle, is what is meant.
    turn = (30.0 * corner[1], 30.0 * corner[0], 0.0)
    near = held(turn, (0, 0, 0)).apply(np.array([[*(0.1 * np.array(corner)), 0.0]]) + BOARD.points_m.mean(axis=0))
    turn = turn if near[0, 2] < 0 else (-turn[0], -turn[1], 0.0)
    seen = corners_of(rig, held(turn, (0.05, 0.0, 0.6)))
    assert seen.left_px is not None
    attitude = attitude_of(seen.left_px, BOARD, SIZE)
    assert attitude is not None
    missing = {task.tilt for task in missing_tasks([attitude], (np.zeros((3, 3)), np.zeros((3, 3)))) if task.tilt}
    assert missing == {"left", "right", "top", "bottom"} - {side}


def test_distances_too_alike_ask_for_the_way_that_is_open() -> None:
    rig = make_rig(0.15, 4, "pinhole", SIZE)
    none = np.zeros((3, 3), dtype=bool), np.zeros((3, 3), dtype=bool)

    def asked(*depths_m: float) -> list[str]:
        seen = [corners_of(rig, held((0, 0, 0), (0.05, 0, depth_m))).left_px for depth_m in depths_m]
        attitudes = [attitude_of(corners, BOARD, SIZE) for corners in seen if corners is not None]
        return [t.words for t in missing_tasks([a for a in attitudes if a], none) if t.key == "distance"]

    assert asked(1.0, 1.1) == ["Come closer with the board"]
    assert asked(0.30, 0.32) == ["Go farther away with the board"]
    assert asked(0.5, 0.8) == []


def test_places_only_one_camera_can_see_are_not_asked_for() -> None:
    # Parallel cameras 0.45 m apart, focal length 0.8 picture widths: at the 1.35 m expected at most the views are
    # shifted by 27 % of their width, and the middles of the outer thirds lie 17 % from the edges.
    for baseline_m, hidden in ((0.45, True), (0.02, False)):
        rig = make_rig(baseline_m, 0, "pinhole", SIZE)
        left, right = reachable_thirds(rig, (0.7, 0.9))
        assert left[:, 1:].all()
        assert right[:, :2].all()
        assert left[:, 0].any() != hidden
        assert right[:, 2].any() != hidden


def test_a_board_where_it_is_wanted_is_to_be_held() -> None:
    rig = make_rig(0.15, 4, "pinhole", SIZE)
    top_left, tilted = held((0, 0, 0), (-0.22, -0.14, 0.6)), held((0, 30, 0), (0.05, 0, 0.6))
    everywhere = np.ones((3, 3), dtype=bool), np.ones((3, 3), dtype=bool)
    tasks = {task.key: task for task in missing_tasks([], everywhere)}
    done = []
    for pose in (top_left, tilted):
        corners = corners_of(rig, pose).left_px
        assert corners is not None
        attitude, thirds = attitude_of(corners, BOARD, SIZE), thirds_of(corners, SIZE)
        done.append({key for key, task in tasks.items() if would_do(task, [], attitude, (thirds, thirds & False))})
    assert "place 0 0 0" in done[0]
    assert "place 0 2 2" not in done[0]
    assert not {key for key in done[0] if key.startswith("tilt")}
    assert len({key for key in done[1] if key.startswith("tilt")}) == 1


def test_what_cannot_be_done_is_put_off_and_asked_for_again_at_last() -> None:
    missing = np.zeros((3, 3), dtype=bool), np.zeros((3, 3), dtype=bool)
    missing[0][0, 0] = missing[1][2, 1] = True
    tasks = [task for task in missing_tasks([], missing) if task.place]
    assert [task.words for task in tasks] == [
        "Move the board to the top left corner of the left picture",
        "Move the board to the bottom edge of the right picture",
    ]
    guide = Guide()
    assert guide.next_task(tasks, 0.1, True) == tasks[0]
    assert guide.next_task(tasks, 100.0, False) == tasks[0]  # nobody there
    assert guide.next_task(tasks, 100.0, True) == tasks[1]
    assert guide.pending(tasks) == tasks[1:]
    assert guide.next_task(tasks, 100.0, True) == tasks[0]
    assert guide.pending(tasks) == []
    assert guide.next_task([], 0.1, True) is None


def test_a_session_ends_when_the_verdict_is_good_and_nothing_is_missing() -> None:
    numbers = tuple(range(1, 13))
    good, usable = (Finding(numbers, Judgement((Reason(verdict, ""),))) for verdict in ("good", "usable"))
    assert "nothing is missing" in reason_to_end(12, 40, good, False)
    assert "nothing is missing" in reason_to_end(14, 40, good, False)
    for kept, finding, missing in ((12, good, True), (12, usable, False), (12, None, False), (15, good, False)):
        assert reason_to_end(kept, 40, finding, missing) == ""
    assert "as many as wanted" in reason_to_end(15, 15, None, True)


@pytest.mark.parametrize("kind", ["checkerboard", "charuco"])
def test_boards_are_found_in_large_pictures_made_smaller(kind: BoardKind) -> None:
    board = Board(7, 4, 0.03, kind)
    rig = make_rig(0.15, 4, "pinhole", (1280, 720))
    scene = simulate(rig, board, 1, 0.0, seed=4)
    picture = cv2.cvtColor(BoardPainter(rig.left).paint(scene.poses[0], board), cv2.COLOR_GRAY2BGR)
    found = find_in_moving_picture(picture, board)
    assert found is not None
    known = np.isfinite(found[:, 0])
    assert known.sum() >= 24
    assert np.median(np.linalg.norm(found - scene.corners.left_px[0], axis=1)[known]) < 0.4


# Which pairs are kept.


def moment(seen: SeenPair, time_s: float, skew_s: float = 0.0) -> SearchedPair:
    image = np.full((SIZE[1], SIZE[0], 3), int(time_s * 100) % 200, np.uint8)
    return SearchedPair(CapturedPair(FramePair(image, image, time_s, 0), skew_s, time_s, time_s + skew_s), seen, time_s)


def test_a_board_that_drifts_between_two_exposures_is_not_kept(tmp_path: Path) -> None:
    rig = make_rig(0.15, 4, "pinhole", SIZE)
    # 0.4 px in 50 ms passes for still, but is 0.3 px in a skew of 40 ms.
    drifting = [corners_of(rig, held((10, 0, 0), (0.0005 * k, 0, 0.6))) for k in range(2)]
    outcomes = {}
    for skew_s in (0.002, 0.04):
        selection = PairSelection(BOARD, (SIZE, SIZE), PictureFolder(tmp_path / f"{skew_s}"))
        outcomes[skew_s] = [selection.consider(moment(s, 0.05 * k, skew_s)) for k, s in enumerate(drifting)][1]
        assert len(selection.kept) == (outcomes[skew_s] == "kept")
    assert outcomes == {0.002: "kept", 0.04: "out of step"}


def test_a_board_that_looks_the_same_turned_does_not_count_as_moving(tmp_path: Path) -> None:
    board = Board(8, 6, 0.03)
    rig = make_rig(0.15, 4, "pinhole", SIZE)
    in_left = held((10, 0, 0), (0, 0, 0.8)).apply(board.points_m)
    left_px = rig.left.px_from_camera(in_left)
    right_px = rig.right.px_from_camera(rig.right_from_left.apply(in_left))
    selection = PairSelection(board, (SIZE, SIZE), PictureFolder(tmp_path))
    assert selection.consider(moment(SeenPair(left_px, right_px), 0.0)) == "moving"
    assert selection.consider(moment(SeenPair(left_px[::-1], right_px), 0.05)) == "kept"


def test_the_last_pair_can_be_dropped_and_taken_again_under_a_new_name(tmp_path: Path) -> None:
    rig = make_rig(0.15, 4, "pinhole", SIZE)
    first, second = (corners_of(rig, held((0, 0, 0), (x, 0, 0.6))) for x in (0.0, 0.15))
    selection = PairSelection(BOARD, (SIZE, SIZE), PictureFolder(tmp_path))
    outcomes = [selection.consider(moment(s, 0.05 * k)) for k, s in enumerate((first, first, second, second))]
    assert outcomes == ["moving", "kept", "moving", "kept"]
    before = selection.missing_thirds()
    assert selection.undo() is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["left_001.png", "right_001.png"]
    assert (selection.missing_thirds()[0] & ~before[0]).any()
    assert selection.consider(moment(second, 0.3)) == "moving"  # compared with nothing yet
    assert selection.consider(moment(second, 0.35)) == "kept"
    assert sorted(p.name for p in tmp_path.glob("left*")) == ["left_001.png", "left_003.png"]
    np.testing.assert_array_equal(selection.missing_thirds()[0], before[0])
    assert not selection.keep_anyway(moment(SeenPair(None, second.right_px), 0.4))
    assert selection.keep_anyway(moment(second, 0.4))
    assert [pair.number for pair in selection.kept] == [1, 3, 4]
    for _ in range(3):
        selection.undo()
    assert selection.undo() is None
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_saved_whole_and_never_written_over(tmp_path: Path) -> None:
    image = np.repeat(np.random.default_rng(0).integers(0, 255, (48, 64, 1), dtype=np.uint8), 3, axis=2)
    folder = PictureFolder(tmp_path / "new")
    files = folder.save(1, FramePair(image, image[::-1].copy(), 0.0, 0))
    np.testing.assert_array_equal(read_grey(files.left), image[..., 0])
    np.testing.assert_array_equal(read_grey(files.right), image[::-1, :, 0])
    with pytest.raises(PicturesError, match=r"left_001\.png: cannot be written"):
        folder.save(1, FramePair(image, image, 0.0, 0))
    assert PictureFolder(tmp_path / "new").path == tmp_path / "new-2"


# What is shown.


@pytest.mark.parametrize("size_px", [(1280, 720), (640, 480), (1080, 1920)])
def test_the_preview_shows_place_asked_for_and_boards_in_both_maps(size_px: tuple[int, int]) -> None:
    panel = GuidePanel(BOARD, (size_px, size_px))
    image = np.full((size_px[1], size_px[0], 3), 90, np.uint8)
    missing = np.ones((3, 3), dtype=bool), np.ones((3, 3), dtype=bool)
    task = next(task for task in missing_tasks([], missing) if task.place)

    def picture(**changes: object) -> np.ndarray:
        content = {
            "images": (image, image), "corners_px": (None, None), "kept": (), "attitudes": (), "current": None,
            "missing_thirds": missing, "reachable_thirds": missing, "task": None,
            "instruction": "", "state": "", "mood": "plain",
        }  # fmt: skip
        return panel.compose(GuideFrame(**(content | changes)))  # type: ignore[arg-type]

    plain = picture()
    assert plain.shape == (panel.size_px[1], panel.size_px[0], 3)
    assert panel.size_px[0] % 2 == panel.size_px[1] % 2 == 0
    rows, columns = np.nonzero((picture(task=task) != plain).any(axis=2))
    assert columns.max() < panel.size_px[0] / 2  # the left view and the left map
    assert rows.min() < panel.size_px[1] / 3
    corners = BOARD.points_m[:, :2] / BOARD.points_m.max() * size_px[0] * 0.3 + 20
    changed = [(picture(corners_px=pair) != plain).any(axis=2) for pair in ((corners, None), (None, corners))]
    assert not (changed[0] & changed[1]).any()
    for part in (slice(None, 380), slice(-260, None)):  # the views, and the maps below
        assert np.nonzero(changed[0][part])[1].max() < np.nonzero(changed[1][part])[1].min()
    _, columns = np.nonzero((picture(lost=("", "lost")) != plain).any(axis=2))
    assert columns.min() > panel.size_px[0] / 2
    assert (picture(instruction="x " * 400) != plain).any()  # too long for any line


def test_no_display_is_an_error_and_no_abort(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(WindowError, match=r"neither DISPLAY nor WAYLAND_DISPLAY.*--headless"):
        check_display(calibrate.NO_WINDOW)
    monkeypatch.setenv("DISPLAY", ":65535")  # set, but nobody there
    with pytest.raises(WindowError, match=r"no window can be opened here \(.+\); add --headless"):
        check_display(calibrate.NO_WINDOW)
    with pytest.raises(WindowError, match=r"now\.gif: expected a picture file"):
        PreviewFile(tmp_path / "now.gif")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("0", "--live"), "two cameras are needed"),
        (("0", "1", "--live", "--side-by-side"), "one camera that shows both views"),
        (("0", "1", "--live", "--camera-size", "large"), "expected width x height"),
        (("0", "1", "--side-by-side"), "add --live"),
        (("pictures",), "RIGHT is missing"),
    ],
)
def test_contradictions_are_refused(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        run(*arguments, "--board", "9x6", "--square-mm", "25", "-o", str(tmp_path / "rig.toml"))
