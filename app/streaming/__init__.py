"""The poses of the live loop for other programs: JSON over UDP and WebSocket, OSC and VMC. See docs/streaming.md."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...calibration.errors import UserError
from ..live.update import Listener
from .addresses import parse_address


def open_listeners(udp: str | None = None, websocket: str | None = None, osc: str | None = None) -> list[Listener]:
    """Open the streams that are asked for, each with a thread of its own.

    udp, osc: where to send to; websocket: where to wait for clients; all as `parse_address` reads them, None for none.
    Raises UserError when an address cannot be used or a package is missing; nothing stays open then.
    """
    listeners: list[Listener] = []
    try:
        if udp is not None:
            listeners.append(_open_udp(udp))
        if websocket is not None:
            listeners.append(_open_websocket(websocket))
        if osc is not None:
            listeners.append(_open_osc(osc))
    except UserError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


@contextmanager
def needing(option: str, module: str, package: str) -> Iterator[None]:
    """Around an import: without the package of this module a UserError that says what to install for the option."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module:
            raise
        raise UserError(
            f'{option}: needs the package {package}, which is not installed: pip install "binopose[stream]"'
        ) from error


def _open_udp(text: str) -> Listener:
    from .udp import UdpStream

    return UdpStream(parse_address(text, "--udp"))


def _open_websocket(text: str) -> Listener:
    address = parse_address(text, "--websocket")
    with needing("--websocket", "websockets", "websockets"):
        from .websocket import WebSocketStream
    return WebSocketStream(address)


def _open_osc(text: str) -> Listener:
    from .osc import OscStream

    return OscStream(parse_address(text, "--osc"))
