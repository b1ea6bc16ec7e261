"""The word that users of the browser view have to know when it can be reached from other machines."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from http.cookies import CookieError, SimpleCookie

from ...calibration.errors import UserError
from ..streaming.addresses import Address

COOKIE = "binopose"
FEWEST_CHARACTERS = 8


class Token:
    """Knows the token and recognises who has shown it before.

    Raises UserError when other machines can reach the address and there is no token, or when it is short.
    """

    def __init__(self, address: Address, token: str | None) -> None:
        proposal = f"--token {secrets.token_hex(8)}"
        if token is None and not address.is_loopback:
            raise UserError(
                f"{address.option} {address}: other machines can reach this address and would see the pictures; choose "
                f"a word viewers have to know, for example {proposal}, or give the port alone to serve this machine "
                "only"
            )
        if token is not None and len(token) < FEWEST_CHARACTERS:
            raise UserError(
                f"--token: expected at least {FEWEST_CHARACTERS} characters, found {len(token)}; for example {proposal}"
            )
        self._token = token.encode() if token is not None else None
        # What a browser keeps instead of the token; the same after a restart, so that the page finds its way back.
        self._pass = hmac.new(self._token, b"binopose view", hashlib.sha256).hexdigest() if self._token else ""

    def is_right(self, shown: str) -> bool:
        """Whether this is the token; takes the same time whatever is wrong with it."""
        return self._token is not None and hmac.compare_digest(shown.encode(errors="replace"), self._token)

    def is_known(self, cookies: list[str]) -> bool:
        """Whether a browser has shown the token before, by its Cookie headers; always so when none is required."""
        if self._token is None:
            return True
        return any(
            hmac.compare_digest(_value(cookie).encode(errors="replace"), self._pass.encode()) for cookie in cookies
        )

    def cookie(self) -> str:
        """The Set-Cookie header for a browser that has shown the token: for no script and for no other site."""
        return f"{COOKIE}={self._pass}; HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000"


def _value(cookie: str) -> str:
    try:
        morsel = SimpleCookie(cookie).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""
