"""Rigs from the calibration files of other programs.

Each reader returns the cameras of one file as `ImportedCamera`s or, where the file describes a pair, as two of them
with the left one in the origin. Lengths stay in the file's unit until `import_rig` knows what that is.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .errors import UserError
from .rig import Camera, RigError, RigidTransform, StereoRig
from .rig_file import RigFileError, TableReader
from .toml_file import read_toml

METRES_PER_UNIT = {"m": 1.0, "cm": 0.01, "mm": 0.001}


@dataclass(frozen=True, slots=True)
class ImportedCamera:
    """One camera of a foreign file.

    camera_from_world: its pose with the translation still in the file's unit; metres_per_unit: None when the format
    does not fix the unit.
    """

    name: str
    camera: Camera
    camera_from_world: RigidTransform
    metres_per_unit: float | None


def _qualisys(path: Path, size_px: tuple[int, int] | None) -> list[ImportedCamera]:
    """Qualisys Track Manager `.qca.txt` (XML): millimetres, intrinsics in 1/64 pixel, camera axes x right, y up."""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise RigFileError(f"{path}: expected Qualisys XML, found something else: {error}") from None

    def number(element: ElementTree.Element, key: str) -> float:
        text = element.get(key)
        try:
            value = float(text or "nan")
        except ValueError:
            value = float("nan")
        if not np.isfinite(value):
            raise RigFileError(f"{path}: {element.tag}.{key}: expected a number, found {text!r}")
        return value

    def child(element: ElementTree.Element, key: str) -> ElementTree.Element:
        found = element.find(key)
        if found is None:
            raise RigFileError(f"{path}: camera {element.get('serial')}: expected an element <{key}>, found none")
        return found

    cameras = []
    for element in root.iter("camera"):
        intrinsic, transform, view = (child(element, key) for key in ("intrinsic", "transform", "fov_video"))
        listed = np.array([[number(transform, f"r{row}{column}") for column in (1, 2, 3)] for row in (1, 2, 3)])
        rotation = np.diag([1.0, -1.0, -1.0]) @ listed
        centre = np.array([number(transform, key) for key in ("x", "y", "z")])
        fx, fy, cx, cy = (
            number(intrinsic, key) / 64 for key in ("focalLengthU", "focalLengthV", "centerPointU", "centerPointV")
        )
        terms = ("radialDistortion1", "radialDistortion2", "tangentalDistortion1", "tangentalDistortion2")
        distortion = [number(intrinsic, key) for key in (*terms, "radialDistortion3")]
        name = element.get("serial") or str(len(cameras))
        size = size_px or (
            round(number(view, "right") - number(view, "left")) + 1,
            round(number(view, "bottom") - number(view, "top")) + 1,
        )
        with _named(path, name):
            camera = Camera(size, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), np.array(distortion))
            pose = RigidTransform(rotation, -rotation @ centre)
        cameras.append(ImportedCamera(name, camera, pose, 1e-3))
    return cameras


@contextmanager
def _named(path: Path, camera: str) -> Iterator[None]:
    """Put file and camera in front of what the block complains of."""
    try:
        yield
    except RigFileError:
        raise
    except RigError as error:
        raise RigFileError(f"{path}: camera {camera}: {error}") from None


def _rotation_matrix(values: np.ndarray) -> np.ndarray:
    """(3,) Rodrigues vector or (3, 3) matrix. Raises RigError for anything else."""
    if values.size not in (3, 9):
        raise RigError(f"rotation: expected 3 numbers (Rodrigues) or 3 x 3, found {values.size}")
    return cv2.Rodrigues(values.reshape(3))[0] if values.size == 3 else values.reshape(3, 3)


def _camera_tables(path: Path, size_px: tuple[int, int] | None) -> list[ImportedCamera]:
    """TOML of aniposelib, Caliscope, FreeMoCap and Pose2Sim: one table per camera, at the top or under `cameras`."""
    found = read_toml(path, RigFileError, "a calibration as TOML")
    groups = [group for group in found.values() if isinstance(group, dict)]
    nested = {key: camera for group in groups for key, camera in group.items()}
    cameras = []
    for key, value in (found | nested).items():
        if not (isinstance(value, dict) and "matrix" in value and "translation" in value):
            continue
        table = TableReader(path, value, key)
        nine = isinstance(rows := table.value("rotation"), list) and len(rows) == 3 and isinstance(rows[0], list)
        rotation = table.array("rotation", (3, 3) if nine else (3,))
        with _named(path, key):
            camera = Camera(
                size_px or table.size_px("size"),
                table.array("matrix", (3, 3)),
                table.array("distortions", (None,)),
                "fisheye" if table.value("fisheye", False) else "pinhole",
            )
            pose = RigidTransform(_rotation_matrix(rotation), table.array("translation", (3,)))
        cameras.append(ImportedCamera(str(table.value("name", key)), camera, pose, None))
    return cameras


def _cameras_json(path: Path, size_px: tuple[int, int] | None) -> list[ImportedCamera]:
    """`cameras.json` of the sample data: size, K, dist, R, T_mm per camera, world to camera."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RigFileError(f"{path}: not valid JSON: {error}") from None
    cameras = []
    tables = TableReader(path, content).table("cameras")
    for name in content["cameras"]:
        table = tables.table(name)
        with _named(path, name):
            camera = Camera(size_px or table.size_px("size"), table.array("K", (3, 3)), table.array("dist", (None,)))
            pose = RigidTransform(table.array("R", (3, 3)), table.array("T_mm", (3,)))
        cameras.append(ImportedCamera(name, camera, pose, 1e-3))
    return cameras


