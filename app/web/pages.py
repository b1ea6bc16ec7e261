"""What the browser view answers to plain HTTP requests: a fixed set of files, and the question for the token."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from websockets.http11 import Response

from ..streaming.server import answer

FOLDER = Path(__file__).parent / "page"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# A page can only do what its own files do: no foreign scripts, no frames around it, no forms to elsewhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class Pages:
    """The files, read once; nothing else can be asked for."""

    def __init__(self) -> None:
        files = {f"/{path.name}": path for path in FOLDER.iterdir() if path.suffix in KINDS}
        self._answers = {name: (_kind(path), path.read_bytes()) for name, path in files.items()}
        self._answers["/"] = self._answers.pop("/index.html")
        self._question = self._answers.pop("/token.html")

    def get(self, path: str) -> Response | None:
        """The file at a path, None when there is none."""
        if path not in self._answers:
            return None
        kind, body = self._answers[path]
        return answer(HTTPStatus.OK, kind, body, {"Content-Security-Policy": POLICY})

    def question(self, wrong: bool) -> Response:
        """The page that asks for the token, again after a wrong one."""
        kind, body = self._question
        if wrong:
            body = body.replace(b'class="wrong" hidden', b'class="wrong"')
        return answer(HTTPStatus.UNAUTHORIZED, kind, body, {"Content-Security-Policy": POLICY})

    @staticmethod
    def is_open(path: str) -> bool:
        """Whether a file is for those too who have not shown the token: the look of the page that asks for it."""
        return path in ("/view.css", "/icon.svg")


def _kind(path: Path) -> str:
    return f"{KINDS[path.suffix]}; charset=utf-8"
