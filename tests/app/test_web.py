"""The browser view by plain HTTP and WebSocket: who is let in, what comes, and when pictures are made."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from binopose.app.web import open_view
from binopose.app.web.view import ASK_PICTURE, WebView
from binopose.calibration.errors import UserError
from binopose.models.skeleton import BODY17
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from .live_updates import make_update, standing_person

PAGE = Path(__file__).parents[2] / "app" / "web" / "page"
TOKEN = "open sesame / & ü"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def view() -> Iterator[WebView]:
    view = open_view(str(free_port()))
    yield view
    view.close()


@pytest.fixture
def guarded() -> Iterator[WebView]:
    """A view that other machines can reach."""
    view = open_view(f"0.0.0.0:{free_port()}", TOKEN)
    yield view
    view.close()


def port_of(view: WebView) -> int:
    return int(re.findall(r":(\d+)/", view.url)[0])


def get(
    view: WebView, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a plain request; the path goes out as it is."""
    client = http.client.HTTPConnection("127.0.0.1", port_of(view), timeout=5)
    client.putrequest(method, path, skip_host="Host" in (headers or {}))
    for name, value in (headers or {}).items():
        client.putheader(name, value)
    client.endheaders()
    answer = client.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    client.close()
    return found


def is_refused(view: WebView, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> bool:
    """Whether a request is answered with an error or by hanging up."""
    try:
        return get(view, path, headers, method)[0] >= 400
    except (http.client.HTTPException, ConnectionError):
        return True


def stream(view: WebView, **options: object) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port_of(view)}/stream", **options)  # type: ignore[arg-type]


def wait_until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.005)


def next_message(page: ClientConnection) -> dict[str, object]:
    """The next text; pictures in between are passed over."""
    while True:
        message = page.recv(timeout=5)
        if isinstance(message, str):
            return json.loads(message)


# The page


def test_page_brings_all_it_needs(view: WebView) -> None:
    """No file is asked for that is not there, and none from elsewhere."""
    status, headers, body = get(view, "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "script-src 'self'" in headers["content-security-policy"]
    wanted = re.findall(rb'(?:src|href)="([^"#]+)"', body)
    assert {b"/scene.js", b"/view.js", b"/view.css", b"/icon.svg"} <= set(wanted)
    for path in wanted:
        assert path.startswith(b"/")
        status, headers, part = get(view, path.decode())
        assert (status, len(part)) == (200, int(headers["content-length"]))
        assert headers["x-content-type-options"] == "nosniff"
        assert b"https://" not in part
        assert b"http://" not in part.replace(b"http://www.w3.org/2000/svg", b"")


def test_script_finds_its_elements() -> None:
    html = (PAGE / "index.html").read_text()
    script = (PAGE / "view.js").read_text()
    names = set(re.findall(r'(?:element|write)\("([\w-]+)"', script))
    assert len(names) > 15
    assert {name for name in names if f'id="{name}"' not in html} == set()
    # Every control and every live region has words for those who do not see it.
    labelled = re.findall(r"<label><input [^>]*>[^<]+</label>|<button [^>]*>[^<]+</button>", html)
    assert len(labelled) == len(re.findall(r"<input|<button", html))
    assert all("alt=" in tag for tag in re.findall(r"<img[^>]*>", html))
    assert "aria-label=" in re.findall(r"<canvas[^>]*>", html)[0]


def test_page_speaks_of_all_states() -> None:
    """The words of the program that the script compares with are those that the program sends."""
    from binopose.app.live.update import Tracking

    script = (PAGE / "view.js").read_text()
    spoken = set(re.findall(r'tracking === "([^"]+)"', script))
    assert spoken == {"tracking", "no pictures"}
    assert spoken <= {state.value for state in Tracking}


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/index.html",
        "/token.html",
        "/../view.py",
        "/page/../../view.py",
        "/%2e%2e/view.py",
        "/..%2f..%2fsetup.cfg",
        "//etc/passwd",
        "/view.css/",
        "/view.css%00.js",
        "http://127.0.0.1/view.py",
    ],
)
def test_nothing_else_can_be_had(view: WebView, path: str) -> None:
    status, _, body = get(view, path)
    assert status in (400, 404)
    assert b"import" not in body


