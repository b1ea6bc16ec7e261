"""Messages and bundles of Open Sound Control 1.0 as bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

Argument = str | float | int

# A bundle whose time tag is 1 is to be acted on when it arrives.
BUNDLE_HEAD = b"#bundle\0" + struct.pack(">Q", 1)
# One Ethernet packet, less the heads of IP and UDP.
PACKET_BYTES = 1472
_NUMBERS = {"f": ">f", "d": ">d", "i": ">i"}


def osc_message(address: str, types: str, arguments: Iterable[Argument]) -> bytes:
    """A message. types: one letter for each argument: f and d floats of 32 and 64 bits, i integer of 32, s string."""
    parts = [_string(address), _string("," + types)]
    for kind, argument in zip(types, arguments, strict=True):
        parts.append(_string(str(argument)) if kind == "s" else struct.pack(_NUMBERS[kind], argument))
    return b"".join(parts)


def osc_bundles(messages: Iterable[bytes]) -> Iterator[bytes]:
    """Pack messages, in order, into as few bundles as fit into a packet each; a larger message gets its own."""
    bundle = BUNDLE_HEAD
    for message in messages:
        element = struct.pack(">i", len(message)) + message
        if len(bundle) + len(element) > PACKET_BYTES and len(bundle) > len(BUNDLE_HEAD):
            yield bundle
            bundle = BUNDLE_HEAD
        bundle += element
    if len(bundle) > len(BUNDLE_HEAD):
        yield bundle


def _string(text: str) -> bytes:
    """Ends with one to four zeros, so that its length is a multiple of four; a zero within would end it early."""
    encoded = text.replace("\0", "").encode()
    return encoded + bytes(4 - len(encoded) % 4)
