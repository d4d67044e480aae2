"""The control socket, and how the command line finds it."""

from __future__ import annotations

import json
import os
import stat
import tracemalloc

import pytest
import zmq
from matrix import contract
from session_twin import TwinSession

from streamvis.errors import AddressError, ControlError
from streamvis.serve.control_socket import ControlSocket, ask
from streamvis.serve.desk import Desk
from streamvis.serve.guard import MAX_REQUEST_BYTES
from streamvis.serve.places import find_session, own_place, private_folder


@pytest.fixture
def control(tmp_path):
    session = TwinSession()
    with ControlSocket(Desk(session), f"ipc://{tmp_path}/c") as control:
        control.session = session
        yield control


def test_orders_reach_the_session_and_errors_come_back(control):
    assert ask(control.address, {"verb": "list"})["sources"]["a"]["state"] == "live"
    ask(control.address, {"verb": "restart", "name": "a"})
    assert control.session.orders == [("restart", "a")]
    with pytest.raises(ControlError, match="there is no camera x") as caught:
        ask(control.address, {"verb": "remove", "name": "x"})
    assert caught.value.exit_code == 11
    with pytest.raises(ControlError, match="one of: list, add"):
        ask(control.address, {"verb": "rm -rf"})


def test_the_file_is_this_users_only_and_goes_with_the_session(tmp_path):
    with ControlSocket(Desk(TwinSession()), f"ipc://{tmp_path}/c"):
        assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o600
    assert not (tmp_path / "c").exists()


def test_an_address_that_others_can_reach_is_refused():
    with pytest.raises(AddressError, match="other hosts"):
        ControlSocket(Desk(TwinSession()), "tcp://0.0.0.0:0")


def send_raw(address: str, parts: list[bytes]) -> dict[str, object] | None:
    """The answer to these bytes; None when it hangs up."""
    with zmq.Context.instance().socket(zmq.REQ) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(address)
        socket.send_multipart(parts)
        return json.loads(socket.recv()) if socket.poll(2000) else None


@contract("hostile_bytes", "g")
def test_hostile_bytes_get_an_error_and_the_next_request_its_answer(control):
    for parts in ([b""], [b"\x00" * 100], [b"[" * 60_000], [b"1", b"2"], [b"null"]):
        answer = send_raw(control.address, parts)
        assert answer is not None
        assert answer["ok"] is False
    assert send_raw(control.address, [b"x" * (100 << 20)]) is None, "it hangs up unread"
    assert ask(control.address, {"verb": "list"})["pipeline"] == "twin"


@contract("hostile_bytes", "g")
def test_a_request_of_many_parts_is_refused_and_never_put_together(control):
    parts = [b" " * MAX_REQUEST_BYTES] * 1000  # 66 MB; MAXMSGSIZE knows each part by itself
    tracemalloc.start()
    answer = send_raw(control.address, parts)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer == {"ok": False, "error": "a request has one part", "exit_code": 11}
    assert peak_bytes < 5_000_000
    assert ask(control.address, {"verb": "list"})["pipeline"] == "twin"


def test_nobody_there_is_one_sentence(tmp_path):
    with pytest.raises(ControlError, match="no session answers"):
        ask(f"ipc://{tmp_path}/nobody", {"verb": "list"}, patience_s=0.2)


def test_sessions_of_this_user_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(ControlError, match="start one with `streamvis run`"):
        find_session(None)
    place = own_place("front")
    place.path.touch()
    assert find_session(None) == find_session("front") == find_session(str(os.getpid()))
    (place.path.parent / "1-rear.control").touch()  # init lives for ever
    with pytest.raises(ControlError, match="several sessions"):
        find_session(None)
    with pytest.raises(ControlError, match="no session left"):
        find_session("left")
    assert find_session("ipc:///x") == "ipc:///x"
    (place.path.parent / "999999999-dead.control").touch()
    own_place("front")
    assert not (place.path.parent / "999999999-dead.control").exists()


def test_a_folder_that_others_may_look_into_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    private_folder().chmod(0o755)
    with pytest.raises(AddressError, match="open to others"):
        own_place("front")
