"""Who may connect to a server of ours: programs that ask for it by its own name, and pages that came from it.

A page that the user has open in a browser can talk to servers of this machine too. It cannot hide where it came from
(Origin), nor, when its own name is made to lead here (DNS rebinding), which name it asked for (Host).
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from .addresses import Address, is_loopback


class HostCheck:
    """Judges the Host and Origin headers of requests to one address.

    local_pages: accept pages of other servers of this machine as well, as data for one's own page needs.
    """

    def __init__(self, address: Address, *, local_pages: bool) -> None:
        machine = socket.gethostname().lower()
        self._names = {"localhost", address.host.lower(), machine, f"{machine}.local"}
        self._local_pages = local_pages

    def refusal(self, hosts: list[str], origins: list[str]) -> str | None:
        """Why a request is refused, in words; None when it is fine. hosts, origins: the values of the headers."""
        if len(hosts) != 1 or not self._is_own_name(hosts[0]):
            return "this server answers only to its number and to the name of its machine"
        if len(origins) > 1 or (origins and not self._may_read(origins[0], hosts[0])):
            return "pages of other servers may not read this one"
        return None

    def _is_own_name(self, host: str) -> bool:
        name = _hostname(f"//{host}")
        if name is None:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return True  # A number cannot be rebound: whoever asks for it means this machine.

    def _may_read(self, origin: str, host: str) -> bool:
        parts = urlsplit(origin)
        if parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower():
            return True
        name = _hostname(origin)
        return self._local_pages and parts.scheme in ("http", "https") and name is not None and is_loopback(name)


def _hostname(address: str) -> str | None:
    try:
        name = urlsplit(address).hostname
    except ValueError:
        return None
    return name.lower().rstrip(".") if name else None
