"""UDP datagrams to one address, without ever waiting for the network."""

from __future__ import annotations

import logging

from .addresses import Address, open_sender

logger = logging.getLogger(__name__)


class DatagramSender:
    """Sends datagrams; one that the network does not take is lost, and the log says so once until it works again.

    Raises UserError when the host cannot be found.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._socket, self._target = open_sender(address)
        self._failing = False

    def send(self, datagram: bytes) -> None:
        """Send one datagram."""
        try:
            self._socket.sendto(datagram, self._target)
        except BlockingIOError:
            return  # The buffer is full; newer datagrams follow.
        except OSError as error:
            if not self._failing:
                logger.warning("%s %s: cannot send (%s); trying on", self._address.option, self._address, error)
            self._failing = True
            return
        if self._failing:
            logger.warning("%s %s: sending again", self._address.option, self._address)
        self._failing = False

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
