"""MJPEG over HTTP, read directly: the newest picture within milliseconds of its last byte.

cv2's FFmpeg backend reads such streams too, but drops nothing when it falls behind, cannot be interrupted, and gives no
reason when it fails.
"""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import time
from email.message import Message
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import cv2
import numpy as np

from .errors import CaptureError
from .multipart import MultipartParser

CONNECT_TIMEOUT_S = 3.0
# A stream silent for so long has stalled.
READ_TIMEOUT_S = 2.0
RECEIVE_BYTES = 1 << 20
MAX_REDIRECTS = 3


class NotMultipart(CaptureError):
    """The address answers with media of another kind."""


def without_password(url: str) -> str:
    """A URL fit for messages and files: user and password left out."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class MjpegSource:
    """One MJPEG stream. Follows `Source`."""

    def __init__(self, url: str) -> None:
        self.name = without_password(url)
        self.skipped_frames = 0
        self.notes: tuple[str, ...] = ()
        self._url = url
        self._socket: socket.socket | None = None
        self._connection: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None
        self._parser: MultipartParser | None = None
        self._picture = b""

    def open(self) -> None:
        """Connect and read the headers. Raises NotMultipart when the address offers another kind of media."""
        url = self._url
        for _ in range(MAX_REDIRECTS + 1):
            response = self._request(url)
            if response.status not in (301, 302, 303, 307, 308):
                break
            url = urljoin(url, response.headers.get("Location", ""))
            self.close()
        else:
            raise CaptureError(f"{self.name}: redirects more than {MAX_REDIRECTS} times; check the address", True)
        self._check_status(response)
        self._parser = MultipartParser(self._boundary(response.headers))
        self._response = response

    def _request(self, url: str) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CaptureError(f"{self.name}: leads to {without_password(url)}, which is no http address", True)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        try:
            self._connection = kind(parts.hostname, parts.port, timeout=CONNECT_TIMEOUT_S)
            self._connection.connect()
            # Kept for `interrupt`: http.client forgets the socket of an answer without end.
            self._socket = self._connection.sock
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            self._connection.request("GET", path, headers=_headers(parts))
            response = self._connection.getresponse()
            if self._socket is not None:
                self._socket.settimeout(READ_TIMEOUT_S)
            return response
        except ssl.SSLError as error:
            raise CaptureError(
                f"{self.name}: no secure connection ({error.reason or error}); cameras often have a certificate of "
                "their own: try http:// instead of https://",
                True,
            ) from error
        except socket.gaierror as error:
            raise CaptureError(
                f"{self.name}: the name {parts.hostname} is not known; check the address, or use the camera's number "
                "such as 192.168.1.20",
                True,
            ) from error
        except TimeoutError as error:
            raise CaptureError(
                f"{self.name}: no answer within {CONNECT_TIMEOUT_S:g} s; is the camera switched on and in this network?"
            ) from error
        except ConnectionRefusedError as error:
            raise CaptureError(
                f"{self.name}: nothing listens there (connection refused); start the stream, check address and port"
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise CaptureError(
                f"{self.name}: no connection ({_words(error)}); check address, port and cable"
            ) from error

    def _check_status(self, response: http.client.HTTPResponse) -> None:
        if response.status == 200:
            return
        answer = f"{self.name}: answers {response.status} {response.reason}"
        if response.status in (401, 403):
            raise CaptureError(
                f"{answer}; give a user and password in the address, as http://user:password@..., and let the camera "
                "accept basic authentication",
                True,
            )
        if response.status == 404:
            raise CaptureError(f"{answer}; the camera is there, but the path is not: look it up in its manual", True)
        raise CaptureError(f"{answer}; expected a video stream. Try the address in a browser")

    def _boundary(self, headers: Message) -> str:
        kind = headers.get_content_type()
        if kind.startswith("multipart/"):
            boundary = headers.get_param("boundary")
            if not isinstance(boundary, str) or not boundary.strip('" -'):
                raise CaptureError(f"{self.name}: the stream does not name its boundary; no MJPEG stream", True)
            return boundary
        if kind == "text/html":
            raise CaptureError(
                f"{self.name}: answers with a web page, expected a video stream; open the page in a browser and copy "
                "the address of the moving picture itself (it often ends in /video, /stream or .mjpg)",
                True,
            )
        if kind.startswith(("text/", "image/")) or kind == "application/json":
            what = "a single picture" if kind.startswith("image/") else kind
            raise CaptureError(f"{self.name}: answers with {what}, expected a video stream; check the path", True)
        raise NotMultipart(f"{self.name}: answers with {kind}, which is no MJPEG stream", True)

    def grab(self) -> float:
        """Wait for a complete picture; when several have arrived the newest counts and the others are skipped."""
        assert self._response is not None
        assert self._parser is not None
        deadline_s = time.monotonic() + READ_TIMEOUT_S
        while True:
            try:
                data = self._response.read1(RECEIVE_BYTES)
                received_s = time.monotonic()
                parts = [part for part in self._parser.feed(data) if part]
            except TimeoutError as error:
                raise CaptureError(f"{self.name}: no picture for {READ_TIMEOUT_S:g} s; the stream stalls") from error
            except ValueError as error:
                raise CaptureError(f"{self.name}: {error}; no MJPEG stream") from error
            except (OSError, http.client.HTTPException) as error:
                raise CaptureError(f"{self.name}: the connection broke off ({_words(error)})") from error
            if parts:
                self.skipped_frames += len(parts) - 1
                self._picture = parts[-1]
                return received_s
            if not data:
                raise CaptureError(f"{self.name}: the camera ended the stream")
            # Bytes that trickle in keep the socket awake without ever making a picture.
            if received_s > deadline_s:
                raise CaptureError(f"{self.name}: no whole picture for {READ_TIMEOUT_S:g} s; the stream stalls")

    def retrieve(self) -> np.ndarray | None:
        """Decode the picture; None when it is damaged."""
        return cv2.imdecode(np.frombuffer(self._picture, np.uint8), cv2.IMREAD_COLOR)

    def jpeg(self) -> bytes | None:
        """The picture as it arrived."""
        return self._picture or None

    def interrupt(self) -> None:
        """Cut the connection under a waiting read."""
        active = self._socket
        if active is not None:
            try:
                active.shutdown(socket.SHUT_RDWR)
            except OSError:  # closed meanwhile
                return

    def close(self) -> None:
        """Close the connection."""
        if self._response is not None:
            self._response.close()
        if self._connection is not None:
            self._connection.close()
        self._response = self._connection = self._socket = self._parser = None
        self._picture = b""


def _headers(parts: SplitResult) -> dict[str, str]:
    headers = {"User-Agent": "binopose", "Accept": "*/*"}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    return headers


def _words(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text or type(error).__name__