# What programs call the entries of an OpenCV stereo calibration file.
_OPENCV_NAMES = {
    "matrix_left": ("M1", "K1", "cameraMatrix1", "camera_matrix_1", "left_camera_matrix", "Kl", "KL"),
    "matrix_right": ("M2", "K2", "cameraMatrix2", "camera_matrix_2", "right_camera_matrix", "Kr", "KR"),
    "distortion_left": ("D1", "distCoeffs1", "DistCoeffs1", "dist_coeffs_1", "left_distortion", "Dl", "DL"),
    "distortion_right": ("D2", "distCoeffs2", "DistCoeffs2", "dist_coeffs_2", "right_distortion", "Dr", "DR"),
    "rotation": ("R", "rotation", "stereo_R"),
    "translation": ("T", "translation", "stereo_T"),
}  # fmt: skip


def _opencv_size(storage: cv2.FileStorage) -> tuple[int, int] | None:
    for width, height in (("image_width", "image_height"), ("width", "height"), ("imageWidth", "imageHeight")):
        if not (storage.getNode(width).empty() or storage.getNode(height).empty()):
            return int(storage.getNode(width).real()), int(storage.getNode(height).real())
    for name in ("size", "imageSize", "image_size"):
        node = storage.getNode(name)
        if not node.empty() and node.isSeq() and node.size() == 2:
            return int(node.at(0).real()), int(node.at(1).real())
    return None


def _opencv_matrix(path: Path, name: str, node: cv2.FileNode) -> np.ndarray:
    try:
        matrix = node.mat()
    except cv2.error:
        matrix = None
    if matrix is None or not matrix.size:
        raise RigFileError(
            f"{path}: {name}: expected an OpenCV matrix with rows, cols, dt and data, found something else"
        )
    return matrix


def _opencv(paths: Sequence[Path], size_px: tuple[int, int] | None) -> list[ImportedCamera]:
    """OpenCV FileStorage YAML or XML of a stereo pair, in one file or as intrinsics and extrinsics apart."""
    values: dict[str, np.ndarray] = {}
    for path in paths:
        try:
            storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
        except (cv2.error, SystemError):
            raise RigFileError(f"{path}: expected OpenCV YAML or XML, found something else") from None
        if not storage.isOpened():
            raise RigFileError(f"{path}: cannot be read as OpenCV YAML or XML")
        for meaning, names in _OPENCV_NAMES.items():
            for name in names:
                node = storage.getNode(name)
                if not node.empty():
                    values.setdefault(meaning, _opencv_matrix(path, name, node))
        size_px = size_px or _opencv_size(storage)
        storage.release()
    files = " + ".join(str(path) for path in paths)
    for meaning, names in _OPENCV_NAMES.items():
        if meaning not in values:
            raise RigFileError(
                f"{files}: {meaning.replace('_', ' ')}: expected an entry named {', '.join(names[:4])}, found none; "
                "intrinsics and extrinsics in two files are both to be named"
            )
    if size_px is None:
        raise UserError(f"{files}: the file does not say the picture size; add --size WIDTHxHEIGHT")
    with _named(paths[0], "left"):
        left = Camera(size_px, values["matrix_left"], values["distortion_left"])
    with _named(paths[0], "right"):
        right = Camera(size_px, values["matrix_right"], values["distortion_right"])
    try:
        pose = RigidTransform(_rotation_matrix(values["rotation"]), values["translation"].reshape(-1))
    except RigError as error:
        raise RigFileError(f"{files}: R, T: {error}") from None
    origin = RigidTransform(np.eye(3), np.zeros(3))
    return [ImportedCamera("left", left, origin, None), ImportedCamera("right", right, pose, None)]


