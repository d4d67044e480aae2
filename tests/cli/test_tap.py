from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from time import monotonic_ns

import pytest
import typer
from endpoint import Endpoint, endpoint
from typer.testing import CliRunner, Result
from wire_samples import make_messages, make_result

from streamvis.cli.tap import describe, tap, to_plain
from streamvis.errors import AddressError

app = typer.Typer()
app.command()(tap)


def tap_while_publishing(e: Endpoint, *options: str, frames: int = 2) -> Result:
    """Run the command against a pipeline that publishes some frames and stops."""

    def publish() -> None:
        e.proxy.wait_for_subscribers(1, 20)
        with e.publisher() as publisher:
            for i in range(frames):
                publisher.send(make_result(i))
                publisher.send_image("front", i, b"jpeg")
        e.proxy.stop()

    worker = threading.Thread(target=publish)
    worker.start()
    result = CliRunner().invoke(app, [e.proxy.address, "--timeout", "20", *options])
    worker.join()
    return result


def test_a_line_a_message_until_the_pipeline_stops(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e:
        result = tap_while_publishing(e, "--kind", "det", "--kind", "img")
    assert result.exit_code == 0
    found, picture, *_ = result.stdout.splitlines()
    assert "front" in found
    assert "2 objects car#7 0.75 person 0.50" in found
    assert "frame 0 JPEG" in picture
    assert len(result.stdout.splitlines()) == 4


def test_json_is_one_object_a_line(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e:
        result = tap_while_publishing(e, "--json", "--kind", "det", "--kind", "emb")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [r["kind"] for r in records] == ["det", "emb"] * 2
    assert records[0]["detections"]["xyxy"][0] == [10, 20, 30, 40.5]
    assert (records[1]["dim"], len(records[1]["embedding"])) == (64, 8)


def test_full_prints_whole_embeddings(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e:
        result = tap_while_publishing(e, "--json", "--full", "--kind", "emb")
    assert len(json.loads(result.stdout.splitlines()[0])["embedding"]) == 64


def test_every_kind_has_a_line() -> None:
    for message in make_messages().values():
        assert " ".join(describe(message)).strip()
        json.dumps(to_plain(message))


def test_the_age_of_a_result_is_told(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e:
        result = tap_while_publishing(e)
    assert re.search(r"frame 1 age \d+ ms", result.stdout)


def test_the_age_of_another_hosts_result_is_a_bound(tmp_path: Path, monkeypatch) -> None:
    for module in ("cli.tap", "client.clocks"):  # for this reader the pipeline is elsewhere
        monkeypatch.setattr(f"streamvis.{module}.local_clock_id", lambda: "here")
    with endpoint(tmp_path) as e:
        result = tap_while_publishing(e)
    assert re.search(r"frame 1 age ≥ \d+ ms", result.stdout), "no better than `age ?`"


def test_count_ends_it(tmp_path: Path) -> None:
    with endpoint(tmp_path) as e:
        result = tap_while_publishing(e, "--count", "1")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)


def test_nothing_within_the_timeout_is_exit_code_5(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [f"ipc://{tmp_path}/nobody", "--timeout", "0.02"])
    assert isinstance(result.exception, AddressError)
    assert result.exception.exit_code == 5
    assert "nothing came from" in str(result.exception)


@pytest.mark.parametrize("option", [("--kind", "dets"), ("--camera", "a/b")])
def test_a_bad_filter_is_a_usage_error(option: tuple[str, str]) -> None:
    assert CliRunner().invoke(app, ["tcp://127.0.0.1:7700", *option]).exit_code == 2


def test_ages_of_another_hosts_results_are_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("streamvis.client.clocks.local_clock_id", lambda: "elsewhere")
    with endpoint(tmp_path) as e:

        def publish() -> None:
            e.proxy.wait_for_subscribers(1, 20)
            with e.publisher() as publisher:
                while not over.is_set():
                    publisher.send(make_result(0, t_ingest_ns=monotonic_ns()))
                    over.wait(0.02)

        over, worker = threading.Event(), threading.Thread(target=publish)
        worker.start()
        try:
            options = ["--timeout", "20", "--count", "20"]
            result = CliRunner().invoke(app, [e.proxy.address, *options])
        finally:
            over.set()
            worker.join()
    lines = result.stdout.splitlines()
    assert len(lines) == 20
    assert "age ?" not in lines[-1]
    assert " ms " in lines[-1]