def test_other_methods_and_long_requests_are_refused(view: WebView) -> None:
    assert not is_refused(view, "/")
    for method in ("POST", "PUT", "DELETE"):
        assert is_refused(view, "/", method=method)
    assert is_refused(view, "/" + "x" * 100_000)
    assert is_refused(view, "/", {"X": "y" * 100_000})
    assert not is_refused(view, "/")


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Host": "evil.example:80"}, {"Origin": "http://evil.example"}]
)
def test_names_that_lead_here_are_refused(view: WebView, headers: dict[str, str]) -> None:
    for path in ("/", "/stream"):
        status, _, body = get(view, path, headers)
        assert status == 403
        assert b"server" in body


def test_pages_of_other_servers_may_not_listen(view: WebView) -> None:
    with pytest.raises(InvalidStatus, match="403"), stream(view, origin="http://127.0.0.1:1"):
        pass
    with stream(view, origin=f"http://127.0.0.1:{port_of(view)}"):
        pass


# The stream


def test_stream_brings_skeleton_and_messages(view: WebView) -> None:
    view.update(make_update(0, standing_person()))
    with stream(view) as page:
        skeleton = next_message(page)
        assert skeleton["type"] == "binopose.skeleton"
        assert skeleton["joint_names"] == list(BODY17.joints)
        assert skeleton["bones"] == [list(map(int, bone)) for bone in BODY17.bone_indices]
        assert skeleton["sides"] == list(map(int, BODY17.side))
        assert next_message(page)["number"] == 0
        view.update(make_update(1, None))
        assert next_message(page)["number"] == 1


def painted(number: int) -> np.ndarray:
    """A picture of one colour that tells its number."""
    return np.full((90, 160, 3), 20 * number, np.uint8)


def test_pictures_come_when_asked_for(view: WebView) -> None:
    with stream(view) as page:
        next_message(page)
        for number in range(4):
            page.send(ASK_PICTURE)
            wait_until(lambda: view.wants_picture)
            view.update(make_update(number, None, picture=painted(number)))
            jpeg = page.recv(timeout=5)
            assert isinstance(jpeg, bytes)
            image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert image is not None
            assert image.shape == (90, 160, 3)
            assert abs(float(image.mean()) - 20 * number) < 3


