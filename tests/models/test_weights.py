"""Weights: found, fetched from a server that fails in many ways, refused when damaged. Nothing leaves this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import sys
import threading
import urllib.parse
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from binopose.models.skeleton import COCO17
from binopose.models.weights import (
    REGISTRY,
    UrlSource,
    WeightsEntry,
    WeightsError,
    WeightsFile,
    WheelSource,
    default_cache_dir,
    entry_named,
    fetch,
    locate,
    status,
)

NETWORK = b"\x08\x07" + bytes(range(256)) * 500
OTHER = b"\x08\x07 another network"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def network_entry(*urls: str, checksum: str | None = sha256(NETWORK)) -> WeightsEntry:
    return WeightsEntry(
        name="some-net",
        summary="",
        skeleton=COCO17,
        licence="Apache-2.0",
        files=(WeightsFile("end2end.onnx", "end2end.onnx", checksum),),
        source=UrlSource(urls),
    )


def sdk_zip(path: Path, network: bytes = NETWORK) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("20230831/some_net/end2end.onnx", network)
        archive.writestr("20230831/some_net/detail.json", "{}")
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server on this machine; answers by path."""
    good_zip = sdk_zip(tmp_path / "served.zip").read_bytes()
    answers = {
        "/good.zip": good_zip,
        "/torn.zip": good_zip[: len(good_zip) // 2],
        "/other.zip": sdk_zip(tmp_path / "other.zip", OTHER).read_bytes(),
        "/bare.onnx": NETWORK,
        "/login.onnx": b"<html>please log in</html>",
        "/cut.onnx": NETWORK,
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urllib.parse.urlparse(self.path).path
            if path not in answers:
                self.send_error(404)
                return
            content = answers[path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if path == "/cut.onnx" else content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def installed(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_archive_is_fetched_with_progress(server: str, tmp_path: Path) -> None:
    reports: list[tuple[int, int | None]] = []
    entry = network_entry(f"{server}/good.zip")
    assert locate(entry, tmp_path) is None
    folder = fetch(entry, tmp_path, report=lambda done, total: reports.append((done, total)))
    assert (folder / "end2end.onnx").read_bytes() == NETWORK
    assert installed(folder) == {"end2end.onnx"}
    assert locate(entry, tmp_path) == folder == tmp_path / "some-net"
    size = (tmp_path / "served.zip").stat().st_size
    assert reports[-1] == (size, size)


def test_mirrors_are_tried_in_turn(server: str, tmp_path: Path) -> None:
    urls = [f"{server}/{name}" for name in ("missing.zip", "torn.zip", "other.zip", "cut.onnx", "bare.onnx")]
    folder = fetch(network_entry(*urls), tmp_path)
    assert (folder / "end2end.onnx").read_bytes() == NETWORK


def test_every_failure_is_listed_and_nothing_is_left_behind(server: str, tmp_path: Path) -> None:
    entry = network_entry(*(f"{server}/{name}" for name in ("missing.zip", "torn.zip", "other.zip", "cut.onnx")))
    with pytest.raises(WeightsError) as caught:
        fetch(entry, tmp_path)
    lines = str(caught.value).splitlines()
    assert "404" in lines[1]
    assert "torn.zip" in lines[2]
    assert sha256(OTHER) in lines[3]
    assert f"broke off after {len(NETWORK) // 2} of {len(NETWORK)} bytes" in lines[4]
    assert lines[-1].endswith("binopose models fetch some-net --from FILE")
    assert installed(tmp_path / "some-net") == set()


def test_damaged_file_is_named_not_used_and_fetched_again(
    server: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    entry = network_entry(f"{server}/good.zip")
    file = fetch(entry, tmp_path) / "end2end.onnx"
    file.write_bytes(NETWORK[:-1])
    assert status(entry, tmp_path).state == "damaged"
    assert str(file) in status(entry, tmp_path).problem
    assert locate(entry, tmp_path) is None
    assert str(file) in caplog.text
    fetch(entry, tmp_path)
    assert file.read_bytes() == NETWORK


def test_sound_file_is_not_fetched_again(server: str, tmp_path: Path) -> None:
    fetch(network_entry(f"{server}/good.zip"), tmp_path)
    fetch(network_entry(f"{server}/missing.zip"), tmp_path)


def test_unknown_checksum_is_recorded_and_guards_from_then_on(server: str, tmp_path: Path) -> None:
    entry = network_entry(f"{server}/login.onnx", f"{server}/bare.onnx", checksum=None)
    folder = fetch(entry, tmp_path)  # the first answer is a web page, not a network
    assert (folder / "end2end.onnx").read_bytes() == NETWORK
    assert (folder / "end2end.onnx.sha256").read_text().strip() == sha256(NETWORK)
    assert status(entry, tmp_path).state == "present"
    (folder / "end2end.onnx").write_bytes(OTHER)
    assert status(entry, tmp_path).state == "damaged"


@pytest.mark.parametrize("form", ["zip", "onnx", "folder"])
def test_own_file_is_taken(form: str, tmp_path: Path) -> None:
    own = tmp_path / "mine"
    own.mkdir()
    (own / "end2end.onnx").write_bytes(NETWORK)
    source = {"zip": sdk_zip(tmp_path / "sdk.zip"), "onnx": own / "end2end.onnx", "folder": own}[form]
    folder = fetch(network_entry(), tmp_path / "cache", from_path=source)
    assert (folder / "end2end.onnx").read_bytes() == NETWORK


def test_own_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for source, message in [
        (tmp_path / "none.zip", "no such file"),
        (sdk_zip(tmp_path / "other.zip", OTHER), f"has sha256 {sha256(OTHER)}, expected {sha256(NETWORK)}"),
        (tmp_path, r"no end2end.onnx in this folder"),
    ]:
        with pytest.raises(WeightsError, match=message):
            fetch(network_entry(), cache, from_path=source)
    (tmp_path / "broken.whl").write_bytes(b"not a wheel")
    with pytest.raises(
        WeightsError, match=r"broken\.whl: not a readable archive; blazepose is made from the mediapipe"
    ):
        fetch(REGISTRY["blazepose"], cache, from_path=tmp_path / "broken.whl")
    assert status(network_entry(), cache).state == "missing"


# A stand-in for pip: `pip download ... -d FOLDER` puts a wheel there, or fails as pip does without a network.
PIP = """
import pathlib, sys, zipfile
assert sys.argv[1] == "download" and sys.argv[-3].startswith("some_package=="), sys.argv
assert {"--no-deps", "--abi", "cp311"} <= set(sys.argv), sys.argv
if MODE == "offline":
    sys.exit("ERROR: Could not find a version that satisfies the requirement some_package==1.0")
with zipfile.ZipFile(pathlib.Path(sys.argv[-1]) / "some_package-1.0-cp311.whl", "w") as wheel:
    wheel.writestr("some_package/nets/person.tflite", b"person")
    wheel.writestr("some_package/nets/landmarks.tflite", b"landmarks" if MODE == "good" else b"tampered")
    wheel.writestr("some_package-1.0.dist-info/LICENSE", "Apache")
"""

WHEEL_ENTRY = dataclasses.replace(
    network_entry(),
    files=(
        WeightsFile("person.tflite", "some_package/nets/person.tflite", sha256(b"person")),
        WeightsFile("landmarks.tflite", "some_package/nets/landmarks.tflite", sha256(b"landmarks")),
    ),
    source=WheelSource("some_package==1.0", ("--no-deps", "--abi", "cp311")),
    licence_member="some_package-1.0.dist-info/LICENSE",
)


def pip(mode: str) -> tuple[str, ...]:
    return sys.executable, "-c", f"MODE = {mode!r}\n{PIP}"


def test_networks_and_licence_are_taken_out_of_a_wheel(tmp_path: Path) -> None:
    folder = fetch(WHEEL_ENTRY, tmp_path, pip=pip("good"))
    assert installed(folder) == {"person.tflite", "landmarks.tflite", "LICENSE"}
    assert (folder / "landmarks.tflite").read_bytes() == b"landmarks"


def test_tampered_wheel_installs_nothing(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"landmarks\.tflite in it has sha256"):
        fetch(WHEEL_ENTRY, tmp_path, pip=pip("tampered"))
    assert installed(tmp_path / "some-net") == set()


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (pip("offline"), "Could not find a version"),
        ((sys.executable, "-m", "no_such_pip"), "No module named no_such_pip"),
        (("no-such-program",), "pip could not be run"),
    ],
)
def test_without_pip_or_network_the_way_by_hand_is_told(command: tuple[str, ...], why: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=why) as caught:
        fetch(WHEEL_ENTRY, tmp_path, pip=command)
    assert "pip download --no-deps --abi cp311 some_package==1.0" in str(caught.value)
    assert "binopose models fetch some-net --from WHEEL_FILE" in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({"XDG_CACHE_HOME": "/x"}, "linux", "/x/binopose"),
        ({}, "linux", "/home/u/.cache/binopose"),
        ({}, "darwin", "/home/u/Library/Caches/binopose"),
        ({"LOCALAPPDATA": "/local"}, "win32", "/local/binopose/cache"),
    ],
)
def test_cache_is_where_the_platform_keeps_caches(environment: dict[str, str], platform: str, expected: str) -> None:
    assert default_cache_dir(environment, platform, Path("/home/u")) == Path(expected)


def test_registry_is_sound() -> None:
    for name, entry in REGISTRY.items():
        assert entry_named(name) is entry
        assert entry.name == name
        for file in entry.files:
            assert file.sha256 is None or (len(file.sha256) == 64 and int(file.sha256, 16))
        if isinstance(entry.source, UrlSource):
            assert all(url.startswith("https://") for url in entry.source.urls)
            assert f"rtmpose-{name.split('-')[1]}_" in entry.source.urls[0]
            assert ("halpe26" in entry.source.urls[0]) == (len(entry.skeleton) == 26)
    with pytest.raises(WeightsError, match=r'"rtmpose-x"; there are: blazepose, rtmpose-t'):
        entry_named("rtmpose-x")
