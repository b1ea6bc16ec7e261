"""Calibrations of other programs: real files, files written here by cv2 and by hand, and broken ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tomli_w
from binopose.calibration.errors import UserError
from binopose.calibration.rig import StereoRig
from binopose.calibration.rig_file import RigFileError
from binopose.calibration.rig_import import import_rig
from scipy.spatial.transform import Rotation

SIZE_PX = (640, 480)
MATRICES = [np.array([[500.0 + n, 0, 320 - n], [0, 501.0 + n, 240 + n], [0, 0, 1]]) for n in range(3)]
TERMS = [np.array([-0.1 - 0.01 * n, 0.02, 0.001, -0.001, 0.003]) for n in range(3)]
# Camera from world, as rotation vector and translation in millimetres.
ROTVECS = [np.array([0.1, -0.2 - 0.3 * n, 0.05 * n]) for n in range(3)]
TRANSLATIONS_MM = [np.array([100.0 - 400 * n, 20.0 * n, 3000.0]) for n in range(3)]


def assert_pixels(rig: StereoRig, world_points_m: np.ndarray, numbers: tuple[int, int] = (0, 1)) -> None:
    """Both cameras see the points where cv2 says, going from the world straight into each camera."""
    assert rig.world_from_left is not None
    left_m = rig.world_from_left.inverse().apply(world_points_m)
    seen = [rig.left.px_from_camera(left_m), rig.right.px_from_camera(rig.right_from_left.apply(left_m))]
    for found_px, n in zip(seen, numbers, strict=True):
        expected_px, _ = cv2.projectPoints(world_points_m, ROTVECS[n], TRANSLATIONS_MM[n] / 1e3, MATRICES[n], TERMS[n])
        np.testing.assert_allclose(found_px, expected_px.reshape(-1, 2), atol=1e-8)


def world_points_m() -> np.ndarray:
    return np.random.default_rng(5).uniform(-0.5, 0.5, (20, 3))


def expected_baseline_m(first: int = 0, second: int = 1) -> float:
    centres = [
        -Rotation.from_rotvec(rotvec).as_matrix().T @ translation / 1e3
        for rotvec, translation in zip(ROTVECS, TRANSLATIONS_MM, strict=True)
    ]
    return float(np.linalg.norm(centres[first] - centres[second]))


# --- Qualisys and cameras.json: the same real rig in two forms


def test_qualisys_agrees_with_the_published_conversion(shared_data: Path) -> None:
    folder = shared_data / "stereo" / "pose2sim-single-person" / "calibration"
    qualisys = import_rig([folder / "Calib.qca.txt"], "cam01", "cam02")
    published = import_rig([folder / "cameras.json"], "cam01", "cam02")
    assert qualisys.baseline_m == pytest.approx(2.854, abs=0.001)
    for camera, reference in ((qualisys.left, published.left), (qualisys.right, published.right)):
        assert camera.size_px == reference.size_px == (1088, 1920)
        np.testing.assert_allclose(camera.matrix, reference.matrix, atol=1e-5)
        np.testing.assert_allclose(camera.distortion, reference.distortion, atol=1e-9)
    np.testing.assert_allclose(qualisys.right_from_left.rotation, published.right_from_left.rotation, atol=1e-8)
    np.testing.assert_allclose(
        qualisys.right_from_left.translation_m, published.right_from_left.translation_m, atol=1e-7
    )
    content = json.loads((folder / "cameras.json").read_text(encoding="utf-8"))["cameras"]
    for rig in (qualisys, published):
        assert rig.world_from_left is not None
        left = content["cam01"]
        centre_m = -np.array(left["R"]).T @ np.array(left["T_mm"]) / 1e3
        np.testing.assert_allclose(rig.world_from_left.translation_m, centre_m, atol=1e-6)


def test_published_conversion_is_read_as_published(shared_data: Path) -> None:
    path = shared_data / "stereo" / "pose2sim-single-person" / "calibration" / "cameras.json"
    rig = import_rig([path], "cam01", "cam02")
    cameras = json.loads(path.read_text(encoding="utf-8"))["cameras"]
    assert rig.world_from_left is not None
    points_m = np.random.default_rng(6).uniform([-0.5, -0.5, 0], [0.5, 0.5, 1.8], (10, 3))
    left_m = rig.world_from_left.inverse().apply(points_m)
    for camera, in_camera_m, name in (
        (rig.left, left_m, "cam01"),
        (rig.right, rig.right_from_left.apply(left_m), "cam02"),
    ):
        listed = cameras[name]
        rotation, translation_mm, matrix, terms = (np.array(listed[key]) for key in ("R", "T_mm", "K", "dist"))
        expected_px, _ = cv2.projectPoints(points_m * 1e3, rotation, translation_mm, matrix, terms)
        np.testing.assert_allclose(camera.px_from_camera(in_camera_m), expected_px.reshape(-1, 2), atol=1e-6)


def test_real_file_with_its_cameras_exchanged(shared_data: Path) -> None:
    path = shared_data / "stereo" / "pose2sim-single-person" / "calibration" / "Calib.qca.txt"
    forth, back = import_rig([path], "cam01", "cam02"), import_rig([path], "cam02", "cam01")
    np.testing.assert_allclose(back.right_from_left.rotation, forth.right_from_left.inverse().rotation, atol=1e-12)
    np.testing.assert_allclose(back.right_from_left.translation_m, forth.right_centre_m, atol=1e-12)
    np.testing.assert_array_equal(back.left.matrix, forth.right.matrix)
    assert back.provenance["left_camera"] == "cam02"


def qualisys_text(changes: dict[str, str] | None = None) -> str:
    """Three cameras as Qualisys writes them: camera axes with y up and z backwards, millimetres, 1/64 pixel."""
    cameras = []
    for n in range(3):
        rotation = Rotation.from_rotvec(ROTVECS[n]).as_matrix()
        centre = -rotation.T @ TRANSLATIONS_MM[n]
        axes = np.diag([1, -1, -1]) @ rotation
        listed = (
            " ".join(f'r{i + 1}{j + 1}="{axes[i, j]!r}"' for i in range(3) for j in range(3))
            .replace("np.float64(", "")
            .replace(")", "")
        )
        x, y, z = (float(v) for v in centre)
        k1, k2, p1, p2, k3 = (float(v) for v in TERMS[n])
        m = MATRICES[n] * 64
        cameras.append(
            f'<camera serial="c{n}"><fov_video left="0" top="0" right="639" bottom="479"/>'
            f'<transform {listed} x="{x}" y="{y}" z="{z}"/>'
            f'<intrinsic focalLengthU="{m[0, 0]}" focalLengthV="{m[1, 1]}" centerPointU="{m[0, 2]}" '
            f'centerPointV="{m[1, 2]}" radialDistortion1="{k1}" radialDistortion2="{k2}" radialDistortion3="{k3}" '
            f'tangentalDistortion1="{p1}" tangentalDistortion2="{p2}"/></camera>'
        )
    text = f"<?xml version='1.0'?><calibration><cameras>{''.join(cameras)}</cameras></calibration>"
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    return text


def json_text(changes: dict[str, Any] | None = None) -> str:
    cameras = {
        f"c{n}": {
            "size": list(SIZE_PX),
            "K": MATRICES[n].tolist(),
            "dist": TERMS[n].tolist(),
            "R": Rotation.from_rotvec(ROTVECS[n]).as_matrix().tolist(),
            "T_mm": TRANSLATIONS_MM[n].tolist(),
        }
        | ((changes or {}) if n == 0 else {})
        for n in range(3)
    }
    return json.dumps({"convention": "words", "cameras": cameras})


def toml_tables(flat: bool, changes: dict[str, Any] | None = None, millimetres: float = 1.0) -> dict[str, Any]:
    """aniposelib (`cam_0` at the top, `distortions`, Rodrigues) or Caliscope (under `cameras`, 3 x 3)."""
    cameras = {}
    for n in range(3):
        rotation = ROTVECS[n].tolist() if flat else Rotation.from_rotvec(ROTVECS[n]).as_matrix().tolist()
        cameras[f"cam_{n}"] = {
            "name": f"c{n}",
            "size": list(SIZE_PX),
            "matrix": MATRICES[n].tolist(),
            "distortions": TERMS[n].tolist(),
            "rotation": rotation,
            "translation": (TRANSLATIONS_MM[n] * millimetres).tolist(),
        } | ((changes or {}) if n == 0 else {})
    metadata = {"adjusted": False, "error": 0.3}
    return cameras | {"metadata": metadata} if flat else {"cameras": cameras, "metadata": metadata}


def write(folder: Path, kind: str, changes: dict[str, Any] | None = None) -> Path:
    name, text = {
        "qualisys": lambda: ("their.qca.txt", qualisys_text(changes)),
        "json": lambda: ("cameras.json", json_text(changes)),
        "aniposelib": lambda: ("their.toml", tomli_w.dumps(toml_tables(True, changes))),
        "caliscope": lambda: ("their.toml", tomli_w.dumps(toml_tables(False, changes))),
    }[kind]()
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


KINDS = ("qualisys", "json", "aniposelib", "caliscope")
FIXED_UNIT = ("qualisys", "json")


def unit(kind: str) -> float | None:
    return None if kind in FIXED_UNIT else 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("numbers", [(0, 1), (2, 0)])
def test_two_of_three_cameras_project_as_written(tmp_path: Path, kind: str, numbers: tuple[int, int]) -> None:
    left, right = (f"c{n}" for n in numbers)
    rig = import_rig([write(tmp_path, kind)], left, right, unit(kind))
    assert rig.baseline_m == pytest.approx(expected_baseline_m(*numbers), rel=1e-9)
    assert (rig.provenance["left_camera"], rig.provenance["right_camera"]) == (left, right)
    assert_pixels(rig, world_points_m(), numbers)


@pytest.mark.parametrize("kind", KINDS)
def test_more_than_two_cameras_have_to_be_chosen(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind)
    with pytest.raises(UserError, match=r"3 cameras \(c0, c1, c2\); choose two"):
        import_rig([path], metres_per_unit=unit(kind))
    with pytest.raises(UserError, match="no camera named c7, only c0, c1, c2"):
        import_rig([path], "c0", "c7", unit(kind))
    with pytest.raises(UserError, match="same camera, c1"):
        import_rig([path], "c1", "c1", unit(kind))


@pytest.mark.parametrize("kind", ["aniposelib", "caliscope"])
def test_open_unit_is_asked_for_with_the_baseline_in_the_files_unit(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind)
    with pytest.raises(UserError, match="unit of length") as raised:
        import_rig([path], "c0", "c1")
    assert f"{expected_baseline_m() * 1e3:.4g} units" in str(raised.value)
    assert "--unit" in str(raised.value)
    assert import_rig([path], "c0", "c1", 0.01).baseline_m == pytest.approx(10 * expected_baseline_m())


def test_wrong_unit_for_a_format_that_fixes_it_does_not_pass_in_silence(tmp_path: Path) -> None:
    """Either the format's own unit counts or the contradiction is an error; a rig ten times too large is neither."""
    try:
        rig = import_rig([write(tmp_path, "qualisys")], "c0", "c1", 0.01)
    except UserError as error:
        assert "unit" in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert rig.baseline_m == pytest.approx(expected_baseline_m())


