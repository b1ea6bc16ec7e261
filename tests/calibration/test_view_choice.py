"""Which views are kept while cameras run, and which moments are picked from videos."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.calibration.boards import Board
from binopose.calibration.corners import find_corners
from binopose.calibration.pictures import PicturesError
from binopose.calibration.rig import RigidTransform, StereoRig
from binopose.calibration.video_pairs import VideoFacts, frame_numbers, is_video, pick_pairs
from binopose.calibration.view_choice import Candidate, SeenPair, ViewCollector, choose_views, edge_width_px

from .rig_simulation import BoardPainter, make_rig, simulate

SIZE = (320, 240)
BOARD = Board(7, 4, 0.03)


def seen(rig: StereoRig, pose: RigidTransform, edge_px: float = 2.0) -> SeenPair:
    in_left = pose.apply(BOARD.points_m)
    right = rig.right.px_from_camera(rig.right_from_left.apply(in_left))
    return SeenPair(rig.left.px_from_camera(in_left), right, edge_px, edge_px)


def test_a_collector_keeps_what_is_still_sharp_and_new() -> None:
    rig = make_rig(0.1, 4, "pinhole", SIZE)
    first, second = simulate(rig, BOARD, 2, 0.0, seed=3).poses
    collector = ViewCollector(BOARD, SIZE, SIZE)
    assert collector.offer(SeenPair(None, None)) == "no board"
    assert collector.offer(seen(rig, first)) == "moving"  # it may just have come in
    assert collector.offer(seen(rig, first, edge_px=9.0)) == "blurred"
    assert collector.offer(seen(rig, first)) == "kept"
    assert collector.offer(seen(rig, first)) == "seen before"
    assert collector.offer(seen(rig, second)) == "moving"
    assert collector.offer(seen(rig, second)) == "kept"
    only_left = seen(rig, first)
    assert collector.offer(SeenPair(only_left.left_px, None)) == "no board"
    assert collector.count == 2


def test_a_collector_says_which_parts_of_the_picture_are_missing() -> None:
    rig = make_rig(0.1, 0, "pinhole", SIZE)
    pose = RigidTransform(np.eye(3), np.array([-0.33, -0.25, 0.75]))
    collector = ViewCollector(BOARD, SIZE, SIZE)
    pair = seen(rig, pose)
    collector.offer(pair)
    assert collector.offer(pair) == "kept"
    left, _ = collector.missing()
    assert pair.left_px is not None
    where = np.zeros((3, 3), dtype=bool)
    for x, y in pair.left_px:
        where[int(y / SIZE[1] * 3), int(x / SIZE[0] * 3)] = True
    np.testing.assert_array_equal(left, ~where)
    assert not left[0, 0]
    assert left[2, 2]


def test_chosen_views_are_still_and_apart() -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 3, (6, 12))
    candidates = []
    for number in range(60):
        moving = number % 10 < 4
        description = places[number // 10] + rng.normal(0, 0.01, 12)
        candidates.append(Candidate(number, description, 3.0 if moving else 0.1 + 0.01 * (number % 10)))
    chosen = choose_views(candidates, 6)
    assert [frame // 10 for frame in chosen] == [0, 1, 2, 3, 4, 5]
    assert all(frame % 10 >= 4 for frame in chosen)
    assert choose_views([], 5) == []
    assert len(choose_views(candidates, 3)) == 3


def test_blur_widens_the_edges() -> None:
    rig = make_rig(0.1, 4, "pinhole", SIZE)
    pose = simulate(rig, BOARD, 1, 0.0, seed=3).poses[0]
    widths = []
    for blur_px in (0.5, 1.5, 3.0):
        picture = BoardPainter(rig.left).paint(pose, BOARD, blur_px)
        corners = find_corners(picture, BOARD)
        assert corners is not None
        widths.append(edge_width_px(picture, corners, BOARD))
    assert widths[0] < widths[1] < widths[2]


def test_clips_of_different_rates_are_matched_by_time() -> None:
    left, right = VideoFacts(Path("l.mp4"), SIZE, 300, 30.0), VideoFacts(Path("r.mp4"), SIZE, 250, 25.0)
    at_left, at_right = frame_numbers(left, right)
    assert len(at_left) == len(at_right)
    np.testing.assert_allclose(np.array(at_left) / 30.0, np.array(at_right) / 25.0, atol=0.5 / 25)
    assert max(at_right) < 250


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StereoRig]:
    """Two videos of a board that rests in eight positions and moves quickly in between."""
    folder = tmp_path_factory.mktemp("clips")
    rig = make_rig(0.1, 4, "pinhole", SIZE)
    poses = simulate(rig, BOARD, 8, 0.0, seed=5).poses
    for name, camera, from_left in (
        ("left", rig.left, None), ("right", rig.right, rig.right_from_left)
    ):  # fmt: skip
        painter = BoardPainter(camera)
        writer = cv2.VideoWriter(str(folder / f"{name}.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, SIZE)
        for number, pose in enumerate(poses):
            later = poses[(number + 1) % len(poses)]
            moving = RigidTransform(pose.rotation, 0.6 * pose.translation_m + 0.4 * later.translation_m)
            still, between = (
                cv2.cvtColor(
                    painter.paint(p if from_left is None else from_left @ p, BOARD, seed=number), cv2.COLOR_GRAY2BGR
                )
                for p in (pose, moving)
            )
            for image in (*[still] * 8, between):
                writer.write(image)
        writer.release()
    return folder, rig


def test_the_resting_moments_of_two_videos_are_picked(clips: tuple[Path, StereoRig], tmp_path: Path) -> None:
    folder, _ = clips
    looked: list[int] = []
    found = pick_pairs(folder / "left.avi", folder / "right.avi", BOARD, tmp_path / "picked", 20, looked.append)
    frames = [int(pair.left.stem.split("_")[1]) for pair in found.pairs]
    assert [pair.right.name for pair in found.pairs] == [f"right_{frame:06d}.png" for frame in frames]
    assert len({frame // 9 for frame in frames}) >= 7
    assert all(frame % 9 != 8 for frame in frames)
    assert all(pair.left.is_file() and pair.right.is_file() for pair in found.pairs)
    assert len(looked) == looked[0] == 24


def test_videos_without_the_board_and_files_that_are_none_are_named(
    clips: tuple[Path, StereoRig], tmp_path: Path
) -> None:
    folder, _ = clips
    with pytest.raises(PicturesError, match="never visible in both videos"):
        pick_pairs(folder / "left.avi", folder / "right.avi", Board(11, 9, 0.02), tmp_path)
    (tmp_path / "not.mp4").write_text("no video")
    with pytest.raises(PicturesError, match=r"not\.mp4: cannot be opened as a video"):
        pick_pairs(tmp_path / "not.mp4", folder / "right.avi", BOARD, tmp_path)
    with pytest.raises(PicturesError, match="no such file"):
        pick_pairs(tmp_path / "gone.mp4", folder / "right.avi", BOARD, tmp_path)
    assert is_video("clip.MP4")
    assert not is_video("boards/left*.png")
