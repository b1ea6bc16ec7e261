"""The program's own rig file: exact round trip, and every way in which it can be broken."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from binopose.calibration.errors import UserError
from binopose.calibration.rig import Camera, RigidTransform, StereoRig
from binopose.calibration.rig_file import RigFileError, load_rig, save_rig
from scipy.spatial.transform import Rotation

Keys = tuple[str | int, ...]
MISSING = object()
RIGHT_FROM_LEFT = Rotation.from_rotvec([0.1, -0.7, 0.3]).as_matrix()


def made_up_rig() -> StereoRig:
    """Numbers with all their digits, two lenses, and a world."""
    return StereoRig(
        left=Camera((1088, 1920), np.array([[1681.244873, 0, 532.973694], [0, 1681.075439, 948.13739], [0, 0, 1]]),
                    np.array([-0.046183, 1 / 7, 0.000608, 1e-17, 0.0])),
        right=Camera((640, 480), np.array([[300 / 0.7, 0, 320.1], [0, 300 / 0.7, 239.9], [0, 0, 1]]),
                     np.array([0.02, -1 / 3, 0.1, 0]), "fisheye"),
        right_from_left=RigidTransform(RIGHT_FROM_LEFT, np.array([-2.8, 0.1, 1 / 3])),
        world_from_left=RigidTransform(Rotation.from_rotvec([2, 0.5, -1]).as_matrix(), np.array([1e-9, 12, -1.5])),
        provenance={"board": "9x6", "residual_px": 0.1 + 0.2, "pairs": [1, 2], "note": 'ä "quoted" \\ line\nbreak'},
    )  # fmt: skip


def content() -> dict[str, Any]:
    """A right file as tables, written independently of `save_rig`."""
    camera = {
        "size_px": [640, 480],
        "model": "pinhole",
        "matrix": [[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]],
        "distortion": [0.0, 0, 0, 0, 0],
    }
    return {
        "format": "binopose-rig",
        "version": 1,
        "left": camera,
        "right": {key: value for key, value in camera.items() if key != "model"},
        "right_from_left": {"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1.0]], "translation_m": [-0.1, 0, 0]},
    }


def with_change(keys: Keys, value: object) -> dict[str, Any]:
    """The right file with one value replaced, or taken away."""
    tables = tomllib.loads(tomli_w.dumps(content()))
    table: Any = tables
    for key in keys[:-1]:
        table = table[key]
    if value is MISSING:
        del table[keys[-1]]
    else:
        table[keys[-1]] = value
    return tables


def write(folder: Path, tables: dict[str, Any]) -> Path:
    path = folder / "my rig.toml"
    path.write_text(tomli_w.dumps(tables), encoding="utf-8")
    return path


def test_round_trip_keeps_every_digit(tmp_path: Path) -> None:
    rig = made_up_rig()
    save_rig(rig, tmp_path / "rig.toml")
    found = load_rig(tmp_path / "rig.toml")
    for camera, before in ((found.left, rig.left), (found.right, rig.right)):
        assert camera.size_px == before.size_px
        assert camera.model == before.model
        np.testing.assert_array_equal(camera.matrix, before.matrix)
        np.testing.assert_array_equal(camera.distortion, before.distortion)
    assert found.world_from_left is not None
    assert rig.world_from_left is not None
    pairs = ((found.right_from_left, rig.right_from_left), (found.world_from_left, rig.world_from_left))
    for transform, before in pairs:
        np.testing.assert_array_equal(transform.translation_m, before.translation_m)
        np.testing.assert_allclose(transform.rotation, before.rotation, rtol=0, atol=4e-16)
    assert found.provenance == rig.provenance
    assert [path.name for path in tmp_path.iterdir()] == ["rig.toml"]


def test_file_is_readable_without_the_program(tmp_path: Path) -> None:
    save_rig(made_up_rig(), tmp_path / "rig.toml")
    tables = tomllib.loads((tmp_path / "rig.toml").read_text(encoding="utf-8"))
    assert (tables["format"], tables["version"]) == ("binopose-rig", 1)
    assert tables["left"]["size_px"] == [1088, 1920]
    assert tables["left"]["matrix"][0] == [1681.244873, 0, 532.973694]
    assert tables["right"]["model"] == "fisheye"
    assert tables["right_from_left"]["translation_m"] == [-2.8, 0.1, 1 / 3]
    np.testing.assert_allclose(tables["right_from_left"]["rotation"], RIGHT_FROM_LEFT, atol=1e-15)


def test_hand_written_file_is_understood(tmp_path: Path) -> None:
    rig = load_rig(write(tmp_path, content()))
    assert rig.baseline_m == pytest.approx(0.1)
    assert rig.right.model == "pinhole"
    assert rig.world_from_left is None
    assert rig.provenance == {}


def test_saving_never_replaces_unasked(tmp_path: Path) -> None:
    path = tmp_path / "rig.toml"
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(UserError, match=r"rig\.toml: exists already"):
        save_rig(made_up_rig(), path)
    assert path.read_text(encoding="utf-8") == "precious"
    save_rig(made_up_rig(), path, overwrite=True)
    assert load_rig(path).left.size_px == (1088, 1920)


def test_saving_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "none" / "rig.toml", tmp_path / "folder", tmp_path / "file" / "rig.toml"):
        with pytest.raises(UserError, match=path.name):
            save_rig(made_up_rig(), path, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(RigFileError, match=r"nowhere\.toml: no such file.*binopose calibrate"):
        load_rig(tmp_path / "nowhere.toml")
    with pytest.raises(RigFileError, match=tmp_path.name):
        load_rig(tmp_path)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "format"),
        (b"\x00\x01\xff\xfe binary", "cannot be read"),
        (b"[left\nsize_px = ", "not valid TOML"),
        (b"format = 'binopose-rig'\nformat = 'binopose-rig'", "not valid TOML"),
        (b"%YAML:1.0\n---\nM1: !!opencv-matrix\n", "not valid TOML"),
        (b"[cam_0]\nname = 'aniposelib'\n", "rig import"),
        (b"format = 'binopose-rig'\nversion = 2\n", "version: expected 1, found 2"),
        (b"format = 'binopose-rig'\nversion = '1'\n", "version: expected 1, found '1'"),
        (b"format = 'binopose-rig'\n", "version: expected 1, found None"),
    ],
)
def test_foreign_contents_are_named(tmp_path: Path, data: bytes, told: str) -> None:
    path = tmp_path / "my rig.toml"
    path.write_bytes(data)
    with pytest.raises(RigFileError, match=told) as raised:
        load_rig(path)
    assert "my rig.toml" in str(raised.value)


NAN = float("nan")
BROKEN: list[tuple[Keys, object, str]] = [
    (("left",), MISSING, "left"),
    (("right",), 5, "right"),
    (("right_from_left",), MISSING, "right_from_left"),
    (("right_from_left",), [1, 2], "right_from_left"),
    (("left", "size_px"), MISSING, "left.size_px"),
    (("left", "size_px"), [640], "left.size_px"),
    (("left", "size_px"), 640, "left.size_px"),
    (("left", "size_px"), "640x480", "left.size_px"),
    (("left", "size_px"), ["640", "480"], "left.size_px"),
    (("left", "size_px"), [NAN, 480], "size_px"),
    (("left", "size_px"), [float("inf"), 480], "size_px"),
    (("left", "size_px"), [640.5, 480], "size_px"),
    (("left", "size_px"), [0, 480], "size_px"),
    (("left", "model"), "omni", "model"),
    (("left", "model"), 3, "model"),
    (("right", "matrix"), MISSING, "right.matrix"),
    (("right", "matrix"), [[500, 0], [0, 500]], "right.matrix"),
    (("right", "matrix"), [[500, 0, 320], [0, 500], [0, 0, 1]], "right.matrix"),
    (("right", "matrix"), [["500", "0", "320"], ["0", "500", "240"], ["0", "0", "1"]], "right.matrix"),
    (("right", "matrix"), [[True, False, False], [False, True, False], [False, False, True]], "matrix"),
    (("right", "matrix", 0, 0), NAN, "matrix"),
    (("right", "matrix", 0, 0), 10**400, "matrix"),
    (("right", "matrix", 0, 1), 2.0, "matrix"),  # skew
    (("right", "matrix", 0, 0), -500.0, "matrix"),
    (("right", "matrix", 0, 0), 1.0, "matrix"),  # metres, or normalised
    (("right", "matrix", 1, 1), 1e6, "matrix"),
    (("left", "distortion"), MISSING, "left.distortion"),
    (("left", "distortion"), [0.1, 0.2, 0.3], "distortion"),
    (("left", "distortion"), [[0.1, 0.2, 0.0, 0.0]], "left.distortion"),
    (("left", "distortion"), [0.1, NAN, 0.0, 0.0], "distortion"),
    (("left", "distortion"), {"k1": 0.1}, "left.distortion"),
    (("left", "distorsion"), [0.0, 0, 0, 0], "left.distorsion"),
    (("right_from_left", "rotation"), MISSING, "right_from_left.rotation"),
    (("right_from_left", "rotation"), [0.1, 0.2, 0.3], "right_from_left.rotation"),
    (("right_from_left", "rotation", 0, 0), 1.1, "right_from_left"),
    (("right_from_left", "rotation", 2, 2), -1.0, "right_from_left"),
    (("right_from_left", "rotation", 1, 1), NAN, "right_from_left"),
    (("right_from_left", "translation_m"), MISSING, "right_from_left.translation_m"),
    (("right_from_left", "translation_m"), [0.0, 0.0, 0.0], "right_from_left"),
    (("right_from_left", "translation_m"), [0.1, 0.0], "right_from_left.translation_m"),
    (("right_from_left", "translation_m"), [NAN, 0.0, 0.0], "right_from_left"),
    (("right_from_left", "translation"), [0.1, 0, 0], "right_from_left.translation"),
    (("world_from_left",), {"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}, "world_from_left.translation_m"),
    (("world_from_left",), "floor", "world_from_left"),
    (("provenance",), "a friend", "provenance"),
    (("baseline",), 0.1, "baseline"),
]


@pytest.mark.parametrize(
    ("keys", "value", "told"), BROKEN, ids=[f"{number}-{told}" for number, (*_, told) in enumerate(BROKEN)]
)
def test_broken_values_are_named_by_file_and_key(tmp_path: Path, keys: Keys, value: object, told: str) -> None:
    with pytest.raises(RigFileError) as raised:
        load_rig(write(tmp_path, with_change(keys, value)))
    assert "my rig.toml" in str(raised.value)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("keys", "value", "end"),
    [
        (("right_from_left", "rotation", 2, 2), -1.0, "(expected 1)"),
        (("left", "matrix", 0, 1), 2.0, "[0.0, 0.0, 1.0]]"),
        (("left", "distortion"), [0.1, 0.2, 0.3], "got 3"),
    ],
)
def test_explanations_are_not_cut_off(tmp_path: Path, keys: Keys, value: object, end: str) -> None:
    """What was found comes last in the sentence: a cut at some length takes away the part that helps."""
    with pytest.raises(RigFileError) as raised:
        load_rig(write(tmp_path, with_change(keys, value)))
    assert end in str(raised.value)