def test_caliscope_marks_fisheye_lenses(tmp_path: Path) -> None:
    path = write(tmp_path, "caliscope", {"fisheye": True, "distortions": [0.01, 0.0, 0.0, 0.0]})
    rig = import_rig([path], "c0", "c1", 1e-3)
    assert (rig.left.model, rig.right.model) == ("fisheye", "pinhole")


BROKEN: dict[str, list[tuple[dict[str, Any], str]]] = {
    "qualisys": [
        ({"<cameras>": "<cameras"}, "expected Qualisys XML"),
        ({'x="': 'u="'}, "transform.x"),
        ({'focalLengthU="32000.0"': 'focalLengthU="none"'}, "focalLengthU"),
        ({'focalLengthU="32000.0"': 'focalLengthU="500"'}, "fx"),
        ({'focalLengthU="32000.0"': 'focalLengthU="nan"'}, "focalLengthU"),
        ({"<fov_video": "<fov_marker"}, "fov_video"),
        ({'right="639"': 'right="nan"'}, "right|size"),
    ],
    "json": [
        ({"K": MATRICES[0].tolist()[:2]}, "c0.K"),
        ({"size": "640x480"}, "c0.size"),
        ({"size": [640]}, "c0.size"),
        ({"size": [float("nan"), 480]}, "size"),
        ({"R": np.eye(2).tolist()}, "c0.R"),
        ({"R": (2 * np.eye(3)).tolist()}, "rotation"),
        ({"T_mm": None}, "c0.T_mm"),
        ({"dist": [1, 2, 3]}, "distortion"),
    ],
    "aniposelib": [
        ({"matrix": [[1, 2], [3, 4]]}, "matrix"),
        ({"size": [640]}, "size"),
        ({"rotation": [0.1, 0.2]}, "rotation"),
        ({"rotation": "none"}, "rotation"),
        ({"rotation": [[1, 0, 0], [0, 1], [0, 0, 1]]}, "rotation"),
        ({"rotation": [float("nan"), 0.0, 0.0]}, "finite|rotation"),
        ({"translation": [1.0, 2.0]}, "translation"),
        ({"translation": [float("nan"), 2.0, 3.0]}, "finite|translation"),
        ({"distortions": [0.1, 0.2]}, "distortion"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "changes", "told"), [(kind, changes, told) for kind, cases in BROKEN.items() for changes, told in cases]
)
def test_broken_files_are_named_with_the_entry(tmp_path: Path, kind: str, changes: dict[str, Any], told: str) -> None:
    path = write(tmp_path, kind, changes)
    with pytest.raises(RigFileError, match=told) as raised:
        import_rig([path], "c0", "c1", 1e-3)
    assert path.name in str(raised.value)


@pytest.mark.parametrize("kind", ["json", "aniposelib"])
def test_complaint_about_a_camera_names_that_camera(tmp_path: Path, kind: str) -> None:
    """With many cameras in a file "fx cannot belong" alone does not say where to look."""
    key = "K" if kind == "json" else "matrix"
    path = write(tmp_path, kind, {key: np.diag([1.0, 1.0, 1.0]).tolist()})
    with pytest.raises(RigFileError, match=r"c0|cam_0"):
        import_rig([path], "c1", "c2", 1e-3)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.json", b"{"),
        ("a.json", b"\xff\xfe\x00"),
        ("a.json", b"[]"),
        ("a.json", b'{"cameras": 3}'),
        ("a.json", b'{"cameras": []}'),
        ("a.json", b'{"other": 3}'),
        ("a.toml", b"= 3"),
        ("a.toml", b"x = 3"),
        ("a.qca.txt", b""),
        ("a.qca.txt", b"<other/>"),
        ("a.yml", b""),
        ("a.yml", b"words"),
        ("a.yml", b"\xff\xfe\x00\x01"),
        ("a.yml", b"%YAML:1.0\n---\nM1: !!opencv-matrix\n   rows: 3\n"),
        ("a.yml", b"%YAML:1.0\n---\nM1: 3\n"),
        ("a.yml", b"%YAML:1.0\n---\nM1: words\n"),
        ("a.xml", b"<other/>"),
        ("a.xml", b"<opencv_storage><M1>1</M1></opencv_storage>"),
        ("a.csv", b"1,2,3"),
        ("a", b""),
    ],
)
def test_other_contents_are_refused_by_name(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RigFileError, match=name.replace(".", r"\.")):
        import_rig([tmp_path / name], metres_per_unit=1.0, size_px=SIZE_PX)


