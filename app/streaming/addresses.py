"""Where a stream is sent or offered: `PORT`, `HOST:PORT` or `[IPv6]:PORT`; this machine alone unless told otherwise."""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass

from ...calibration.errors import UserError

LOOPBACK = "127.0.0.1"
HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Address:
    """A host, by name or number, and a port. option: the command line option that gave it, for messages."""

    host: str
    port: int
    option: str

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine can be at the other end."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, option: str) -> Address:
    """Read `PORT`, `HOST:PORT` or `[IPv6]:PORT`; the host is 127.0.0.1 where none is given.

    Raises UserError, which names the option, when it is none of these.
    """
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise _malformed(text, option)
    host = host if colon else LOOPBACK
    if not host or not (port.isascii() and port.isdigit()) or not 1 <= int(port) <= HIGHEST_PORT:
        raise _malformed(text, option)
    return Address(host, int(port), option)


def _malformed(text: str, option: str) -> UserError:
    return UserError(
        f'{option} "{text}": expected PORT, HOST:PORT or [IPv6]:PORT with a port from 1 to {HIGHEST_PORT}, for example '
        f"{option} 9000 (this machine) or {option} 192.168.1.20:9000"
    )


def is_loopback(host: str) -> bool:
    """Whether a host, by name or number, is this machine and nobody else can reach it."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_sender(address: Address) -> tuple[socket.socket, tuple[object, ...]]:
    """A UDP socket that never blocks, and the resolved address to send to; broadcast addresses are allowed.

    Raises UserError when the host cannot be found.
    """
    family, kind, protocol, _, target = _resolve(address, socket.SOCK_DGRAM)
    sender = socket.socket(family, kind, protocol)
    sender.setblocking(False)
    if family == socket.AF_INET:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    return sender, target


def open_server_socket(address: Address) -> socket.socket:
    """A TCP socket bound to the address, not yet listening. Raises UserError when it cannot be had."""
    family, kind, protocol, _, target = _resolve(address, socket.SOCK_STREAM)
    server = socket.socket(family, kind, protocol)
    try:
        # Skips the wait after a close; on Windows the same option would let two programs share the port.
        alone = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR if alone is None else alone, 1)
        server.bind(target)
        server.listen()
    except OSError as error:
        server.close()
        raise UserError(_refusal(address, error)) from error
    return server


def _resolve(address: Address, kind: socket.SocketKind) -> tuple[int, int, int, str, tuple[object, ...]]:
    try:
        return socket.getaddrinfo(address.host, address.port, type=kind)[0]
    except (OSError, UnicodeError) as error:
        raise UserError(
            f'{address.option} {address}: no host "{address.host}" can be found ({_reason(error)}); check the spelling '
            "or give its number, such as 192.168.1.20"
        ) from error


def _refusal(address: Address, error: OSError) -> str:
    what = f"{address.option} {address}"
    if error.errno == errno.EADDRINUSE:
        other = address.port + 1 if address.port < HIGHEST_PORT else address.port - 1
        return (
            f"{what}: the port is in use, by another program or a binopose that still runs; end that or take another "
            f"port, for example {address.option} {Address(address.host, other, address.option)}"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{what}: not permitted ({_reason(error)}); ports below 1024 are for the system, take a higher one"
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f"{what}: {address.host} is no address of this machine; give one that it has, 0.0.0.0 for all of them, or "
            "the port alone for this machine only"
        )
    return f"{what}: cannot be opened ({_reason(error)})"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
