"""Weights of the 2D detectors: what there is, where it lies, and how to get it.

Nothing is downloaded unless `fetch` is called. Files lie in a folder of their own per entry; a file whose checksum
does not fit is never used.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from ..calibration.errors import UserError
from .skeleton import BLAZEPOSE33, COCO17, HALPE26, Skeleton

log = logging.getLogger(__name__)

ProgressReport = Callable[[int, int | None], None]  # bytes so far, bytes in all if known

BLOCK_BYTES = 1 << 20
CONNECT_TIMEOUT_S = 30.0
PIP_TIMEOUT_S = 900.0
CHECKSUM_SUFFIX = ".sha256"
# An ONNX file starts with its version field. Where no checksum is known this keeps an error page of a server out.
ONNX_FIRST_BYTE = b"\x08"


class WeightsError(UserError):
    """Weights that are unknown, missing, damaged or cannot be fetched."""


@dataclass(frozen=True)
class WeightsFile:
    """One file of an entry. member: its path, or the end of its path, inside the archive it comes in.

    sha256: None when its publisher gives none and none could be verified; then the sum found at the first fetch is
    recorded beside the file and guards it from then on.
    """

    name: str
    member: str
    sha256: str | None


@dataclass(frozen=True)
class WheelSource:
    """A wheel of the Python package index, fetched by the user's own pip whatever their platform."""

    requirement: str
    pip_options: tuple[str, ...]


@dataclass(frozen=True)
class UrlSource:
    """Addresses of the same file, tried in this order; each is an archive with the members, or the bare file."""

    urls: tuple[str, ...]


@dataclass(frozen=True)
class WeightsEntry:
    """One detector's weights."""

    name: str
    summary: str
    skeleton: Skeleton
    licence: str
    files: tuple[WeightsFile, ...]
    source: WheelSource | UrlSource
    licence_member: str | None = None


OPENMMLAB_URL = "https://download.openmmlab.com/mmpose/v1/projects/rtmposev1/onnx_sdk/"


def _rtmpose(
    size: str, skeleton: Skeleton, stem: str, sha256: str | None, mirrors: tuple[str, ...] = ()
) -> WeightsEntry:
    suffix = "" if skeleton is COCO17 else f"-{skeleton.name}"
    return WeightsEntry(
        name=f"rtmpose-{size}{suffix}",
        summary=f"RTMPose-{size}, trained on seven data sets (OpenMMLab)",
        skeleton=skeleton,
        licence="Apache-2.0",
        files=(WeightsFile("end2end.onnx", "end2end.onnx", sha256),),
        source=UrlSource((f"{OPENMMLAB_URL}{stem}.zip", *mirrors)),
    )


# Checksums of the RTMPose networks are of `end2end.onnx` in OpenMMLab's archives. OpenMMLab publishes none; those here
# are the ones that independent projects pin for these archives. A mirror only counts where the checksum fits.
_ENTRIES = (
    WeightsEntry(
        name="blazepose",
        summary="MediaPipe BlazePose, full (Google); person detector and landmarks",
        skeleton=BLAZEPOSE33,
        licence="Apache-2.0",
        files=(
            WeightsFile(
                "pose_detection.tflite",
                "mediapipe/modules/pose_detection/pose_detection.tflite",
                "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
            ),
            WeightsFile(
                "pose_landmark_full.tflite",
                "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
                "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
            ),
        ),
        source=WheelSource(
            "mediapipe==0.10.21",
            (
                *("--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp"),
                *("--abi", "cp311", "--platform", "manylinux_2_28_x86_64"),
            ),
        ),
        licence_member="mediapipe-0.10.21.dist-info/LICENSE",
    ),
    _rtmpose("t", COCO17, "rtmpose-t_simcc-body7_pt-body7_420e-256x192-026a1439_20230504", None),
    _rtmpose(
        "s",
        COCO17,
        "rtmpose-s_simcc-body7_pt-body7_420e-256x192-acd4a1ef_20230504",
        "9aeb635b83f86aea45cf45d85798f7eba1a162de8e0d721c44e54fe5eebaf47d",
    ),
    _rtmpose(
        "m",
        COCO17,
        "rtmpose-m_simcc-body7_pt-body7_420e-256x192-e48f03d0_20230504",
        "5c0a4bf67953e6d2ac43ce15e77dc9d5d354ae18430a47d2c5963a7bc5683e3c",
    ),
    _rtmpose(
        "t",
        HALPE26,
        "rtmpose-t_simcc-body7_pt-body7-halpe26_700e-256x192-6020f8a6_20230605",
        None,
        (
            "https://huggingface.co/datasets/DavidPagnon/rtmlib_models/resolve/main/mmpose/rtmposev1/onnx_sdk/"
            "rtmpose-t_simcc-body7_pt-body7-halpe26_700e-256x192-6020f8a6_20230605.onnx",
        ),
    ),
    _rtmpose("s", HALPE26, "rtmpose-s_simcc-body7_pt-body7-halpe26_700e-256x192-7f134165_20230605", None),
    _rtmpose(
        "m",
        HALPE26,
        "rtmpose-m_simcc-body7_pt-body7-halpe26_700e-256x192-4d3e73dd_20230605",
        "26f3a19e61304a600dfb82d1001d41d24343b89fc70a33ffc84657e0b0bf2ecf",
    ),
)
REGISTRY: Mapping[str, WeightsEntry] = {entry.name: entry for entry in _ENTRIES}