def test_nothing_is_encoded_while_nobody_looks(view: WebView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("binopose.app.web.view.LOOKS_S", 0.15)
    encoded = []
    encode = cv2.imencode
    monkeypatch.setattr(cv2, "imencode", lambda *options: encoded.append(1) or encode(*options))
    assert not view.wants_picture
    with stream(view) as page, stream(view) as other:
        for client in (page, other):
            next_message(client)
        view.update(make_update(0, None, picture=painted(1)))
        view.update(make_update(0, None))
        for client in (page, other):
            assert next_message(client)["number"] == 0  # and no picture: it was not asked for
        assert not encoded
        for client in (page, other):
            client.send(ASK_PICTURE)
        wait_until(lambda: view._asking == 2)
        view.update(make_update(1, None, picture=painted(2)))
        assert page.recv(timeout=5) == other.recv(timeout=5)
        assert len(encoded) == 1, "once for all pages"
        wait_until(lambda: not view.wants_picture)
        # A page that waits for a picture keeps waiting for it, and a page that goes away does not.
        page.send(ASK_PICTURE)
        wait_until(lambda: view._asking == 1)
        time.sleep(0.3)
        assert view.wants_picture
    wait_until(lambda: not view.wants_picture)


def test_pictures_are_rate_limited(view: WebView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("binopose.app.web.view.PICTURE_INTERVAL_S", 0.4)
    with stream(view) as page:
        next_message(page)
        came_s = []
        for _ in range(3):
            page.send(ASK_PICTURE)
            jpeg = None
            while jpeg is None:
                view.update(make_update(0, None, picture=painted(3)))
                try:
                    jpeg = page.recv(timeout=0.02)
                except TimeoutError:
                    continue
            came_s.append(time.monotonic())
        assert np.diff(came_s).min() > 0.3


def test_page_comes_back_after_a_restart(view: WebView) -> None:
    port = port_of(view)
    with stream(view) as page:
        next_message(page)
        view.close()
        with pytest.raises(ConnectionClosed):
            page.recv(timeout=5)
    again = open_view(str(port))
    try:
        with stream(again) as page:
            assert next_message(page)["type"] == "binopose.skeleton"
    finally:
        again.close()


# The token


@pytest.mark.parametrize("address", ["0.0.0.0:8123", "[::]:8123", "192.0.2.1:8123", "example.org:8123"])
def test_other_machines_need_a_token(address: str) -> None:
    with pytest.raises(UserError, match=r"--web .*other machines can reach this address.*--token \w{16}"):
        open_view(address)


def test_short_tokens_are_refused() -> None:
    with pytest.raises(UserError, match=r"--token: expected at least 8 characters, found 6"):
        open_view(f"0.0.0.0:{free_port()}", "sesame")


def test_malformed_address_names_the_option() -> None:
    with pytest.raises(UserError, match=r"--web \"http://localhost\": expected PORT"):
        open_view("http://localhost")


def test_without_token_there_is_only_the_question(guarded: WebView) -> None:
    status, _, body = get(guarded, "/")
    assert status == 401
    assert b"Token" in body
    assert b'class="wrong" hidden' in body
    for path in ("/view.js", "/scene.js", "/stream", "/nothing"):
        assert get(guarded, path)[0] == 401
    assert get(guarded, "/view.css")[0] == 200
    with pytest.raises(InvalidStatus, match="401"), stream(guarded):
        pass


@pytest.mark.parametrize("wrong", ["open+sesame", "x", "%00", "%ff%fe", "open%20sesame%20/%20%26%20u"])
def test_wrong_tokens(guarded: WebView, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("binopose.app.web.view.WRONG_TOKEN_S", 0.0)
    status, headers, body = get(guarded, f"/?token={wrong}")
    assert status == 401
    assert "set-cookie" not in headers
    assert b"That was not the token." in body
    assert b'class="wrong" hidden' not in body


def test_token_opens_and_leaves_the_address_line(guarded: WebView) -> None:
    port, path = guarded.url.removeprefix("http://").split(":")[1].split("/", 1)
    assert int(port) == port_of(guarded)
    status, headers, _ = get(guarded, f"/{path}")
    assert (status, headers["location"]) == (303, "/")
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "sesame" not in cookie
    shown = {"Cookie": "other=1; " + cookie.split(";")[0]}
    assert get(guarded, "/", shown)[0] == 200
    assert get(guarded, "/view.js", shown)[0] == 200
    assert get(guarded, f"/{path}", shown)[1]["location"] == "/"
    with stream(guarded, additional_headers=shown) as page:
        assert next_message(page)["type"] == "binopose.skeleton"
    for cookie in ("binopose=", "binopose=abc", "binopose=ü", "binopose=" + "0" * 64, '"', "binopose=a; binopose=b"):
        assert get(guarded, "/", {"Cookie": cookie.encode().decode("latin-1")})[0] == 401


def test_another_token_is_another_cookie() -> None:
    first, second = (open_view(str(free_port()), token) for token in ("first token", "second token"))
    try:
        cookie = get(first, "/?token=first%20token")[1]["set-cookie"].split(";")[0]
        assert get(first, "/", {"Cookie": cookie})[0] == 200
        assert get(second, "/", {"Cookie": cookie})[0] == 401
    finally:
        first.close()
        second.close()


def test_guessing_is_slow(guarded: WebView) -> None:
    began_s = time.monotonic()
    get(guarded, "/?token=guess")
    assert time.monotonic() - began_s > 0.4  # a wait that is asked for, not a speed


def test_only_own_names_with_a_token_too(guarded: WebView) -> None:
    cookie = guarded._token.cookie().split(";")[0]
    assert get(guarded, "/", {"Cookie": cookie, "Host": "rebound.example"})[0] == 403
    assert get(guarded, "/", {"Cookie": cookie, "Host": f"{socket.gethostname()}:80"})[0] == 200
    assert get(guarded, "/", {"Cookie": cookie, "Host": "192.168.7.7:80"})[0] == 200