def test_missing_files_and_folders_in_their_place(tmp_path: Path) -> None:
    with pytest.raises(RigFileError, match=r"none\.json: no such file"):
        import_rig([tmp_path / "none.json"])
    for name in ("folder.json", "folder.toml", "folder.yml"):
        (tmp_path / name).mkdir()
        with pytest.raises(UserError, match=name):
            import_rig([tmp_path / name], size_px=SIZE_PX)


# --- OpenCV


def stereo_calibration() -> dict[str, np.ndarray]:
    first, second = (Rotation.from_rotvec(rotvec).as_matrix() for rotvec in ROTVECS[:2])
    rotation = second @ first.T
    return {
        "M1": MATRICES[0],
        "D1": TERMS[0].reshape(1, 5),
        "M2": MATRICES[1],
        "D2": TERMS[1].reshape(5, 1),
        "R": rotation,
        "T": (TRANSLATIONS_MM[1] - rotation @ TRANSLATIONS_MM[0]).reshape(3, 1),
    }


def write_opencv(path: Path, values: dict[str, Any]) -> Path:
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, value in values.items():
        storage.write(name, value)
    storage.release()
    return path


def assert_is_the_stereo_calibration(rig: StereoRig) -> None:
    values = stereo_calibration()
    np.testing.assert_array_equal(rig.left.matrix, values["M1"])
    np.testing.assert_array_equal(rig.right.matrix, values["M2"])
    np.testing.assert_array_equal(rig.left.distortion, values["D1"].ravel())
    np.testing.assert_array_equal(rig.right.distortion, values["D2"].ravel())
    np.testing.assert_allclose(rig.right_from_left.rotation, values["R"], atol=1e-12)
    np.testing.assert_allclose(rig.right_from_left.translation_m, values["T"].ravel() / 1e3, atol=1e-12)
    assert rig.world_from_left is None
    assert (rig.left.size_px, rig.right.size_px) == (SIZE_PX, SIZE_PX)


