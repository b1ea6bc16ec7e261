"""Poses as JSON over UDP: one datagram each."""

from __future__ import annotations

from ..live.update import LiveUpdate
from .addresses import Address
from .datagrams import DatagramSender
from .message import encode, pose_message
from .newest import NewestWorker


class UdpStream:
    """Sends every update as one datagram. Follows `Listener`. Raises UserError when the host cannot be found."""

    wants_picture = False

    def __init__(self, address: Address) -> None:
        self._sender = DatagramSender(address)
        self._worker = NewestWorker("udp stream", self._send)

    def update(self, update: LiveUpdate) -> None:
        """Send the pose of an update, unless a newer one comes first."""
        if update.picture is None:
            self._worker.put(update)

    def _send(self, update: LiveUpdate) -> None:
        self._sender.send(encode(pose_message(update, full=False)).encode())

    def close(self) -> None:
        """End the thread and close the socket."""
        self._worker.close()
        self._sender.close()