def entry_named(name: str) -> WeightsEntry:
    """The entry of a name; raises WeightsError that lists the names there are."""
    if name not in REGISTRY:
        raise WeightsError(f'no weights are called "{name}"; there are: {", ".join(REGISTRY)}')
    return REGISTRY[name]


def default_cache_dir(environment: Mapping[str, str], platform: str, home: Path) -> Path:
    """Where this platform keeps what a program can get again. environment: os.environ; platform: sys.platform."""
    if named := environment.get("XDG_CACHE_HOME"):
        return Path(named) / "binopose"
    if platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local") / "binopose" / "cache"
    return home / ("Library/Caches" if platform == "darwin" else ".cache") / "binopose"


FileState = Literal["present", "missing", "damaged"]


@dataclass(frozen=True)
class WeightsStatus:
    """Whether an entry's files can be used. folder: where they lie or would lie; problem: why not, empty if fine."""

    state: FileState
    folder: Path
    problem: str = ""


def sha256_of(path: Path) -> str:
    """Checksum of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def status(entry: WeightsEntry, cache_dir: Path) -> WeightsStatus:
    """Look at an entry's files in the cache; checksums are computed."""
    folder = cache_dir / entry.name
    missing = [file.name for file in entry.files if not (folder / file.name).is_file()]
    if missing:
        return WeightsStatus("missing", folder, f"{', '.join(missing)} not in {folder}")
    for file in entry.files:
        expected, found = _expected_sha256(file, folder), sha256_of(folder / file.name)
        if expected is not None and found != expected:
            return WeightsStatus("damaged", folder, f"{folder / file.name}: expected sha256 {expected}, found {found}")
    return WeightsStatus("present", folder)


def locate(entry: WeightsEntry, cache_dir: Path) -> Path | None:
    """The folder with an entry's files, or None when they are not in the cache or damaged (the log says which)."""
    found = status(entry, cache_dir)
    if found.state == "damaged":
        log.warning("damaged weights are not used: %s", found.problem)
    return found.folder if found.state == "present" else None


def fetch(
    entry: WeightsEntry,
    cache_dir: Path,
    from_path: Path | None = None,
    report: ProgressReport | None = None,
    pip: Sequence[str] = (sys.executable, "-m", "pip"),
) -> Path:
    """Put an entry's files into the cache and return their folder.

    from_path: a file (wheel, SDK zip, network) or folder the user has; else the entry's source is asked. What is in the
    cache already is kept when it is sound and no `from_path` is given.
    Raises WeightsError that names every source tried and what came of it.
    """
    folder = cache_dir / entry.name
    if from_path is None and (sound := locate(entry, cache_dir)) is not None:
        return sound
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"{folder}: the cache cannot be written ({error.strerror}); set XDG_CACHE_HOME") from None
    with tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as name:
        workspace = Path(name)
        if from_path is not None:
            _install(entry, _opened(entry, from_path), folder, workspace)
        elif isinstance(entry.source, WheelSource):
            _install(entry, _pip_download(entry, entry.source, workspace, pip), folder, workspace)
        else:
            _fetch_urls(entry, entry.source, folder, workspace, report)
    return folder


def _expected_sha256(file: WeightsFile, folder: Path) -> str | None:
    record = folder / (file.name + CHECKSUM_SUFFIX)
    if file.sha256 is None and record.is_file():
        return record.read_text().strip()
    return file.sha256


def _opened(entry: WeightsEntry, path: Path) -> Path:
    if not path.exists():
        raise WeightsError(f"{path}: no such file; {_wanted(entry)}")
    return path


def _wanted(entry: WeightsEntry) -> str:
    files = ", ".join(file.name for file in entry.files)
    kind = "the mediapipe wheel" if isinstance(entry.source, WheelSource) else "an SDK zip or the network itself"
    return f"{entry.name} is made from {kind}, or a folder with {files}"


