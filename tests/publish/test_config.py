from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from streamvis.publish.config import PublishConfig


@pytest.mark.parametrize(
    "address",
    [
        "pub+bind:tcp://127.0.0.1:7700",
        "pub+bind:tcp://localhost:0",
        "tcp://[::1]:7700",
        "pub+bind:ipc:///run/streamvis.sock",
    ],
)
def test_addresses_on_this_host_are_fine(address: str) -> None:
    assert PublishConfig(address=address).endpoint.is_local


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "192.168.1.7", "camera-server"])
def test_other_hosts_need_keys_or_the_word_insecure(host: str) -> None:
    address = f"pub+bind:tcp://{host}:7700"
    with pytest.raises(ValidationError, match=r"`key` and `allow` .*insecure: true"):
        PublishConfig(address=address)
    with pytest.raises(ValidationError, match=r"`key` and `allow` .*insecure: true"):
        PublishConfig(service=address)
    assert not PublishConfig(address=address, insecure=True).endpoint.is_local
    assert PublishConfig(address=address, key="me.key_secret", allow="keys").key
    said = PublishConfig.model_validate({"address": address}, context={"insecure": True})
    assert PublishConfig.model_validate_json(said.model_dump_json()) == said


def test_a_key_without_an_allow_list_is_refused() -> None:
    for half in ({"key": "me.key_secret"}, {"allow": "keys"}):
        with pytest.raises(ValidationError, match="go together"):
            PublishConfig.model_validate(half)


@pytest.mark.parametrize(
    ("address", "service"),
    [
        ("tcp://127.0.0.1:7700", "tcp://127.0.0.1:0"),
        ("ipc:///run/sv", "ipc:///run/sv.service"),
        ("tcp://[::1]:7700", "tcp://[::1]:0"),
    ],
)
def test_the_service_lies_beside_the_address(address: str, service: str) -> None:
    assert PublishConfig(address=address).service_endpoint.endpoint == service
    assert PublishConfig(address=address, service="ipc:///x").service_endpoint.ipc_path == "/x"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("7700", "not an address"),
        ("tcp://127.0.0.1", "not an address"),
        ("tcp://127.0.0.1:70000", "not an address"),
        ("http://127.0.0.1:80", "not an address"),
        ("sub+connect:tcp://127.0.0.1:7700", "write pub\\+bind:tcp"),
        ("pub+connect:tcp://127.0.0.1:7700", "write pub\\+bind:tcp"),
        ("inproc://results", "no other process"),
    ],
)
def test_bad_addresses_are_explained(address: str, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        PublishConfig(address=address)


def test_reading_the_config_loads_neither_zmq_nor_torch() -> None:
    code = (
        "import sys, streamvis.publish.config; sys.exit(bool({'zmq','torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