@pytest.mark.parametrize("ending", ["yml", "yaml", "xml"])
@pytest.mark.parametrize(
    "rename",
    [
        {},
        dict(zip(("M1", "D1", "M2", "D2"), ("K1", "D1", "K2", "D2"), strict=True)),
        {"M1": "cameraMatrix1", "D1": "distCoeffs1", "M2": "cameraMatrix2", "D2": "distCoeffs2"},
    ],
    ids=["M1", "K1", "cameraMatrix1"],
)
def test_opencv_file_with_everything(tmp_path: Path, ending: str, rename: dict[str, str]) -> None:
    values: dict[str, Any] = {rename.get(name, name): value for name, value in stereo_calibration().items()}
    values |= {"image_width": 640, "image_height": 480}
    path = write_opencv(tmp_path / f"stereo.{ending}", values)
    assert_is_the_stereo_calibration(import_rig([path], metres_per_unit=1e-3))


def test_opencv_in_two_files_in_any_order_and_rotation_as_a_vector(tmp_path: Path) -> None:
    values = stereo_calibration()
    intrinsics = write_opencv(tmp_path / "in.yml", {name: values[name] for name in ("M1", "D1", "M2", "D2")})
    rotvec = Rotation.from_matrix(values["R"]).as_rotvec().reshape(3, 1)
    extrinsics = write_opencv(tmp_path / "ex.yml", {"R": rotvec, "T": values["T"]})
    for paths in ([intrinsics, extrinsics], [extrinsics, intrinsics]):
        assert_is_the_stereo_calibration(import_rig(paths, metres_per_unit=1e-3, size_px=SIZE_PX))
    with pytest.raises(RigFileError, match=r"in\.yml: rotation: expected an entry named R"):
        import_rig([intrinsics], metres_per_unit=1e-3, size_px=SIZE_PX)
    with pytest.raises(UserError, match="--size"):
        import_rig([intrinsics, extrinsics], metres_per_unit=1e-3)
    with pytest.raises(UserError, match="unit of length"):
        import_rig([intrinsics, extrinsics], size_px=SIZE_PX)


