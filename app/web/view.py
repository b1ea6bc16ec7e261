"""The browser view: a page, and a WebSocket that brings it messages and, as fast as it asks for them, pictures."""

from __future__ import annotations

import asyncio
import socket
import time
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, quote

import cv2
import numpy as np
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from ...models.skeleton import BODY17
from ..live.update import LiveUpdate
from ..streaming.access import HostCheck
from ..streaming.addresses import Address
from ..streaming.message import encode
from ..streaming.server import Latest, ServerThread, answer, attend, refuse, send_or_drop
from ..streaming.websocket import Encoded, send_messages
from .pages import Pages
from .viewer_token import Token

STREAM_PATH = "/stream"
# What a page sends to get one more picture; it does so when it has shown the last, so none ever wait.
ASK_PICTURE = "picture"
PICTURE_INTERVAL_S = 1 / 15
JPEG_QUALITY = 80
# A page that got a picture asks for the next one within this time, unless nobody looks at it.
LOOKS_S = 1.0
# Who guesses at the token waits for every answer.
WRONG_TOKEN_S = 0.5


class _Picture:
    """A drawn picture, encoded in a thread when the first page wants it."""

    def __init__(self, picture: np.ndarray) -> None:
        self._picture = picture
        self._encoding: asyncio.Task[bytes] | None = None

    async def jpeg(self) -> bytes:
        if self._encoding is None:
            self._encoding = asyncio.create_task(asyncio.to_thread(self._encode))
        return await asyncio.shield(self._encoding)

    def _encode(self) -> bytes:
        return cv2.imencode(".jpg", self._picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


class WebView:
    """Serves the view until it is closed. Follows `Listener`.

    Raises UserError when the address cannot be had or a token is needed.
    """

    def __init__(self, address: Address, token: str | None) -> None:
        self._token = Token(address, token)
        self._hosts = HostCheck(address, local_pages=False)
        self._pages = Pages()
        self._server = ServerThread(address, self._serve, self._check)
        self._newest: Latest[Encoded] = Latest(self._server.loop)
        self._picture: Latest[_Picture] = Latest(self._server.loop)
        self._asking = 0
        self._last_asked_s = -LOOKS_S
        self.url = f"http://{_reachable(address)}/" + (f"?token={quote(token)}" if token else "")
        self._server.start()

    @property
    def wants_picture(self) -> bool:
        """Whether a page that somebody looks at waits for a picture, or will in a moment."""
        return self._asking > 0 or time.monotonic() - self._last_asked_s < LOOKS_S

    def update(self, update: LiveUpdate) -> None:
        """Offer an update to the pages."""
        if update.picture is None:
            self._newest.put(Encoded(update))
        elif self.wants_picture:
            self._picture.put(_Picture(update.picture))

    def close(self) -> None:
        """Send the pages away and end the thread."""
        self._server.close()

    async def _check(self, request: Request) -> Response | None:
        headers = request.headers
        refusal = self._hosts.refusal(headers.get_all("Host"), headers.get_all("Origin"))
        if refusal:
            return refuse(HTTPStatus.FORBIDDEN, refusal)
        path, _, query = request.path.partition("?")
        if not (self._token.is_known(headers.get_all("Cookie")) or self._pages.is_open(path)):
            return await self._ask_token(path, query)
        if path == STREAM_PATH:
            return None
        if path == "/" and query:  # A token that is no longer needed leaves the address line.
            return answer(HTTPStatus.SEE_OTHER, "text/plain", b"", {"Location": "/"})
        return self._pages.get(path) or refuse(HTTPStatus.NOT_FOUND, "there is nothing here; the view is at /")

    async def _ask_token(self, path: str, query: str) -> Response:
        """To the page for who shows the token (which then leaves the address line); to the question otherwise."""
        shown = parse_qs(query).get("token", [""])[0] if path == "/" else ""
        if self._token.is_right(shown):
            return answer(
                HTTPStatus.SEE_OTHER, "text/plain", b"", {"Location": "/", "Set-Cookie": self._token.cookie()}
            )
        if shown:
            await asyncio.sleep(WRONG_TOKEN_S)
        if path == STREAM_PATH:
            return refuse(HTTPStatus.UNAUTHORIZED, "the token is missing: load the page first")
        return self._pages.question(wrong=bool(shown))

    async def _serve(self, connection: ServerConnection) -> None:
        asked = asyncio.Event()
        await send_or_drop(connection, encode(_hello()))

        def heard(message: str | bytes) -> None:
            if message == ASK_PICTURE:
                self._last_asked_s = time.monotonic()
                asked.set()

        await attend(
            connection, [send_messages(connection, self._newest), self._send_pictures(connection, asked)], heard
        )

    async def _send_pictures(self, connection: ServerConnection, asked: asyncio.Event) -> None:
        number, sent_s = 0, 0.0
        while True:
            await asked.wait()
            asked.clear()
            self._asking += 1
            try:
                await asyncio.sleep(sent_s + PICTURE_INTERVAL_S - time.monotonic())
                number, picture = await self._picture.after(number)
            finally:
                self._asking -= 1
            sent_s = time.monotonic()
            await send_or_drop(connection, await picture.jpeg())


def _hello() -> dict[str, Any]:
    """What a page has to know of the skeleton to draw it."""
    return {
        "type": "binopose.skeleton",
        "joint_names": list(BODY17.joints),
        "bones": BODY17.bone_indices.tolist(),
        "sides": BODY17.side.tolist(),
    }


def _reachable(address: Address) -> Address:
    """An address to type into a browser: "all addresses" is none."""
    if address.host in ("0.0.0.0", "::"):
        return Address(socket.gethostname(), address.port, address.option)
    return address
