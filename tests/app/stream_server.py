"""A real MJPEG-over-HTTP camera on loopback, with faults on demand.

Its pictures carry their number and the time they were made, as blocks that survive JPEG.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import cv2
import numpy as np

BITS = 32
ROW_PX = 16
BOUNDARY = "picture"


def make_picture(size_px: tuple[int, int], number: int, made_s: float) -> np.ndarray:
    """A BGR picture that carries its number and time (microseconds modulo 2^32) as rows of black and white blocks."""
    width = size_px[0]
    grey = _background(size_px, number % 2).copy()
    for row, value in enumerate((number, int(made_s * 1e6))):
        bits = value >> np.arange(BITS) & 1
        block = np.repeat(bits * 255, width // BITS).astype(np.uint8)
        grey[row * ROW_PX : (row + 1) * ROW_PX, : block.size] = block
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)


@lru_cache
def _background(size_px: tuple[int, int], odd: int) -> np.ndarray:
    columns, rows = np.meshgrid(np.arange(size_px[0]), np.arange(size_px[1]))
    return (64 + 96 * ((columns // 20 + rows // 20 + odd) % 2)).astype(np.uint8)


def read_picture(image: np.ndarray) -> tuple[int, float]:
    """The number of a picture and the time it was made, in seconds of time.monotonic() (of the last 71 minutes)."""
    block = image.shape[1] // BITS
    values = []
    for row in range(2):
        line = image[row * ROW_PX + ROW_PX // 2, block // 2 : BITS * block : block, 1]
        values.append(sum(1 << k for k, level in enumerate(line) if level > 128))
    now_us = int(time.monotonic() * 1e6)
    return values[0], (now_us - (now_us - values[1]) % 2**BITS) / 1e6


@dataclass
class Faults:
    """What goes wrong, changed while the server runs.

    stalled: the connection stays and nothing comes; trickling: single bytes come and never a picture; corrupt: pictures
    are noise; truncated: pictures lack their second half; backlog: so many pictures are sent in one burst; dropped:
    share of the pictures that are never sent.
    """

    stalled: bool = False
    trickling: bool = False
    corrupt: bool = False
    truncated: bool = False
    backlog: int = 1
    dropped: float = 0.0


class StreamServer:
    """Paths: /video the stream, /chunked the same in HTTP chunks, /bare the same without part lengths, /page a web
    page, /picture a single picture, /locked asks for a password, /moved leads to /video, all else is 404.

    views: how many times each picture is repeated side by side; phase_s: shift of the picture clock, so that two
    servers can be out of step by a known time. `stop` and `start` take it down and up again at the same port.
    """

    def __init__(
        self, size_px: tuple[int, int] = (320, 240), rate_hz: float = 30.0, views: int = 1, phase_s: float = 0.0
    ) -> None:
        self.size_px, self.rate_hz, self.views, self.phase_s = size_px, rate_hz, views, phase_s
        self.faults = Faults()
        self.sent = 0
        self._random = np.random.default_rng(1)
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self._down = threading.Event()
        self.start()

    def url(self, path: str = "/video") -> str:
        """Address of a path."""
        return f"http://127.0.0.1:{self._port}{path}"

    def start(self) -> None:
        """Come up, at the port of before."""
        camera, self._down = self, threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    camera._answer(self)
                except (ConnectionError, TimeoutError):  # the reader left
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test output clean."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Go down: connections break and new ones are refused."""
        self._down.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path
        if path in ("/video", "/chunked", "/bare"):
            self._stream(request, chunked=path == "/chunked", lengths=path != "/bare")
        elif path == "/page":
            _reply(request, 200, "text/html; charset=utf-8", b"<html><body>Camera</body></html>")
        elif path == "/picture":
            _reply(request, 200, "image/jpeg", self._jpeg())
        elif path == "/moved":
            _reply(request, 302, "text/plain", b"", {"Location": "/video"})
        elif path == "/locked":
            if request.headers.get("Authorization") == "Basic dXNlcjpwQHNz":  # user:p@ss
                self._stream(request, chunked=False, lengths=True)
            else:
                _reply(request, 401, "text/plain", b"", {"WWW-Authenticate": 'Basic realm="camera"'})
        else:
            _reply(request, 404, "text/plain", b"not here")

    def _jpeg(self) -> bytes:
        picture = np.hstack([make_picture(self.size_px, self.sent, time.monotonic())] * self.views)
        jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
        self.sent += 1
        if self.faults.corrupt:
            jpeg = np.random.default_rng(self.sent).bytes(len(jpeg))
        return jpeg[: len(jpeg) // 2] if self.faults.truncated else jpeg

    def _stream(self, request: BaseHTTPRequestHandler, chunked: bool, lengths: bool) -> None:
        down = self._down
        request.protocol_version = "HTTP/1.1" if chunked else "HTTP/1.0"
        request.send_response(200)
        request.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        if chunked:
            request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.close_connection = True

        def send(data: bytes) -> None:
            request.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)

        while not down.wait(self._pause_s()):
            if self.faults.stalled or self.faults.trickling:
                self._trickle_or_wait(down, send)
                continue
            if self._random.random() < self.faults.dropped:
                self.sent += 1
                continue
            parts = b""
            for _ in range(self.faults.backlog):
                jpeg = self._jpeg()
                length = f"Content-Length: {len(jpeg)}\r\n" if lengths else ""
                parts += f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode() + jpeg + b"\r\n"
            send(parts)

    def _pause_s(self) -> float:
        """Until the next tick of a clock that all servers share, shifted by the phase."""
        interval_s = 1 / self.rate_hz
        return interval_s - (time.monotonic() - self.phase_s) % interval_s

    def _trickle_or_wait(self, down: threading.Event, send: Callable[[bytes], None]) -> None:
        if self.faults.trickling:
            send(b"x")
        down.wait(0.05)


def _reply(
    request: BaseHTTPRequestHandler, code: int, kind: str, body: bytes, headers: dict[str, str] | None = None
) -> None:
    request.send_response(code)
    for name, value in ({"Content-Type": kind, "Content-Length": str(len(body))} | (headers or {})).items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)
