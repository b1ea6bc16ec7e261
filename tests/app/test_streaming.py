"""Streams to other programs: what they say, how they are addressed, and that slow readers stall nobody."""

from __future__ import annotations

import json
import math
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from binopose.app.live.update import Health, Listener, Tracking
from binopose.app.simulation.motion import SimulatedPerson
from binopose.app.streaming import open_listeners
from binopose.app.streaming.access import HostCheck
from binopose.app.streaming.addresses import Address, open_server_socket, parse_address
from binopose.app.streaming.message import encode, pose_message
from binopose.app.streaming.newest import NewestWorker
from binopose.app.streaming.osc_encoding import osc_bundles, osc_message
from binopose.app.streaming.vmc import PARENTS, Stage, avatar_bones
from binopose.app.web import open_view
from binopose.calibration.errors import UserError
from binopose.models.pose import Pose3D
from binopose.models.skeleton import BODY17
from pythonosc.osc_bundle import OscBundle
from pythonosc.osc_message import OscMessage
from scipy.spatial.transform import Rotation
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect

from .live_updates import LEFT_CAMERA, make_update, standing_person

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        yield receiver


@pytest.fixture
def websocket() -> Iterator[tuple[Listener, str]]:
    port = free_port()
    (listener,) = open_listeners(websocket=str(port))
    yield listener, f"ws://127.0.0.1:{port}"
    listener.close()


# Addresses


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("9000", "127.0.0.1", 9000, True),
        ("localhost:9000", "localhost", 9000, True),
        ("192.168.1.20:80", "192.168.1.20", 80, False),
        ("[::1]:65535", "::1", 65535, True),
        ("0.0.0.0:1", "0.0.0.0", 1, False),
        ("127.0.0.1.example.com:80", "127.0.0.1.example.com", 80, False),
    ],
)
def test_addresses(text: str, host: str, port: int, loopback: bool) -> None:
    address = parse_address(text, "--udp")
    assert (address.host, address.port, address.is_loopback) == (host, port, loopback)
    assert parse_address(str(address), "--udp") == address


@pytest.mark.parametrize(
    "text", ["", ":", "x", "0", "65536", "-1", "host:", ":80", "::1:80", "host:8x", "a:b:80", "٣٤"]
)
def test_malformed_addresses(text: str) -> None:
    with pytest.raises(UserError, match=r"--udp.*expected PORT, HOST:PORT"):
        parse_address(text, "--udp")


def test_port_in_use() -> None:
    with closing(open_server_socket(Address("127.0.0.1", 0, "--web"))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"--websocket 127.0.0.1:{port}: the port is in use.*another port"):
            open_listeners(websocket=str(port))


def test_address_of_another_machine() -> None:
    with pytest.raises(UserError, match=r"192\.0\.2\.1 is no address of this machine"):  # RFC 5737: nobody's
        open_listeners(websocket="192.0.2.1:8765")


