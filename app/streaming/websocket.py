"""Poses as JSON over WebSocket, for any number of clients."""

from __future__ import annotations

from functools import cached_property
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from ..live.update import LiveUpdate
from .access import HostCheck
from .addresses import Address
from .message import encode, pose_message
from .server import Latest, ServerThread, attend, refuse, send_or_drop


class Encoded:
    """An update and its message, made when the first client wants it."""

    def __init__(self, update: LiveUpdate) -> None:
        self._update = update

    @cached_property
    def text(self) -> str:
        """The message as JSON."""
        return encode(pose_message(self._update, full=True))


async def send_messages(connection: ServerConnection, newest: Latest[Encoded]) -> None:
    """Send the newest message whenever the client is ready for one."""
    number = 0
    while True:
        number, encoded = await newest.after(number)
        await send_or_drop(connection, encoded.text)


class WebSocketStream:
    """Sends every update to every client that keeps up, the newest one to the others. Follows `Listener`.

    Raises UserError when the address cannot be had.
    """

    wants_picture = False

    def __init__(self, address: Address) -> None:
        self._hosts = HostCheck(address, local_pages=True)
        self._server = ServerThread(address, self._serve, self._check)
        self._newest: Latest[Encoded] = Latest(self._server.loop)
        self._server.start()

    def update(self, update: LiveUpdate) -> None:
        """Offer the pose of an update to the clients."""
        if update.picture is None:
            self._newest.put(Encoded(update))

    def close(self) -> None:
        """Send the clients away and end the thread."""
        self._server.close()

    async def _check(self, request: Request) -> Response | None:
        refusal = self._hosts.refusal(request.headers.get_all("Host"), request.headers.get_all("Origin"))
        return refuse(HTTPStatus.FORBIDDEN, refusal) if refusal else None

    async def _serve(self, connection: ServerConnection) -> None:
        # Clients have nothing to say; reading notices when they leave.
        await attend(connection, [send_messages(connection, self._newest)], lambda _: None)
