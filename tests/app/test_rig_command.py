"""`binopose rig`: show, import and check, on a rendered person and on the real sets."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.app.main import main
from binopose.app.outputs.video_writer import open_video_writer
from binopose.app.simulation.motion import SimulatedPerson
from binopose.app.simulation.scene import SimulatedScene
from binopose.app.simulation.virtual_rig import virtual_rig
from binopose.calibration.rig import RigidTransform, StereoRig
from binopose.calibration.rig_file import load_rig, save_rig

FRAMES = 60
RATE = 30.0


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with left.mp4, right.mp4 and the true rig.toml of a rendered person, and a picture of each view."""
    folder = tmp_path_factory.mktemp("filmed")
    rig = virtual_rig()
    scene = SimulatedScene(rig, SimulatedPerson())
    save_rig(rig, folder / "rig.toml")
    with (
        open_video_writer(folder / "left.mp4", rig.left.size_px, RATE) as left_writer,
        open_video_writer(folder / "right.mp4", rig.right.size_px, RATE) as right_writer,
    ):
        for number in range(FRAMES):
            left, right = scene.images(number / RATE)
            left_writer.write(left, number / RATE)
            right_writer.write(right, number / RATE)
    for name, picture in zip(("left.png", "right.png"), scene.images(0.0), strict=True):
        cv2.imwrite(str(folder / name), picture)
    return folder


def test_a_true_rig_passes_and_a_turned_one_is_refused(
    filmed: Path, tmp_path: Path, blazepose_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = (filmed / "left.mp4", filmed / "right.mp4")
    assert run("rig", "check", filmed / "rig.toml", *videos, "--json", tmp_path / "good.json") == 0
    assert json.loads((tmp_path / "good.json").read_text())["verdict"] == "good"
    assert "verdict: good" in capsys.readouterr().out

    rig = load_rig(filmed / "rig.toml")
    turn = cv2.Rodrigues(np.deg2rad([3.0, 0.0, 0.0]))[0] @ rig.right_from_left.rotation
    save_rig(StereoRig(rig.left, rig.right, RigidTransform(turn, -turn @ rig.right_centre_m)), tmp_path / "turned.toml")
    again = tmp_path / "again.toml"
    options = ("--json", tmp_path / "bad.json", "--refine", again)
    assert run("rig", "check", tmp_path / "turned.toml", *videos, *options) == 4
    bad = json.loads((tmp_path / "bad.json").read_text())
    assert bad["verdict"] == "refused"
    assert bad["refined"]["after_px"] < 0.5 * bad["refined"]["before_px"]
    assert load_rig(again).baseline_m == pytest.approx(rig.baseline_m, rel=1e-9)
    capsys.readouterr()
    assert run("rig", "check", filmed / "rig.toml", videos[1], videos[0]) == 4
    assert "exchanged" in capsys.readouterr().out


def test_the_real_sets_get_their_verdicts(shared_data: Path, tmp_path: Path, blazepose_weights: Path) -> None:
    single = shared_data / "stereo" / "pose2sim-single-person"
    rig = tmp_path / "single.toml"
    qca = single / "calibration" / "Calib.qca.txt"
    assert run("rig", "import", qca, "--left", "cam01", "--right", "cam02", "-o", rig) == 0
    videos = (single / "videos" / "cam01.mp4", single / "videos" / "cam02.mp4")
    assert run("rig", "check", rig, *videos, "--json", tmp_path / "single.json") == 0
    found = json.loads((tmp_path / "single.json").read_text())
    assert found["verdict"] == "usable"
    # Published for this set: the calibration and the landmarks disagree systematically by 10 to 20 px.
    assert 5 < found["systematic_px"] < 25

    swing = shared_data / "stereo" / "webcam-swing-poor-calibration"
    rig = tmp_path / "swing.toml"
    where = swing / "camera_parameters"
    assert run("rig", "import", where, "--unit", "cm", "--size", "1920x1080", "-o", rig) == 0
    videos = (swing / "videos" / "camera1_output.mp4", swing / "videos" / "camera2_output.mp4")
    assert run("rig", "check", rig, *videos, "--json", tmp_path / "swing.json") == 4
    found = json.loads((tmp_path / "swing.json").read_text())
    assert found["verdict"] == "refused"
    assert "does not fit" in found["reasons"][0]


def test_show_writes_a_preview_whose_rows_agree(
    filmed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preview = tmp_path / "preview.png"
    images = (filmed / "left.png", filmed / "right.png")
    assert run("rig", "show", filmed / "rig.toml", "--images", *images, "-o", preview) == 0
    assert "baseline 250.0 mm" in capsys.readouterr().out
    picture = cv2.imread(str(preview))
    assert picture is not None
    assert picture.shape[1] == 1600


def test_show_names_a_picture_that_is_none(filmed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.png").write_text("no picture")
    images = (filmed / "left.png", tmp_path / "text.png")
    assert run("rig", "show", filmed / "rig.toml", "--images", *images, "-o", tmp_path / "p.png") == 2
    assert "text.png: cannot be read as a picture" in capsys.readouterr().err
    assert not (tmp_path / "p.png").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--unit", "furlong"], "expected m, cm, mm"),
        (["--size", "big"], "expected WIDTHxHEIGHT"),
    ],
)
def test_import_explains_its_options(
    tmp_path: Path, arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("rig", "import", tmp_path / "a.yml", "-o", tmp_path / "rig.toml", *arguments)
    assert stopped.value.code == 2
    assert expected in capsys.readouterr().err


def test_import_keeps_an_existing_rig(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cameras = shared_data / "stereo" / "pose2sim-single-person" / "calibration" / "cameras.json"
    rig = tmp_path / "rig.toml"
    rig.write_text("precious")
    assert run("rig", "import", cameras, "-o", rig) == 2
    assert "--force" in capsys.readouterr().err
    assert rig.read_text() == "precious"
    assert run("rig", "import", cameras, "-o", rig, "--force") == 0
    assert load_rig(rig).baseline_m == pytest.approx(2.8535, abs=1e-4)