def _numbers_after(path: Path, heading: str, rows: int, columns: int | None) -> np.ndarray:
    """The block of numbers under a heading, (rows, columns); columns None: any number of them."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    try:
        start = next(i for i, line in enumerate(lines) if line.strip().lower().rstrip(":") == heading) + 1
        numbers = np.array([[float(word) for word in line.split()] for line in lines[start : start + rows]])
    except (StopIteration, ValueError):
        numbers = np.empty((0, 0))
    if len(numbers) != rows or not numbers.size or (columns is not None and numbers.shape[1] != columns):
        raise RigFileError(f'{path}: expected a line "{heading}:" and {rows} lines of {columns or "some"} numbers')
    return numbers


def _bodypose3d(folder: Path, size_px: tuple[int, int] | None) -> list[ImportedCamera]:
    """A `camera_parameters` folder of bodypose3d: c0.dat, c1.dat, rot_trans_c0.dat, rot_trans_c1.dat, plain text."""
    if size_px is None:
        raise UserError(f"{folder}: these files do not say the picture size; add --size WIDTHxHEIGHT")
    cameras = []
    for number in (0, 1):
        intrinsic, pose = folder / f"c{number}.dat", folder / f"rot_trans_c{number}.dat"
        for path in (intrinsic, pose):
            if not path.is_file():
                raise RigFileError(
                    f"{path}: no such file; expected c0.dat, c1.dat and rot_trans_c0/1.dat in the folder"
                )
        with _named(intrinsic, f"c{number}"):
            matrix = _numbers_after(intrinsic, "intrinsic", 3, 3)
            camera = Camera(size_px, matrix, _numbers_after(intrinsic, "distortion", 1, None))
        with _named(pose, f"c{number}"):
            transform = RigidTransform(_numbers_after(pose, "r", 3, 3), _numbers_after(pose, "t", 3, 1).reshape(-1))
        cameras.append(ImportedCamera(f"c{number}", camera, transform, None))
    return cameras


def _read_cameras(paths: Sequence[Path], size_px: tuple[int, int] | None) -> list[ImportedCamera]:
    path = paths[0]
    for each in paths:
        if not each.exists():
            raise RigFileError(f"{each}: no such file")
    if path.is_dir():
        return _bodypose3d(path, size_px)
    name = path.name.lower()
    readers: dict[str, Callable[[Path, tuple[int, int] | None], list[ImportedCamera]]] = {
        ".qca.txt": _qualisys,
        ".qca.xml": _qualisys,
        ".toml": _camera_tables,
        ".json": _cameras_json,
    }
    for ending, reader in readers.items():
        if name.endswith(ending):
            return reader(path, size_px)
    if name.endswith((".yml", ".yaml", ".xml")):
        return _opencv(paths, size_px)
    raise RigFileError(
        f"{path}: not a calibration that can be read; expected OpenCV .yml .yaml .xml, Qualisys .qca.txt, "
        "aniposelib or Caliscope .toml, cameras.json, or a bodypose3d folder"
    )


def _pick(cameras: list[ImportedCamera], name: str | None, other: int, source: Path) -> ImportedCamera:
    names = [camera.name for camera in cameras]
    if name is None:
        if len(cameras) > 2:
            raise UserError(
                f"{source}: has {len(cameras)} cameras ({', '.join(names)}); choose two: --left NAME --right NAME"
            )
        return cameras[other]
    if name not in names:
        raise UserError(f"{source}: has no camera named {name}, only {', '.join(names)}")
    return cameras[names.index(name)]


def import_rig(
    paths: Sequence[Path],
    left: str | None = None,
    right: str | None = None,
    metres_per_unit: float | None = None,
    size_px: tuple[int, int] | None = None,
) -> StereoRig:
    """A rig from another program's calibration.

    paths: one file (or folder), or an OpenCV intrinsics and extrinsics file together; left, right: camera names, when
    the file has more than two; metres_per_unit: length of the file's unit, needed where its format leaves that open;
    size_px: (width, height) where the file does not say.

    Raises UserError or RigFileError naming what is missing or wrong.
    """
    source = paths[0]
    try:
        cameras = _read_cameras(paths, size_px)
    except RigFileError:
        raise
    except RigError as error:
        raise RigFileError(f"{source}: {error}") from None
    if len(cameras) < 2:
        raise RigFileError(f"{source}: expected at least two cameras, found {len(cameras)}")
    first, second = _pick(cameras, left, 0, source), _pick(cameras, right, 1, source)
    if first is second:
        raise UserError(f"{source}: left and right are the same camera, {first.name}")
    if metres_per_unit is not None and not 0 < metres_per_unit < float("inf"):
        raise UserError(f"{source}: unit of length: expected a positive number of metres, found {metres_per_unit}")
    fixed = first.metres_per_unit
    if fixed is not None and metres_per_unit not in (None, fixed):
        raise UserError(f"{source}: this format counts in units of {fixed} m; leave --unit out")
    scale = metres_per_unit or fixed
    if scale is None:
        length = np.linalg.norm((second.camera_from_world @ first.camera_from_world.inverse()).translation_m)
        raise UserError(
            f"{source}: the file does not say its unit of length. The cameras stand {length:.4g} units apart: "
            "add --unit m, cm, mm, or the unit's length in metres (squares of a board: the square's side)"
        )

    def metric(pose: RigidTransform) -> RigidTransform:
        return RigidTransform(pose.rotation, pose.translation_m * scale)

    left_from_world, right_from_world = metric(first.camera_from_world), metric(second.camera_from_world)
    is_origin = np.allclose(left_from_world.rotation, np.eye(3)) and not left_from_world.translation_m.any()
    try:
        return StereoRig(
            left=first.camera,
            right=second.camera,
            right_from_left=right_from_world @ left_from_world.inverse(),
            world_from_left=None if is_origin else left_from_world.inverse(),
            provenance={"imported_from": source.name, "left_camera": first.name, "right_camera": second.name},
        )
    except RigError as error:
        raise RigFileError(f"{source}: {error}") from None
