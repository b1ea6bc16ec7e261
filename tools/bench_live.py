"""Measure `binopose live` on two network cameras that this machine plays itself.

python -m binopose.tools.bench live LEFT RIGHT --rig rig.toml [--seconds S] [--headless] [--record DIR]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..app.commands import live
from ..app.console import print_line
from ..app.factory import DenoiserChoice
from ..app.live.session import LiveSession
from ..app.recording import StereoRecording
from ..calibration.errors import UserError
from ..calibration.rig import Camera, StereoRig
from ..calibration.rig_file import load_rig, save_rig
from .timing import Row

SIZE_PX = (1280, 720)
RATE_HZ = 30.0
JPEG_QUALITY = 85
MOST_PICTURES = 300
SAMPLE_S = 5.0
# Networks and caches have found their places by then.
SETTLED_S = 60.0
MEBIBYTE = 2**20
# What a program that is to run for hours may do once it has settled: its threads and files come and go a little.
MOST_GROWTH_MIB = 20.0
MOST_CHANGE = 3


@dataclass(frozen=True, slots=True)
class StreamSet:
    """What two cameras show: JPEG pictures of each, played to and fro so that nobody jumps; and their rig."""

    jpegs: tuple[list[bytes], list[bytes]]
    rig: StereoRig


def letterboxed(camera: Camera, size_px: tuple[int, int]) -> tuple[Camera, np.ndarray]:
    """The camera of pictures made to fit into a size with black beside them; (2, 3) where its pixels go."""
    scale = min(size_px[0] / camera.size_px[0], size_px[1] / camera.size_px[1])
    # Pixel centres are at integers, so the corner of a picture lies at -0.5.
    offset_px = [(size_px[axis] - scale * camera.size_px[axis]) / 2 + (scale - 1) / 2 for axis in (0, 1)]
    change = np.array([[scale, 0, offset_px[0]], [0, scale, offset_px[1]], [0, 0, 1.0]])
    return Camera(size_px, change @ camera.matrix, camera.distortion, camera.model), change[:2]


def make_streams(left: Path, right: Path, rig_path: Path, rate_hz: float = RATE_HZ) -> StreamSet:
    """Pictures of a recording as two cameras of SIZE_PX would send them."""
    with StereoRecording(left, right) as recording:
        rig, _ = load_rig(rig_path).adapted_to(recording.sizes_px)
        (left_camera, left_change), (right_camera, right_change) = (
            letterboxed(camera, SIZE_PX) for camera in (rig.left, rig.right)
        )
        every = max(round(recording.frames_per_second / rate_hz), 1)
        jpegs: tuple[list[bytes], list[bytes]] = ([], [])
        for pair in recording:
            if pair.index % every or pair.index >= MOST_PICTURES * every:
                continue
            for image, change, kept in zip((pair.left, pair.right), (left_change, right_change), jpegs, strict=True):
                picture = cv2.warpAffine(image, change, SIZE_PX, flags=cv2.INTER_AREA)
                kept.append(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())
    return StreamSet(jpegs, StereoRig(left_camera, right_camera, rig.right_from_left, rig.world_from_left))


class StreamPlayer:
    """Serves the pictures of one camera as MJPEG over HTTP on loopback, on a clock all players share."""

    def __init__(self, jpegs: list[bytes], rate_hz: float, delay_s: float = 0.0) -> None:
        """delay_s: how much later than on time every picture is sent."""
        self._jpegs, self._rate_hz, self._delay_s = jpegs, rate_hz, delay_s
        player = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    player._stream(self)
                except OSError:  # the reader left
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _stream(self, request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        request.end_headers()
        there_and_back = [*self._jpegs, *self._jpegs[-2:0:-1]]
        number = int((time.monotonic() - self._delay_s) * self._rate_hz)
        while True:
            number += 1
            time.sleep(max(number / self._rate_hz + self._delay_s - time.monotonic(), 0))
            jpeg = there_and_back[number % len(there_and_back)]
            head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            request.wfile.write(head.encode() + jpeg + b"\r\n")


def _serve(jpegs: tuple[list[bytes], list[bytes]], rate_hz: float, delay_s: float, answer: Connection) -> None:
    players = [StreamPlayer(jpegs[0], rate_hz), StreamPlayer(jpegs[1], rate_hz, delay_s)]
    answer.send([player.url for player in players])
    answer.recv()  # until the other end closes


class StreamProcess:
    """Both cameras in a process of their own, as real ones cost this program nothing but their pictures."""

    def __init__(self, streams: StreamSet, rate_hz: float = RATE_HZ, delay_s: float = 0.0) -> None:
        context = multiprocessing.get_context("spawn")
        self._line, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(streams.jpegs, rate_hz, delay_s, far_end), daemon=True)
        self._process.start()
        self.urls: list[str] = self._line.recv()

    def __enter__(self) -> StreamProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the running program. latency in milliseconds; descriptors: open files and sockets."""

    elapsed_s: float
    rate_hz: float
    latency_ms: float
    latency_p95_ms: float
    memory_mib: float
    threads: int
    descriptors: int


def _look(session: LiveSession, start_s: float) -> Sample:
    status = Path("/proc/self/status").read_text()
    resident_kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    threads = next(line.split()[1] for line in status.splitlines() if line.startswith("Threads"))
    return Sample(
        time.monotonic() - start_s,
        *session.figures.recent(),
        int(resident_kib) * 1024 / MEBIBYTE,
        int(threads),
        len(os.listdir("/proc/self/fd")),
    )


