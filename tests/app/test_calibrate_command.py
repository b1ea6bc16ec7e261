"""The commands `calibrate` and `board` as a user meets them: files, exit codes, what is printed."""

import argparse
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.app.commands import board, calibrate
from binopose.calibration.errors import UserError
from binopose.calibration.rig_file import load_rig


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    calibrate.add_parser(subparsers)
    board.add_parser(subparsers)
    args = parser.parse_args(arguments)
    return args.run(args)


def sources(shared_data: Path, name: str, left: str, right: str) -> list[str]:
    folder = shared_data / "stereo" / name
    return ["calibrate", str(folder / left), str(folder / right)]


def test_pictures_become_a_rig_file_and_a_report(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig_file, report = tmp_path / "out" / "rig.toml", tmp_path / "report"
    rig_file.parent.mkdir()
    options = ["--board", "9x6", "--square-mm", "25", "-o", str(rig_file), "--report", str(report)]
    assert run(*sources(shared_data, "opencv-samples-checkerboard", "left*.jpg", "right*.jpg"), *options) == 0
    rig = load_rig(rig_file)
    assert rig.baseline_m == pytest.approx(0.0832, abs=0.0006)
    assert rig.provenance["verdict"] == "good"
    written = json.loads((report / "report.json").read_text())
    assert written["baseline_m"] == pytest.approx(rig.baseline_m, rel=1e-9)
    assert (report / "report.html").is_file()
    assert "verdict: good" in capsys.readouterr().out


def test_the_same_pictures_give_the_same_file(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "stereo" / "wide-angle-webcam-checkerboard"
    shuffled = tmp_path / "shuffled"
    shuffled.mkdir()
    for name in ("ImgLeft", "ImgRight"):
        for number in range(10):
            (shuffled / f"{name}{(7 * number + 3) % 10}.png").write_bytes((source / f"{name}{number}.png").read_bytes())
    files = []
    for folder in (source, source, shuffled):
        path = tmp_path / f"rig{len(files)}.toml"
        options = ["--board", "8x5", "--square-mm", "30", "-o", str(path)]
        assert run("calibrate", str(folder / "ImgLeft*"), str(folder / "ImgRight*"), *options) == 0
        files.append(path.read_bytes())
    assert files[0] == files[1]
    assert files[0] == files[2]


def test_a_refusal_writes_the_report_and_no_rig_unless_forced(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig_file, report = tmp_path / "rig.toml", tmp_path / "report"
    arguments = [
        *sources(shared_data, "unsynchronised-checkerboard", "pairs/camera0*", "pairs/camera1*"),
        "--board", "8x6", "--square-mm", "29", "-o", str(rig_file), "--report", str(report),
    ]  # fmt: skip
    assert run(*arguments) == 4
    assert not rig_file.exists()
    written = json.loads((report / "report.json").read_text())
    assert written["verdict"] == "refused"
    assert "synchronisation" in written["reasons"][0]
    assert "no rig file written" in capsys.readouterr().out
    assert run(*arguments, "--force", "--lens", "radial2") == 4
    assert load_rig(rig_file).provenance["verdict"] == "refused"


def test_nothing_is_overwritten_without_force(shared_data: Path, tmp_path: Path) -> None:
    rig_file = tmp_path / "rig.toml"
    rig_file.write_text("precious")
    arguments = sources(shared_data, "opencv-samples-checkerboard", "left*.jpg", "right*.jpg")
    with pytest.raises(UserError, match=r"rig\.toml exists already.*--force"):
        run(*arguments, "--board", "9x6", "--square-mm", "25", "-o", str(rig_file))
    assert rig_file.read_text() == "precious"


def test_a_folder_that_cannot_take_the_rig_is_noticed_before_the_work(shared_data: Path, tmp_path: Path) -> None:
    arguments = sources(shared_data, "opencv-samples-checkerboard", "left*.jpg", "right*.jpg")
    with pytest.raises(UserError, match="no such folder"):
        run(*arguments, "--board", "9x6", "--square-mm", "25", "-o", str(tmp_path / "missing" / "rig.toml"))


def test_a_video_and_a_folder_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two videos or two sets of pictures"):
        run(
            "calibrate",
            "clip.mp4",
            str(tmp_path),
            "--board",
            "9x6",
            "--square-mm",
            "25",
            "-o",
            str(tmp_path / "r.toml"),
        )


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_a_board_is_written_once(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"board.{suffix}"
    assert run("board", "-o", str(path), "--board", "8x5", "--square-mm", "30") == 0
    assert path.read_bytes()[:4] == (b"%PDF" if suffix == "pdf" else b"<svg")
    assert "warning" not in capsys.readouterr().err
    with pytest.raises(UserError, match="exists already"):
        run("board", "-o", str(path))
    assert run("board", "-o", str(path), "--force") == 0


def test_an_ambiguous_board_is_warned_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("board", "-o", str(tmp_path / "a.svg"), "--board", "8x6") == 0
    assert re.search(r"8x6 board looks the same turned by half a turn", capsys.readouterr().err)
    assert run("board", "-o", str(tmp_path / "b.svg"), "--board", "8x6", "--kind", "charuco") == 0
    assert "half a turn" not in capsys.readouterr().err


def test_unknown_file_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.pdf or \.svg"):
        run("board", "-o", str(tmp_path / "board.png"))


def test_pictures_without_a_board_stop_with_advice(tmp_path: Path) -> None:
    for name in ("left", "right"):
        for number in range(6):
            grey = np.full((120, 160), 20 * number + (name == "left"), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / f"{name}{number}.png"), grey)
    arguments = ["calibrate", str(tmp_path / "left*.png"), str(tmp_path / "right*.png"), "--board", "9x6"]
    with pytest.raises(UserError, match=r"found in 0 of 6 left pictures.*inner corners"):
        run(*arguments, "--square-mm", "25", "-o", str(tmp_path / "rig.toml"))
    assert not (tmp_path / "rig.toml").exists()
