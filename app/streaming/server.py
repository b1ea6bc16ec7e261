"""A WebSocket server in a thread of its own, where clients that are slow harm nobody but themselves."""

from __future__ import annotations

import asyncio
import contextlib
import http
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Generic, TypeVar

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from .addresses import Address, open_server_socket

logger = logging.getLogger(__name__)
Value = TypeVar("Value")

# Clients have next to nothing to say, and there is no use for more of them.
MAX_REQUEST_BYTES = 1024
MAX_CONNECTIONS = 64
# A client that takes no data for so long is dropped.
STALL_S = 5.0
# Answers to pings tell of clients that went away without a word.
PING_S = 10.0
CLOSE_S = 1.0
# What may lie unread in the system's buffer for one client: more would be old by the time it is read.
SEND_BUFFER_BYTES = 256 << 10

Handler = Callable[[ServerConnection], Awaitable[None]]
RequestCheck = Callable[[Request], Awaitable[Response | None]]


class Latest(Generic[Value]):
    """The newest of a series of values, for any number of coroutines that each take it at their own pace.

    `put` is for other threads; the rest belongs to the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._current: tuple[int, Value | None] = (0, None)
        self._changed = asyncio.Event()
        self._waking = False

    def put(self, value: Value) -> None:
        """Replace the value; comes back at once."""
        self._current = (self._current[0] + 1, value)
        if not self._waking:
            self._waking = True
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._waking = False
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def after(self, number: int) -> tuple[int, Value]:
        """Wait for a value newer than the one with this number (0: any); returns it and its number."""
        while True:
            changed = self._changed
            latest, value = self._current
            if latest > number and value is not None:
                return latest, value
            await changed.wait()


def _counted(connections: set[ServerConnection]) -> type[ServerConnection]:
    """Connections that are kept in a set while they are open; those over MAX_CONNECTIONS are cut off at once."""

    class Counted(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            connections.add(self)
            if len(connections) > MAX_CONNECTIONS:
                self.transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            connections.discard(self)
            super().connection_lost(exc)

    return Counted


class ServerThread:
    """Serves WebSocket clients, and plain HTTP where `check` answers itself, until it is closed.

    handler: serves one client, ends when it is gone; check: looks at every request first; returns None to let it become
    a WebSocket, else what to answer. Raises UserError when the address cannot be had.
    """

    def __init__(self, address: Address, handler: Handler, check: RequestCheck) -> None:
        self._socket = open_server_socket(address)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._handler, self._check = handler, check
        self.loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"server {address.port}", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Send the clients away and give the port back."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(4 * CLOSE_S)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        connections: set[ServerConnection] = set()

        async def check(_: ServerConnection, request: Request) -> Response | None:
            # Older releases of websockets have no such attribute: they refuse other methods themselves.
            if getattr(request, "method", "GET") != "GET":
                return refuse(http.HTTPStatus.METHOD_NOT_ALLOWED, "there is only GET")
            return await self._check(request)

        server = await serve(
            self._handle,
            sock=self._socket,
            process_request=check,
            compression=None,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            close_timeout=CLOSE_S,
            max_size=MAX_REQUEST_BYTES,
            write_limit=1,
            logger=_own_faults(),
            server_header=None,
            create_connection=_counted(connections),
        )
        await self._stop.wait()
        server.close()
        try:
            async with asyncio.timeout(2 * CLOSE_S):
                await server.wait_closed()
        except TimeoutError:  # Those who do not read do not say goodbye either.
            for connection in list(connections):
                connection.transport.abort()

    async def _handle(self, connection: ServerConnection) -> None:
        try:
            await self._handler(connection)
        except* ConnectionClosed:
            pass  # Clients come and go.


def _own_faults() -> logging.Logger:
    """A log for the library that passes on what is wrong here, not what strangers do who speak no WebSocket."""
    log = logging.Logger(f"{__name__}.websockets", logging.ERROR)
    log.parent = logger
    log.addFilter(lambda record: not record.getMessage().startswith("opening handshake failed"))
    return log


async def attend(
    connection: ServerConnection, senders: Iterable[Coroutine[None, None, None]], heard: Callable[[str | bytes], None]
) -> None:
    """Let the senders send to a client until it leaves; heard: called with what it says."""
    async with asyncio.TaskGroup() as group:
        sending = [group.create_task(sender) for sender in senders]
        async for message in connection:
            heard(message)
        for task in sending:
            task.cancel()


async def send_or_drop(connection: ServerConnection, message: str | bytes) -> None:
    """Send a message; a client that does not take it within STALL_S is dropped.

    Raises ConnectionClosed when the client is gone.
    """
    try:
        async with asyncio.timeout(STALL_S):
            await connection.send(message)
    except TimeoutError:
        connection.transport.abort()
        await connection.wait_closed()
        raise ConnectionClosed(None, None) from None


def answer(status: http.HTTPStatus, kind: str, body: bytes, headers: dict[str, str] | None = None) -> Response:
    """A plain HTTP response that nobody keeps."""
    fields = {
        "Content-Type": kind,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Connection": "close",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return Response(status.value, status.phrase, Headers(fields | (headers or {})), body)


def refuse(status: http.HTTPStatus, reason: str) -> Response:
    """A plain HTTP response that says why there is nothing else."""
    return answer(status, "text/plain; charset=utf-8", f"{reason}\n".encode())