def test_unknown_host_closes_what_was_opened() -> None:
    port = free_port()
    with pytest.raises(UserError, match=r'no host "nowhere\.invalid" can be found'):
        open_listeners(websocket=str(port), osc="nowhere.invalid:39539")
    open_server_socket(Address("127.0.0.1", port, "--websocket")).close()


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("binopose.app.streaming.websocket", "binopose.app.streaming.server", "binopose.app.web.view"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    for module in [name for name in sys.modules if name.startswith("websockets.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "websockets", None)
    with pytest.raises(UserError, match=r"--websocket: needs the package websockets.*binopose\[stream\]"):
        open_listeners(websocket="8765")
    with pytest.raises(UserError, match=r"--web: needs the package websockets.*binopose\[stream\]"):
        open_view("8765")


# The message


def test_message_has_what_the_pose_has() -> None:
    pose = standing_person()
    message = json.loads(encode(pose_message(make_update(7, pose, raw=pose.moved(np.eye(3), 0.5)), full=True)))
    assert (message["type"], message["version"], message["number"]) == ("binopose.pose", 1, 7)
    assert message["joint_names"] == list(BODY17.joints)
    np.testing.assert_allclose(message["points_m"], pose.points_m, atol=5.1e-5)
    np.testing.assert_allclose(message["raw_points_m"], pose.points_m + 0.5, atol=5.1e-5)
    np.testing.assert_allclose(message["confidence"], pose.confidence, atol=5.1e-3)
    np.testing.assert_allclose(message["sigma_m"], pose.sigma_m, atol=5.1e-4)
    assert (message["frame_of_reference"], message["up"]) == (LEFT_CAMERA, "-y")
    assert (message["tracking"], message["health"]) == ("tracking", {"light": "green", "reason": ""})
    assert abs(message["unix_time_s"] - time.time()) < 5
    figures = message["figures"]
    assert (figures["latency_ms"], figures["skew_ms"], figures["time_offset_ms"]) == (83.0, 2.1, 12.3)
    assert figures["cameras"][0]["state"] == "running"
    assert pose_message(make_update(0, pose, z_up=True), full=False)["up"] == "z"


def test_nan_becomes_null() -> None:
    pose = standing_person()
    points_m, sigma_m, confidence = pose.points_m.copy(), pose.sigma_m.copy(), pose.confidence.copy()
    points_m[3, 2] = sigma_m[3] = sigma_m[4, 0] = np.nan
    confidence[3] = 0
    pose = Pose3D(points_m, confidence, sigma_m, BODY17, pose.timestamp_s)
    update = replace(make_update(0, pose), latency_s=math.nan, rate_hz=math.nan, capture=None, stage_ms={"x": math.nan})

    def no_constant(name: str) -> float:
        raise AssertionError(f"{name} is not JSON")

    message = json.loads(encode(pose_message(update, full=True)), parse_constant=no_constant)
    assert message["points_m"][3] is None
    assert message["points_m"][4] is not None
    assert message["sigma_m"][3] is None
    assert message["sigma_m"][4] is None
    assert message["raw_points_m"] == [None] * 17
    assert message["figures"]["latency_ms"] is None
    assert message["unix_time_s"] is None  # without cameras it is a replay
    assert message["figures"]["stage_ms"] == {"x": None}


def test_message_without_a_person_keeps_its_shape() -> None:
    health = Health("amber", "views disagree")
    message = pose_message(make_update(0, None, tracking=Tracking.NO_PICTURES, health=health), full=False)
    assert message["points_m"] == message["sigma_m"] == [None] * 17
    assert message["confidence"] == [0] * 17
    assert (message["tracking"], message["health"]["reason"]) == ("no pictures", "views disagree")


def test_documentation_names_every_key() -> None:
    text = (EXAMPLES.parent / "streaming.md").read_text(encoding="utf-8")
    message = pose_message(make_update(0, standing_person()), full=True)
    keys = {*message, *message["health"], *message["figures"], *message["figures"]["cameras"][0]}
    assert {key for key in keys if f"`{key}`" not in text} == set()
    assert {state.value for state in Tracking if f'"{state.value}"' not in text} == set()
    assert {bone.removeprefix("Left").removeprefix("Right") for bone in PARENTS} <= set(re.findall(r"\w+", text))


def test_datagram_fits_a_packet() -> None:
    """Places of full length in the room: seven characters and a sign."""
    pose = standing_person().moved(np.eye(3), np.array([-11.12345, -11.12345, 12.12345]))
    update = make_update(999999, pose, health=Health("amber", "the views disagree by 3.2 px: check the calibration"))
    assert len(encode(pose_message(update, full=False)).encode()) <= 1472


# UDP


def test_udp(receiver: socket.socket) -> None:
    (listener,) = open_listeners(udp=str(receiver.getsockname()[1]))
    with closing(listener):
        assert not listener.wants_picture
        listener.update(make_update(5, standing_person(), picture=np.zeros((4, 4, 3), np.uint8)))  # a repetition
        wait_until(lambda: listener._worker._item is None)  # type: ignore[attr-defined]
        listener.update(make_update(6, standing_person()))
        message = json.loads(receiver.recv(65535))
    assert message["number"] == 6
    assert "figures" not in message


def test_udp_goes_on_after_the_network_was_away(receiver: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    (listener,) = open_listeners(udp=str(receiver.getsockname()[1]))
    sender = listener._sender  # type: ignore[attr-defined]
    here, sender._target = sender._target, ("127.0.0.1", 0)  # no port: the system refuses it
    with closing(listener):
        for number in range(3):
            listener.update(make_update(number, None))
            wait_until(lambda: listener._worker._item is None)  # type: ignore[attr-defined]
        wait_until(lambda: len(caplog.records) > 0)
        sender._target = here
        listener.update(make_update(3, None))
        assert json.loads(receiver.recv(65535))["number"] == 3
    assert [record.getMessage().split(": ")[1].split(" (")[0] for record in caplog.records] in (
        ["cannot send", "sending again"],
    )


# WebSocket


def test_websocket_many_clients(websocket: tuple[Listener, str]) -> None:
    listener, url = websocket
    with connect(url) as first, connect(url) as second:
        for number in range(3):
            listener.update(make_update(number, standing_person()))
            for client in (first, second):
                message = json.loads(client.recv(timeout=5))
                assert message["number"] == number
                assert "figures" in message


def test_websocket_late_client_gets_the_last_message(websocket: tuple[Listener, str]) -> None:
    listener, url = websocket
    listener.update(make_update(4, None))
    with connect(url) as client:
        assert json.loads(client.recv(timeout=5))["number"] == 4


def test_client_that_never_reads_harms_nobody(websocket: tuple[Listener, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A raw socket that shakes hands and then stops reading, beside a client that does read."""
    monkeypatch.setattr("binopose.app.streaming.server.STALL_S", 0.5)
    listener, url = websocket
    server = listener._server  # type: ignore[attr-defined]
    stage_ms = {f"stage {number}": 1.0 for number in range(3000)}  # 60 kB a message: buffers are full at once
    with shaken_hands(url) as deaf, connect(url, max_size=None) as client:
        newest = 0
        for number in range(150):
            update = replace(make_update(number, None), stage_ms=stage_ms)
            listener.update(update)
            newest = json.loads(client.recv(timeout=5))["number"]
            time.sleep(0.007)  # longer in all than a client may stall
        assert newest == 149
        # The deaf one is thrown out: what it has not taken ends with a broken connection.
        deaf.settimeout(5)
        received = 0
        with pytest.raises(ConnectionError):  # noqa: PT012 - it takes as many reads as there are buffers
            while True:
                data = deaf.recv(1 << 20)
                received += len(data)
                if not data:
                    raise ConnectionResetError
        assert received < 150 * 60_000 * 0.9, "everything was kept for it"
        assert server._thread.is_alive()


def test_slow_client_skips_to_the_newest(websocket: tuple[Listener, str]) -> None:
    listener, url = websocket
    stage_ms = {f"stage {number}": 1.0 for number in range(30000)}  # 600 kB a message
    with connect(url, max_size=None, max_queue=1) as client:
        for number in range(60):
            listener.update(replace(make_update(number, None), stage_ms=stage_ms))
            time.sleep(0.005)
        seen = []
        while not seen or seen[-1] != 59:
            seen.append(json.loads(client.recv(timeout=5))["number"])
    assert len(seen) < 60
    assert seen == sorted(seen)


def test_closing_with_a_client_that_never_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("binopose.app.streaming.server.CLOSE_S", 0.2)
    port = free_port()
    (listener,) = open_listeners(websocket=str(port))
    stage_ms = {f"stage {number}": 1.0 for number in range(30000)}
    with shaken_hands(f"ws://127.0.0.1:{port}"):
        for number in range(20):
            listener.update(replace(make_update(number, None), stage_ms=stage_ms))
            time.sleep(0.01)
        listener.close()
        assert not listener._server._thread.is_alive()  # type: ignore[attr-defined]
    open_server_socket(Address("127.0.0.1", port, "--websocket")).close()


def test_updates_after_close_do_nothing(websocket: tuple[Listener, str]) -> None:
    listener, url = websocket
    with connect(url) as client:
        listener.close()
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=5)
    listener.update(make_update(0, None))
    listener.close()


def test_own_faults_are_logged_and_end_the_connection(
    websocket: tuple[Listener, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("of our own making")

    listener, url = websocket
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=5) as stranger:
        stranger.sendall(b"\x16\x03\x01 this is TLS\r\n\r\n")
        while stranger.recv(4096):
            pass
    monkeypatch.setattr("binopose.app.streaming.websocket.pose_message", broken)
    with connect(url) as client:
        listener.update(make_update(0, None))
        with pytest.raises(ConnectionClosed, match="1011"):
            client.recv(timeout=5)
    wait_until(lambda: len(caplog.records) > 0)
    assert [record.getMessage() for record in caplog.records] == ["connection handler failed"]


def test_big_messages_from_clients_are_refused(websocket: tuple[Listener, str]) -> None:
    listener, url = websocket
    with connect(url) as client:
        client.send("x" * 5000)
        with pytest.raises(ConnectionClosed, match="too big"):
            client.recv(timeout=5)
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=5) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000)
        with pytest.raises(ConnectionError):  # noqa: PT012
            while stranger.recv(65536):
                pass
            raise ConnectionResetError
    with connect(url) as client:
        listener.update(make_update(1, None))
        assert json.loads(client.recv(timeout=5))["number"] == 1


def test_connections_are_limited(websocket: tuple[Listener, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("binopose.app.streaming.server.MAX_CONNECTIONS", 3)
    _, url = websocket
    with ExitStack() as clients:
        for _ in range(2):
            clients.enter_context(connect(url))
        with connect(url):
            assert not can_connect(url)
        wait_until(lambda: can_connect(url))


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"Origin": "http://localhost:5173"}, False),
        ({"Origin": "http://127.0.0.1:8000"}, False),
        ({"Origin": "https://evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Host": "evil.example:8765"}, True),
        ({"Host": "evil.example:8765", "Origin": "http://evil.example:8765"}, True),
        ({"Host": "localhost:8765"}, False),
    ],
)
def test_pages_of_strangers_are_refused(
    websocket: tuple[Listener, str], headers: dict[str, str], refused: bool
) -> None:
    _, url = websocket
    with shaken_hands(url, headers, expect=403 if refused else 101):
        pass


def test_host_check() -> None:
    strict = HostCheck(Address("127.0.0.1", 80, "--web"), local_pages=False)
    assert strict.refusal(["127.0.0.1:80"], []) is None
    assert strict.refusal(["127.0.0.1:80"], ["http://127.0.0.1:80"]) is None
    assert strict.refusal(["192.168.1.5:80"], ["http://192.168.1.5:80"]) is None
    assert strict.refusal([socket.gethostname() + ":80"], []) is None
    assert strict.refusal(["127.0.0.1:80"], ["http://127.0.0.1:81"]) is not None
    assert strict.refusal(["localhost.evil.example:80"], []) is not None
    for hosts in ([], [""], ["[::1"], ["localhost", "evil.example"], ["localhost@evil.example"]):
        assert strict.refusal(hosts, []) is not None, hosts


# Threads


def test_newest_item_replaces_waiting_ones() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), []

    def work(item: int) -> None:
        begun.set()
        go_on.wait(5)
        done.append(item)

    worker = NewestWorker("test", work)
    worker.put(0)
    assert begun.wait(5)
    for item in range(1, 100):
        worker.put(item)
    go_on.set()
    wait_until(lambda: len(done) == 2)
    worker.close()
    worker.put(100)
    assert done == [0, 99]


def test_no_thread_is_left(receiver: socket.socket) -> None:
    before = set(threading.enumerate())
    listeners = open_listeners(udp=str(receiver.getsockname()[1]), websocket=str(free_port()), osc="39539")
    assert len(set(threading.enumerate()) - before) == 3
    for listener in listeners:
        listener.update(make_update(0, standing_person()))
        listener.close()
    assert set(threading.enumerate()) == before


# OSC and VMC


def receive_osc(receiver: socket.socket, until: str) -> list[OscMessage]:
    messages: list[OscMessage] = []
    while not messages or messages[-1].address != until:
        datagram = receiver.recv(65535)
        assert len(datagram) <= 1472
        for message in OscBundle(datagram):
            assert isinstance(message, OscMessage)
            messages.append(message)
    return messages


def test_osc(receiver: socket.socket) -> None:
    pose = standing_person()
    points_m, sigma_m = pose.points_m.copy(), pose.sigma_m.copy()
    points_m[BODY17.index("LeftWrist")] = np.nan
    sigma_m[0] = np.nan
    update = make_update(12, Pose3D(points_m, pose.confidence, sigma_m, BODY17, pose.timestamp_s))
    (listener,) = open_listeners(osc=str(receiver.getsockname()[1]))
    with closing(listener):
        listener.update(update)
        messages = receive_osc(receiver, "/VMC/Ext/Bone/Pos")
        while messages[-1].params[0] != "RightFoot":
            messages += receive_osc(receiver, "/VMC/Ext/Bone/Pos")
        listener.update(make_update(13, None))
        nobody = receive_osc(receiver, "/VMC/Ext/T")
    joints = {m.address.rsplit("/", 1)[1]: m.params for m in messages if m.address.startswith("/binopose/joint/")}
    assert set(joints) == set(BODY17.joints) - {"LeftWrist"}
    np.testing.assert_allclose(joints["Nose"][:3], pose.points_m[BODY17.index("Nose")], atol=1e-6)
    np.testing.assert_allclose(joints["Nose"][3:], [0.9, 0.012, 0.012, 0.012], atol=1e-6)
    assert joints["RightAnkle"][4:] == [-1, -1, -1]
    by_address = {m.address: m.params for m in messages}
    assert by_address["/binopose/frame"] == [LEFT_CAMERA, "-y"]
    assert by_address["/binopose/state"][0] == 12
    assert by_address["/binopose/state"][1] == update.timestamp_s
    assert by_address["/VMC/Ext/OK"] == [1, 3, 0, 1]
    assert by_address["/VMC/Ext/Root/Pos"] == ["root", 0, 0, 0, 0, 0, 0, 1]
    bones = {m.params[0]: m.params[1:] for m in messages if m.address == "/VMC/Ext/Bone/Pos"}
    assert set(bones) == set(PARENTS) - {"LeftLowerArm", "LeftHand"}
    assert all(len(values) == 7 for values in bones.values())
    assert {m.address for m in nobody} == {"/binopose/frame", "/binopose/state", "/VMC/Ext/OK", "/VMC/Ext/T"}
    assert {m.address: m.params for m in nobody}["/VMC/Ext/OK"] == [1, 3, 0, 0]


def test_osc_encoding() -> None:
    """Read back by another implementation; texts of every length modulo four, and what needs an end of its own."""
    texts = ["", "a", "ab", "abc", "abcd", "Übung", "zero\0inside"]
    message = OscMessage(osc_message("/a/b", "s" * len(texts) + "ifd", [*texts, -7, 0.1, 0.1]))
    assert message.address == "/a/b"
    assert message.params == [*texts[:-1], "zeroinside", -7, np.float32(0.1), 0.1]
    large = osc_message("/large", "s", ["x" * 2000])
    packets = [OscBundle(data) for data in osc_bundles([large, *[osc_message("/small", "i", [n]) for n in range(200)]])]
    assert [packet.num_contents for packet in packets] == [1, 72, 72, 56]  # 16 bytes a message, 4 its length
    assert [message.params for packet in packets[1:] for message in packet] == [[n] for n in range(200)]
    assert list(osc_bundles([])) == []


def unity_person(**options: bool) -> np.ndarray:
    return Stage().place(standing_person(**options).points_m, False, 0.0)


def test_person_who_faces_the_camera_stands_as_an_avatar_at_rest() -> None:
    """Unity: x right, y up, z forward, left-handed; an avatar at rest looks along z, its left hand along -x."""
    unity_m = unity_person()
    place = dict(zip(BODY17.joints, unity_m, strict=True))
    np.testing.assert_allclose(place["Pelvis"], [0, 0.84 + 0.08, 0], atol=1e-12)
    np.testing.assert_allclose(place["LeftWrist"], [-0.71, 0.92 + 0.45, 0], atol=1e-12)
    np.testing.assert_allclose(place["RightAnkle"], [0.1, 0.08, 0], atol=1e-12)
    np.testing.assert_allclose(place["Nose"], [0, 0.92 + 0.60, 0.1], atol=1e-12)
    for bone in avatar_bones(unity_m):
        np.testing.assert_allclose(bone.rotation_xyzw, [0, 0, 0, 1], atol=1e-12, err_msg=bone.name)


def test_arms_that_hang_are_turned_about_the_axis_forward() -> None:
    """Left-handed, about z: x goes to y. The left arm points along -x at rest: a quarter turn brings it down."""
    turned = {bone.name: bone.rotation_xyzw for bone in avatar_bones(unity_person(arms_out=False))}
    half = math.sqrt(0.5)
    np.testing.assert_allclose(turned["LeftUpperArm"], [0, 0, half, half], atol=1e-12)
    np.testing.assert_allclose(turned["RightUpperArm"], [0, 0, -half, half], atol=1e-12)
    np.testing.assert_allclose(turned["LeftLowerArm"], [0, 0, 0, 1], atol=1e-12)


def test_person_turned_to_the_own_left_turns_the_hips_alone() -> None:
    """The own left is -x in Unity's frame: forward (z) goes to -x, a quarter turn of -90 degrees about y."""
    pelvis_m = standing_person().points_m[BODY17.index("Pelvis")]
    # In the camera's frame a person who faces it (-z) has the left at +x: -z goes to +x.
    turn = np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
    points_m = (standing_person().points_m - pelvis_m) @ turn.T + pelvis_m
    bones = {bone.name: bone for bone in avatar_bones(Stage().place(points_m, False, 0.0))}
    half = math.sqrt(0.5)
    np.testing.assert_allclose(bones["Hips"].rotation_xyzw, [0, -half, 0, half], atol=1e-12)
    np.testing.assert_allclose(bones["LeftUpperArm"].rotation_xyzw, [0, 0, 0, 1], atol=1e-12)


def test_trunk_and_neck_turn_half_way() -> None:
    """Shoulders turned by 40 degrees against the hips, the head by as much again: half of each in spine and neck."""
    unity_m = unity_person()
    upper = [BODY17.index(joint) for joint in BODY17.joints if "Shoulder" in joint]
    head = [BODY17.index(joint) for joint in ("Neck", "Nose", "HeadTop")]
    turn = Rotation.from_euler("y", 40, degrees=True)
    unity_m[upper] = turn.apply(unity_m[upper])
    unity_m[head] = (turn * turn).apply(unity_m[head])
    bones = {
        bone.name: Rotation.from_quat(bone.rotation_xyzw).as_rotvec(degrees=True) for bone in avatar_bones(unity_m)
    }
    for bone in ("Spine", "Chest", "Neck", "Head"):
        np.testing.assert_allclose(bones[bone], [0, 20, 0], atol=1e-9, err_msg=bone)
    np.testing.assert_allclose(bones["Hips"], 0, atol=1e-9)


def test_room_frame_is_mirrored_to_a_left_handed_one() -> None:
    """x stays, up (z) becomes y, y becomes forward: a person who looks along y in the room looks along z."""
    to_room = np.array([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]])  # a camera that looks along -y, upright
    points_m = standing_person().points_m @ to_room.T
    assert np.linalg.det(to_room) == pytest.approx(1)
    np.testing.assert_allclose(Stage().place(points_m, True, 0.0), unity_person(), atol=1e-12)


def forward_kinematics(points_m: np.ndarray) -> dict[str, np.ndarray]:
    """Where the bones begin when a receiver chains the local transforms."""
    places: dict[str, tuple[np.ndarray, Rotation]] = {}
    for bone in avatar_bones(points_m):
        parent = PARENTS[bone.name]
        base_m, base = places[parent] if parent is not None else (np.zeros(3), Rotation.identity())
        places[bone.name] = base_m + base.apply(bone.position_m), base * Rotation.from_quat(bone.rotation_xyzw)
    return {name: place_m for name, (place_m, _) in places.items()}


BONE_BEGINS = {
    "Hips": "Pelvis",
    "Chest": "Thorax",
    "Head": "Neck",
    **{
        f"{side}{bone}": f"{side}{joint}"
        for side in ("Left", "Right")
        for bone, joint in {
            "UpperArm": "Shoulder",
            "LowerArm": "Elbow",
            "Hand": "Wrist",
            "UpperLeg": "Hip",
            "LowerLeg": "Knee",
            "Foot": "Ankle",
        }.items()
    },
}


def test_chained_bones_give_the_joints_back() -> None:
    """And a limb with the length of the person but the direction of the rotation alone ends at the same joint."""
    person = SimulatedPerson(seed=3)
    for time_s in np.linspace(0, person.period_s, 40):
        unity_m = Stage().place(person.pose_at(float(time_s)), True, 0.0)
        begins_m = forward_kinematics(unity_m)
        assert set(begins_m) == set(PARENTS)
        for bone, joint in BONE_BEGINS.items():
            np.testing.assert_allclose(begins_m[bone], unity_m[BODY17.index(joint)], atol=1e-9, err_msg=bone)
        for bone in avatar_bones(unity_m):
            if "Lower" in bone.name:  # begins straight along the rest of the bone above
                away_m = np.delete(bone.position_m, 1 if "Leg" in bone.name else 0)
                np.testing.assert_allclose(away_m, 0, atol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_any_joints_give_rotations(seed: int) -> None:
    """Also impossible people, and joints missing at random: no NaN, no bone without the one it hangs on."""
    generator = np.random.default_rng(seed)
    points_m = generator.normal(size=(17, 3))
    points_m[generator.random(17) < 0.15] = np.nan
    if seed % 4 == 0:
        points_m[generator.integers(17)] = points_m[generator.integers(17)]
    names = set()
    for bone in avatar_bones(points_m):
        assert PARENTS[bone.name] in names | {None}
        names.add(bone.name)
        assert np.isfinite(bone.position_m).all()
        assert np.linalg.norm(bone.rotation_xyzw) == pytest.approx(1)


def test_arm_straight_across_the_body() -> None:
    """The opposite of its rest, where the smallest rotation is not unique."""
    unity_m = unity_person()
    for joint in ("Elbow", "Wrist"):
        place_m = unity_m[BODY17.index(f"Left{joint}")]
        place_m[0] = unity_m[BODY17.index("LeftShoulder"), 0] + 0.3 + 0.2 * (joint == "Wrist")
    np.testing.assert_allclose(forward_kinematics(unity_m)["LeftHand"], unity_m[BODY17.index("LeftWrist")], atol=1e-9)


def test_stage_keeps_its_middle_and_follows_the_floor() -> None:
    stage, points_m = Stage(), standing_person().points_m
    assert np.isnan(stage.place(np.full((17, 3), np.nan), False, 0.0)).all()
    stage.place(points_m, False, 1.0)
    moved_m = stage.place(points_m + np.array([0.5, 0, -0.25]), False, 1.03)
    np.testing.assert_allclose(moved_m[BODY17.index("Pelvis")], [-0.5, 0.92, 0.25], atol=1e-9)
    # Both feet off the floor for a tenth of a second is a jump; half a metre down for long is a step.
    jumped_m = stage.place(points_m - np.array([0, 0.3, 0]), False, 1.13)
    assert jumped_m[BODY17.index("Pelvis"), 1] == pytest.approx(0.92 + 0.3, abs=0.02)
    below_m = np.empty((17, 3))
    for step in range(100):
        below_m = stage.place(points_m + np.array([0, 0.5, 0]), False, 1.2 + 0.033 * step)
    assert below_m[BODY17.index("Pelvis"), 1] == pytest.approx(0.92, abs=0.01)


# The examples


@pytest.fixture
def example() -> Iterator[Callable[[str, int], subprocess.Popen[str]]]:
    """Starts an example client; all are ended afterwards."""
    running: list[subprocess.Popen[str]] = []

    def start(name: str, port: int) -> subprocess.Popen[str]:
        command = [sys.executable, str(EXAMPLES / name), str(port)]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def lines_of(process: subprocess.Popen[str], listener: Listener, wanted: str) -> str:
    """Feed the client until it has printed a line that begins so; fails with its errors when it ends."""
    assert process.stdout is not None
    assert process.stderr is not None
    ended = threading.Event()
    pose = standing_person()

    def feed() -> None:
        number = 0
        while not ended.wait(0.03):
            listener.update(make_update(number, pose))
            number += 1

    feeding = threading.Thread(target=feed)
    feeding.start()
    try:
        for line in process.stdout:
            if line.startswith(wanted):
                return line.strip()
    finally:
        ended.set()
        feeding.join()
    raise AssertionError(process.stderr.read())


Example = Callable[[str, int], "subprocess.Popen[str]"]


def test_udp_example(example: Example) -> None:
    port = free_port(socket.SOCK_DGRAM)
    process = example("udp_client.py", port)
    (listener,) = open_listeners(udp=str(port))
    with closing(listener):
        line = lines_of(process, listener, "right wrist")
    assert line == "right wrist: x -0.610 y -0.150 z 3.000 m, confidence 0.90"


def test_websocket_example(example: Example) -> None:
    port = free_port()
    (listener,) = open_listeners(websocket=str(port))
    with closing(listener):
        line = lines_of(example("websocket_client.py", port), listener, "left hand")
    assert line == "left hand +0.450 m from the hips"


def test_osc_example(example: Example) -> None:
    port = free_port(socket.SOCK_DGRAM)
    process = example("osc_client.py", port)
    (listener,) = open_listeners(osc=str(port))
    with closing(listener):
        assert lines_of(process, listener, "Nose") == "Nose: x 0.100 y -0.300 z 2.900 m, confidence 0.90"
        bone = lines_of(process, listener, "bone LeftHand")
    assert bone == "bone LeftHand: position -0.250 0.000 0.000, turned 0.000 0.000 0.000 1.000"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 30


# Helpers


def wait_until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.005)


def shaken_hands(url: str, headers: dict[str, str] | None = None, expect: int = 101) -> socket.socket:
    """A connection that has become a WebSocket (or was answered with another status), with small buffers."""
    port = int(url.rsplit(":", 1)[1])
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(5)
    client.connect(("127.0.0.1", port))
    fields = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    } | (headers or {})
    client.sendall(("GET / HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n").encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += client.recv(1)
    assert answer.startswith(b"HTTP/1.1 %d" % expect), answer
    return client


def can_connect(url: str) -> bool:
    try:
        with connect(url, open_timeout=3):
            return True
    except (OSError, EOFError, WebSocketException):
        return False