@pytest.mark.parametrize("name", ["M1", "D2", "R", "T"])
@pytest.mark.parametrize("value", [np.zeros((2, 3)), np.full((3, 3), np.nan), "words", 3.0])
def test_opencv_entries_of_the_wrong_kind(tmp_path: Path, name: str, value: object) -> None:
    values: dict[str, Any] = stereo_calibration() | {name: value}
    path = write_opencv(tmp_path / "stereo.yml", values)
    with pytest.raises(RigFileError, match=r"stereo\.yml"):
        import_rig([path], metres_per_unit=1e-3, size_px=SIZE_PX)


def test_real_opencv_files_of_a_stereo_sample(shared_data: Path) -> None:
    folder = shared_data / "stereo" / "opencv-samples-checkerboard"
    paths = [folder / "copy-intrinsics.yml", folder / "copy-extrinsics.yml"]
    with pytest.raises(UserError, match=r"3\.343 units apart"):
        import_rig(paths, size_px=SIZE_PX)
    rig = import_rig(paths, metres_per_unit=0.025, size_px=SIZE_PX)
    assert rig.baseline_m == pytest.approx(0.08357, abs=1e-5)
    assert rig.left.distortion.size == 14
    assert rig.right_centre_m[0] > 0.08


# --- bodypose3d


