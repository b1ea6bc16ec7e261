"""The export of MMPose models, as far as it goes without MMPose; test_mmpose_inside.py has the rest."""

from __future__ import annotations

import hashlib
import importlib
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from binopose.calibration.errors import UserError
from binopose.engines.model_file import Reference
from binopose.export import mmpose, mmpose_environment
from binopose.export.mmpose import ExportRequest, confirmed_weights, export, reference_crops
from binopose.export.mmpose_model import find_skeleton, load_frameworks, mmpose_names
from binopose.export.stand_ins import StandIn, install_stand_ins
from binopose.models.skeleton import BODY17, COCO17, H36M17, HALPE26


class Bomb:
    """Unpickling one creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


@pytest.fixture
def bomb(tmp_path: Path) -> Path:
    """A checkpoint that must not be unpickled; tmp_path / "exploded" exists once it was."""
    path = tmp_path / "bomb.pth"
    path.write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_bomb_explodes(bomb: Path, tmp_path: Path) -> None:
    pickle.loads(bomb.read_bytes())
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("checksum", "message"),
    [
        (None, r'say with --sha256 which one you mean; expected 64 hexadecimal digits, found ""'),
        ("cbed682d", 'found "cbed682d"'),
        ("0" * 64, "expected the file with sha256 0{64}, found [1-9a-f]"),
    ],
)
def test_checkpoint_is_never_read_without_its_checksum(
    checksum: str | None, message: str, bomb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_far() -> None:
        raise AssertionError("the checksum comes first")

    monkeypatch.setattr(mmpose, "load_frameworks", too_far)
    with pytest.raises(UserError, match=message):
        export(ExportRequest("any.py", tmp_path / "model.onnx", bomb, checksum))
    assert not (tmp_path / "exploded").exists()
    # With the right one it goes on.
    with pytest.raises(AssertionError, match="the checksum comes first"):
        export(ExportRequest("any.py", tmp_path / "model.onnx", bomb, sha256(bomb).upper()))


def test_weights_are_those_of_the_checksum(bomb: Path) -> None:
    weights = confirmed_weights(ExportRequest("any.py", Path("model.onnx"), bomb, sha256(bomb)))
    assert weights.content == bomb.read_bytes()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ExportRequest("a.py", Path("model.pt")), r"model\.pt: expected a name ending in \.onnx"),
        (ExportRequest("a.py", Path("nowhere/model.onnx")), "nowhere: no such folder"),
        (ExportRequest("a.py", Path("model.onnx"), Path("none.pth"), "0" * 64), r"none\.pth: no such file"),
        (ExportRequest("a.py", Path("model.onnx"), None, "0" * 64), "--sha256: expected together with --checkpoint"),
    ],
)
def test_impossible_requests_are_named(request_: ExportRequest, message: str) -> None:
    with pytest.raises(UserError, match=message):
        export(request_)


def test_command_wants_weights_or_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        mmpose.main(["rtmpose-t", "-o", "model.onnx"])
    assert end.value.code == 2
    assert "one of the arguments --checkpoint --random-weights is required" in capsys.readouterr().err


def test_command_reports_errors_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert mmpose.main(["rtmpose-t", "--checkpoint", "none.pth", "-o", "model.onnx"]) == 2
    assert capsys.readouterr().err.startswith("error: none.pth: no such file")


def test_other_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r"python -m binopose\.export\.mmpose_environment FOLDER"):
        load_frameworks()


# --- stand-ins


def test_stand_ins_can_be_imported_and_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("absent_package", "absent_package.inside", "json", "json.decoder")
    before = importlib.import_module("json")
    for name in names[:2]:
        monkeypatch.setitem(sys.modules, name, StandIn(name))
        monkeypatch.delitem(sys.modules, name)
    install_stand_ins(names)
    inside = importlib.import_module("absent_package.inside")
    assert isinstance(inside, StandIn)
    with pytest.raises(NotImplementedError, match=r"absent_package\.inside\.draw is not part of"):
        inside.draw(1, colour=2)
    assert importlib.import_module("json") is before


# --- joints


def test_joints_are_called_as_in_mmpose() -> None:
    assert mmpose_names(COCO17)[:3] == ["nose", "left_eye", "right_eye"]
    assert mmpose_names(HALPE26)[15:21] == ["left_ankle", "right_ankle", "head", "neck", "hip", "left_big_toe"]
    assert mmpose_names(H36M17) == [
        "root", "right_hip", "right_knee", "right_foot", "left_hip", "left_knee", "left_foot", "spine", "thorax",
        "neck_base", "head", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow",
        "right_wrist",
    ]  # fmt: skip


def test_skeletons_are_found_by_their_joints_in_order() -> None:
    for skeleton in (COCO17, HALPE26, H36M17):
        assert find_skeleton(Path("a.py"), mmpose_names(skeleton)) is skeleton
    with pytest.raises(UserError, match=r"a\.py: expected the joints of COCO .*, found 17: right_ankle"):
        find_skeleton(Path("a.py"), mmpose_names(COCO17)[::-1])


def test_human36m_has_all_joints_of_the_program() -> None:
    assert set(H36M17.joints) == set(BODY17.joints)


# --- reference pictures


def test_reference_pictures_show_two_things_and_shrink() -> None:
    crops = reference_crops((192, 256))
    assert crops.shape == (2, 256, 192, 3)
    assert (crops[0] != crops[1]).any(axis=-1).mean() > 0.9
    assert len(Reference({"input": crops.astype(np.float32)}, {}).to_text()) < 60_000


# --- the environment


def test_environment_says_what_it_cannot_do(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match=r"photos: exists and is no virtual environment") as caught:
        mmpose_environment.build(tmp_path / "photos")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("output", "exit_code"),
    [
        ("WARNING: Retrying after connection broken by 'NewConnectionError(...)': /simple/torch/\nERROR: No", 75),
        ("Could not fetch URL: HTTPSConnectionPool: Max retries (Caused by ProxyError('Tunnel", 75),
        ("ERROR: Could not find a version that satisfies the requirement torch==99", 2),
        ("OSError: [Errno 28] No space left on device", 2),
    ],
)
def test_missing_network_is_told_from_other_failures(output: str, exit_code: int) -> None:
    error = mmpose_environment.failure("install", ["pip"], output)
    assert error.exit_code == exit_code
    assert output.splitlines()[-1] in str(error)


def test_environment_is_rebuilt_when_its_packages_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = mmpose_environment.wanted_stamp()
    assert mmpose_environment.wanted_stamp() == before
    assert mmpose_environment.wanted_stamp(["pytest"]) != before
    changed = tmp_path / "requirements.txt"
    changed.write_text(mmpose_environment.REQUIREMENTS.read_text(encoding="utf-8") + "extra\n", encoding="utf-8")
    monkeypatch.setattr(mmpose_environment, "REQUIREMENTS", changed)
    assert mmpose_environment.wanted_stamp() != before
