"""The live view for a browser: pictures, the person in space, figures and the health light."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..streaming import needing
from ..streaming.addresses import parse_address

if TYPE_CHECKING:
    from .view import WebView


def open_view(address: str, token: str | None = None) -> WebView:
    """Serve the view at an address, in a thread of its own; `WebView.url` is where to look.

    address: as `parse_address` reads it; token: what users have to know, required unless the address is this machine's
    alone. Raises UserError when the address cannot be used, the token is missing or short, or a package is missing.
    """
    parsed = parse_address(address, "--web")
    with needing("--web", "websockets", "websockets"):
        from .view import WebView
    return WebView(parsed, token)