def test_real_bodypose3d_folder(shared_data: Path) -> None:
    folder = shared_data / "stereo" / "webcam-swing-poor-calibration" / "camera_parameters"
    with pytest.raises(UserError, match="--size"):
        import_rig([folder])
    with pytest.raises(UserError, match="unit of length"):
        import_rig([folder], size_px=(1920, 1080))
    rig = import_rig([folder], metres_per_unit=0.01, size_px=(1920, 1080))
    assert rig.baseline_m == pytest.approx(np.linalg.norm([104.379117, -4.434751, -24.460096]) / 100, rel=1e-6)
    assert np.rad2deg(rig.axes_angle_rad) == pytest.approx(np.rad2deg(np.arccos(0.518528434)), abs=1e-4)
    assert rig.right.matrix[0, 0] == pytest.approx(1016.8565303)
    assert rig.right.distortion[3] == pytest.approx(0.161687737)
    assert rig.world_from_left is None


def write_bodypose3d(folder: Path) -> None:
    for n in (0, 1):
        rows = "\n".join(" ".join(str(float(v)) for v in row) for row in MATRICES[n])
        terms = " ".join(str(float(v)) for v in TERMS[n])
        (folder / f"c{n}.dat").write_text(f"intrinsic:\n{rows}\ndistortion:\n{terms}\n", encoding="utf-8")
        rotation = Rotation.from_rotvec(ROTVECS[n]).as_matrix()
        rows = "\n".join(" ".join(str(float(v)) for v in row) for row in rotation)
        column = "\n".join(str(float(v)) for v in TRANSLATIONS_MM[n])
        (folder / f"rot_trans_c{n}.dat").write_text(f"R:\n{rows}\nT:\n{column}\n", encoding="utf-8")


def test_bodypose3d_folder_projects_as_written(tmp_path: Path) -> None:
    write_bodypose3d(tmp_path)
    rig = import_rig([tmp_path], metres_per_unit=1e-3, size_px=SIZE_PX)
    assert_pixels(rig, world_points_m())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c0.dat", None),
        ("rot_trans_c1.dat", None),
        ("c1.dat", "intrinsic:\n1 2 3\n"),
        ("c1.dat", "intrinsic:\n500 0 320\n0 500 240\n0 0 1\ndistortion:\n"),
        ("c0.dat", "words"),
        ("c0.dat", "intrinsic:\na b c\nd e f\n0 0 1\ndistortion:\n0 0 0 0 0\n"),
        ("rot_trans_c0.dat", "R:\n1 0 0\n0 1 0\n0 0 1\nT:\n1\n2\n"),
        ("rot_trans_c0.dat", "R:\n1 0 0\n0 1\n0 0 1\nT:\n1\n2\n3\n"),
        ("rot_trans_c0.dat", "R:\n2 0 0\n0 1 0\n0 0 1\nT:\n1\n2\n3\n"),
    ],
)
def test_broken_bodypose3d_folder_names_the_file(tmp_path: Path, name: str, text: str | None) -> None:
    write_bodypose3d(tmp_path)
    if text is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(RigFileError, match=name.replace(".", r"\.")):
        import_rig([tmp_path], metres_per_unit=1e-3, size_px=SIZE_PX)


# --- what every importer shares


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_impossible_unit_is_refused(tmp_path: Path, scale: float) -> None:
    with pytest.raises(UserError):
        import_rig([write(tmp_path, "aniposelib")], "c0", "c1", scale)


def test_size_given_by_hand_goes_before_the_file(tmp_path: Path) -> None:
    for kind in KINDS:
        rig = import_rig([write(tmp_path, kind)], "c0", "c1", unit(kind), size_px=(1000, 700))
        assert (rig.left.size_px, rig.right.size_px) == ((1000, 700), (1000, 700))