def _install(entry: WeightsEntry, source: Path, folder: Path, workspace: Path) -> None:
    """Take the entry's files out of a folder, an archive or a bare file; check all, then move all into place."""
    staged = [(file, _take(entry, file, source, workspace)) for file in entry.files]
    for file, path in staged:
        _check(file, path, source)
    if entry.licence_member is not None and zipfile.is_zipfile(source):
        os.replace(_extract(source, entry.licence_member, workspace / "LICENSE"), folder / "LICENSE")
    for file, path in staged:
        if file.sha256 is None:
            _replace_text(folder / (file.name + CHECKSUM_SUFFIX), sha256_of(path))
        os.replace(path, folder / file.name)


def _check(file: WeightsFile, path: Path, source: Path) -> None:
    found = sha256_of(path)
    if file.sha256 is not None and found != file.sha256:
        raise WeightsError(
            f"{source}: {file.name} in it has sha256 {found}, expected {file.sha256}; "
            "it is damaged or another version and was not installed"
        )
    if file.sha256 is None and file.name.endswith(".onnx"):
        with path.open("rb") as content:
            first = content.read(1)
        if first != ONNX_FIRST_BYTE:
            raise WeightsError(f"{source}: {file.name} is not an ONNX network (it starts with {first!r})")


def _take(entry: WeightsEntry, file: WeightsFile, source: Path, workspace: Path) -> Path:
    target = workspace / file.name
    if source.is_dir():
        if not (source / file.name).is_file():
            raise WeightsError(f"{source}: no {file.name} in this folder; {_wanted(entry)}")
        return Path(shutil.copyfile(source / file.name, target))
    if zipfile.is_zipfile(source):
        return _extract(source, file.member, target)
    if len(entry.files) > 1 or source.suffix.lower() in (".zip", ".whl"):
        raise WeightsError(f"{source}: not a readable archive; {_wanted(entry)}")
    return Path(shutil.copyfile(source, target))


def _extract(archive_path: Path, member: str, target: Path) -> Path:
    """One member of a zip archive, found by its path or by its last part, as archives differ in their folders."""
    try:
        with zipfile.ZipFile(archive_path) as archive:
            names = archive.namelist()
            wanted = PurePosixPath(member)
            found = member if member in names else next((n for n in names if PurePosixPath(n).match(str(wanted))), None)
            if found is None:
                raise WeightsError(f"{archive_path}: no {member} in this archive of {len(names)} files")
            with archive.open(found) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file, BLOCK_BYTES)
    except (zipfile.BadZipFile, EOFError) as error:
        raise WeightsError(f"{archive_path}: damaged archive ({error}); get it again") from error
    return target


def _replace_text(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text + "\n")
    os.replace(part, path)


def _pip_download(entry: WeightsEntry, source: WheelSource, workspace: Path, pip: Sequence[str]) -> Path:
    command = [*pip, "download", "--disable-pip-version-check", "--no-input", *source.pip_options, source.requirement]
    by_hand = " ".join(["pip download", *source.pip_options, source.requirement])
    advice = (
        f"On a machine with internet access run: {by_hand}\n"
        f"and then here: binopose models fetch {entry.name} --from WHEEL_FILE"
    )
    try:
        done = subprocess.run(
            [*command, "-d", str(workspace)], capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WeightsError(f"{entry.name}: pip could not be run ({error}). {advice}") from error
    wheels = sorted(workspace.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR") or "No module named" in line] or lines[-1:]
        why = " ".join(errors) or "it gave no wheel"
        raise WeightsError(f"{entry.name}: pip could not download {source.requirement}: {why}\n{advice}")
    return wheels[0]


def _fetch_urls(
    entry: WeightsEntry, source: UrlSource, folder: Path, workspace: Path, report: ProgressReport | None
) -> None:
    failures = []
    for url in source.urls:
        part = workspace / (PurePosixPath(url).name + ".part")
        try:
            _download(url, part, report)
            _install(entry, part, folder, workspace)
            return
        except (WeightsError, OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
            log.info("%s: %s", url, error)
            failures.append(f"  {url}: {error}")
    raise WeightsError(
        f"{entry.name}: no source delivered it:\n"
        + "\n".join(failures)
        + f"\nGet one of these files in a browser, then run: binopose models fetch {entry.name} --from FILE"
    )


def _download(url: str, part: Path, report: ProgressReport | None) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "binopose"})
    with urllib.request.urlopen(request, timeout=CONNECT_TIMEOUT_S) as response, part.open("wb") as file:
        length = response.headers.get("Content-Length")
        total = int(length) if length is not None and length.isdigit() else None
        done = 0
        while block := response.read(BLOCK_BYTES):
            file.write(block)
            done += len(block)
            if report is not None:
                report(done, total)
    if total is not None and done != total:
        raise WeightsError(f"the download broke off after {done} of {total} bytes")
