"""The envelope of an MJPEG stream over HTTP: `multipart/x-mixed-replace`, one picture in each part (RFC 2046, 5.1)."""

from __future__ import annotations

import re

# More than any picture: a stream without its boundary in this many bytes is none.
MAX_PART_BYTES = 32 << 20
_HEADERS_END = re.compile(rb"\r?\n\r?\n")
_CONTENT_LENGTH = re.compile(rb"^content-length:\s*(\d+)\s*$", re.IGNORECASE | re.MULTILINE)


class MultipartParser:
    """Cuts parts out of bytes that arrive in pieces of any size.

    boundary: as the Content-Type header gives it. A part with a Content-Length is complete with its last byte; one
    without only when the next boundary arrives, a frame interval later.
    """

    def __init__(self, boundary: str) -> None:
        # Some cameras count the two dashes in front as part of the boundary, some do not.
        self._delimiter = b"--" + boundary.strip('" ').lstrip("-").encode("latin-1")
        self._buffer = bytearray()
        self._body_bytes: int | None = None
        self._in_body = False
        self._searched = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Add received bytes; the parts that are complete with them, oldest first. Raises ValueError when the bytes
        are no multipart stream."""
        self._buffer += data
        parts: list[bytes] = []
        while self._read_part(parts) if self._in_body else self._read_headers():
            pass
        if len(self._buffer) > MAX_PART_BYTES:
            raise ValueError(f"no end of a picture in {MAX_PART_BYTES >> 20} MiB")
        return parts

    def _read_headers(self) -> bool:
        """Step over a boundary and the headers behind it; False when more bytes are needed."""
        start = self._buffer.find(self._delimiter)
        if start < 0:
            return False
        end = _HEADERS_END.search(self._buffer, start)
        if end is None:
            return False
        length = _CONTENT_LENGTH.search(self._buffer[start : end.end()].replace(b"\r", b""))
        self._body_bytes = int(length[1]) if length else None
        del self._buffer[: end.end()]
        self._in_body, self._searched = True, 0
        return True

    def _read_part(self, parts: list[bytes]) -> bool:
        """Take the body of a part; False when more bytes are needed."""
        if self._body_bytes is not None:
            if len(self._buffer) < self._body_bytes:
                return False
            end = self._body_bytes
        else:
            end = self._buffer.find(self._delimiter, self._searched)
            if end < 0:
                # The delimiter may lie across the end of what is here.
                self._searched = max(0, len(self._buffer) - len(self._delimiter))
                return False
        body = bytes(self._buffer[:end])
        parts.append(body if self._body_bytes is not None else body.removesuffix(b"\n").removesuffix(b"\r"))
        del self._buffer[:end]
        self._in_body = False
        return True