def add_part(parts: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe `bench live`."""
    parser = parts.add_parser("live", help="the live program on two network cameras played by this machine")
    parser.add_argument("left", type=Path, metavar="LEFT", help="video of the left camera")
    parser.add_argument("right", type=Path, metavar="RIGHT", help="video of the right camera")
    parser.add_argument("--rig", type=Path, required=True, metavar="rig.toml", help="rig of the recording")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="how long (default: %(default)g)")
    parser.add_argument("--rate", type=float, default=RATE_HZ, metavar="HZ", help="pictures per second of each camera")
    parser.add_argument("--delay-ms", type=float, default=0.0, metavar="MS", help="the right camera sends later")
    parser.add_argument("--headless", action="store_true", help="without window")
    parser.add_argument("--record", type=Path, metavar="DIR", help="record meanwhile")
    parser.add_argument("--detector", default="blazepose", metavar="NAME|FILE", help="(default: %(default)s)")
    parser.add_argument("--denoiser", default=DenoiserChoice.name, metavar="NAME", help="(default: %(default)s)")
    parser.set_defaults(measure=measure)


def measure(options: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    """Run the program and look at it now and then; the latency as a row, and facts for the file."""
    if not Path("/proc/self/fd").is_dir():
        raise UserError("live: memory, threads and descriptors are read from /proc, which is Linux' alone")
    print_line("preparing the streams ...")
    streams = make_streams(options.left, options.right, options.rig, options.rate)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        rig_path = Path(folder) / "rig.toml"
        save_rig(streams.rig, rig_path)
        urls = stack.enter_context(StreamProcess(streams, options.rate, options.delay_ms / 1e3)).urls
        arguments = ["live", *urls, "--rig", str(rig_path), "--duration", str(options.seconds)]
        arguments += ["--detector", options.detector, "--denoiser", options.denoiser]
        arguments += ["--headless"] * options.headless
        arguments += ["--record", str(options.record)] if options.record is not None else []
        session = live.open_session(_parsed(arguments), stack)
        if session is None:
            raise UserError("live: ended before it began")
        samples = _watched(session)
        overall = session.figures.overall_ms()
    where = "poses" if options.headless else "pictures in the window"
    what = f"live, {where}{', recording' if options.record else ''}, from capture"
    row = Row(what, options.detector, "cpu", median_ms=overall["median"], p95_ms=overall["p95"])
    return [row], _report(options.seconds, samples, session.figures.count)


def _parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    live.add_parser(parser.add_subparsers())
    return parser.parse_args(arguments)


def _watched(session: LiveSession) -> list[Sample]:
    """Run a session to its end, looking at it now and then."""
    samples: list[Sample] = []
    ended = threading.Event()
    start_s = time.monotonic()

    def watch() -> None:
        while not ended.wait(SAMPLE_S):
            samples.append(_look(session, start_s))

    watcher = threading.Thread(target=watch, name="bench")
    watcher.start()
    try:
        session.run()
    finally:
        ended.set()
        watcher.join()
    return samples


def leak(memory_mib: list[float], threads: list[int], descriptors: list[int]) -> str | None:
    """What grows that must not, or None. Values of one run since it settled; memory in order, the others in any."""
    if max(memory_mib) - memory_mib[0] > MOST_GROWTH_MIB:
        return f"memory grew by {max(memory_mib) - memory_mib[0]:.0f} MiB, at most {MOST_GROWTH_MIB:g} are expected"
    for name, counts in (("threads", threads), ("open files", descriptors)):
        if max(counts) - min(counts) > MOST_CHANGE:
            return f"{name} went from {min(counts)} to {max(counts)}, expected to stay within {MOST_CHANGE}"
    return None


def _report(elapsed_s: float, samples: list[Sample], count: int) -> dict[str, Any]:
    """Print the samples and sum them up."""
    print_line(f"  {'s':>6} {'per s':>6} {'median ms':>10} {'p95 ms':>7} {'MiB':>7} {'threads':>8} {'open files':>11}")
    for sample in samples:
        print_line(
            f"  {sample.elapsed_s:6.0f} {sample.rate_hz:6.1f} {sample.latency_ms:10.0f} {sample.latency_p95_ms:7.0f} "
            f"{sample.memory_mib:7.1f} {sample.threads:8d} {sample.descriptors:11d}"
        )
    settled = [sample for sample in samples if sample.elapsed_s >= min(SETTLED_S, elapsed_s / 2)]
    figures: dict[str, Any] = {"count": count, "duration_s": elapsed_s}
    if settled:
        memory = [sample.memory_mib for sample in settled]
        figures |= {
            "rate_hz": float(np.nanmedian([sample.rate_hz for sample in settled])),
            "rate_lowest_hz": float(np.nanmin([sample.rate_hz for sample in settled])),
            "memory_grows_mib": max(memory) - memory[0],
            "threads": sorted({sample.threads for sample in settled}),
            "descriptors": sorted({sample.descriptors for sample in settled}),
        }
        print_line(
            f"  after {settled[0].elapsed_s:.0f} s: {figures['rate_hz']:.1f} per second (lowest "
            f"{figures['rate_lowest_hz']:.1f}), memory {memory[0]:.0f} MiB + {figures['memory_grows_mib']:.1f}, "
            f"threads {figures['threads']}, open files {figures['descriptors']}"
        )
        figures["problem"] = leak(memory, figures["threads"], figures["descriptors"])
    return figures | {"samples": [[getattr(s, name) for name in Sample.__slots__] for s in samples]}
