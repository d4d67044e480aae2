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
def test_other_hosts_need_the_word_insecure(host: str) -> None:
    address = f"pub+bind:tcp://{host}:7700"
    with pytest.raises(ValidationError, match=r"CURVE.* is not there yet.*insecure: true"):
        PublishConfig(address=address)
    assert not PublishConfig(address=address, insecure=True).endpoint.is_local


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
