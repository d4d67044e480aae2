"""`streamvis record`: record a pipeline that runs, from outside."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from streamvis.cli.options import OwnKey, ServerKey, client_keys, print_error
from streamvis.cli.run import describe_recording
from streamvis.cli.stop import stop_signals
from streamvis.client import ClientKeys, Subscriber
from streamvis.errors import AddressError
from streamvis.record.config import RecordConfig
from streamvis.record.recorder import Recorder

_POLL_S = 0.1
_PATIENCE_MS = 10_000.0  # for the first heartbeat, which comes every second


def record(
    address: Annotated[str, typer.Argument(help="tcp://HOST:PORT or ipc:///PATH.")],
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="A new folder is made in it.")
    ] = Path("recordings"),
    keep: Annotated[
        str | None, typer.Option(help="Delete this pipeline's segments that are older, e.g. 24h.")
    ] = None,
    min_free: Annotated[
        str, typer.Option(help="Space to leave on the disk: the oldest segments go first.")
    ] = "1GB",
    segment: Annotated[str, typer.Option(help="How much one file holds.")] = "10min",
    duration: Annotated[
        float | None, typer.Option(min=0.1, help="End after so many seconds.")
    ] = None,
    server_key: ServerKey = None,
    own_key: OwnKey = None,
) -> None:
    r"""Record what a pipeline publishes, until it stops or Ctrl-C.

    Bitstreams and plans are published only if the pipeline records, or if its file says
    `publish: {address: ..., opt_in: \[vid, plan]}`.
    """
    config = _config(folder, keep, min_free, segment)
    keys = client_keys(server_key, own_key)
    pipeline = _pipeline_at(address, keys)
    with stop_signals() as stop:
        recorder = Recorder(config, address, pipeline, keys=keys)
        recorder.start()
        print(f"recording {pipeline} into {recorder.summary.path}", flush=True)
        deadline = None if duration is None else time.monotonic() + duration
        while recorder.is_running and not stop.is_requested():
            if deadline is not None and time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        recorder.stop()
        recorder.join()
    print(describe_recording(recorder.summary))
    if not recorder.has_video:
        print("no video came: the pipeline publishes none; set publish.opt_in: [vid, plan] there")
    if recorder.error:
        print_error(recorder.error)
        raise typer.Exit(recorder.error.exit_code)


def _config(folder: Path, keep: str | None, min_free: str, segment: str) -> RecordConfig:
    wishes = {"dir": folder.resolve(), "keep": keep, "min_free": min_free, "segment": segment}
    try:
        return RecordConfig.model_validate(wishes)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise typer.BadParameter(f"{option}: {first['msg']}") from None


def _pipeline_at(address: str, keys: ClientKeys | None) -> str:
    """Who publishes there: its heartbeat says so. Raises AddressError if nobody does."""
    with Subscriber(address, ("hb",), timeout_ms=_PATIENCE_MS, keys=keys) as heartbeats:
        try:
            return next(heartbeats).pipeline
        except StopIteration:
            raise AddressError(f"{address}: the pipeline stopped already. Start it.") from None
        except TimeoutError as error:
            raise AddressError(str(error)) from None
