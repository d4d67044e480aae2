"""`streamvis tap`: see what a pipeline publishes, a line a message."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from fractions import Fraction
from itertools import islice
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from streamvis.cli.options import OwnKey, ServerKey, client_keys
from streamvis.client import (
    AnyMessage,
    DetMessage,
    EmbMessage,
    Heartbeat,
    ImgMessage,
    InfoMessage,
    PlanMessage,
    SemMessage,
    StatMessage,
    Subscriber,
    SyncMessage,
    VidMessage,
)
from streamvis.errors import AddressError
from streamvis.types import Embeddings
from streamvis.wire import KINDS, FrameMessage

_SHORT = 8  # values of an embedding that are shown unless all are asked for
_MAX_OBJECTS = 6


def tap(
    address: Annotated[str, typer.Argument(help="tcp://HOST:PORT or ipc:///PATH.")],
    kind: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(KINDS)}; repeatable.")
    ] = None,
    camera: Annotated[list[str] | None, typer.Option(help="Only this one; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Whole vectors in the JSON.")] = False,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many messages.")] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Fail if nothing comes for so many seconds.")
    ] = None,
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Begin with the newest message of each topic.")
    ] = False,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="Read from the pipeline's store, without a gap.")
    ] = False,
    server_key: ServerKey = None,
    own_key: OwnKey = None,
) -> None:
    """Print messages until the pipeline stops. Exit code 5 if nothing comes within --timeout."""
    show = _print_json if as_json else _print_line
    try:
        subscriber = Subscriber(
            address,
            kinds=kind or ("det",),
            cameras=camera,
            timeout_ms=None if timeout is None else timeout * 1000,
            snapshot=snapshot,
            lossless=lossless,
            keys=client_keys(server_key, own_key),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    with subscriber:
        try:
            for message in islice(subscriber, count):
                show(message, subscriber, full)
        except TimeoutError as error:
            raise AddressError(str(error)) from None
        except BrokenPipeError:  # piped into `head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:
            return


def _print_json(message: AnyMessage, subscriber: Subscriber, full: bool) -> None:
    del subscriber
    record = {"kind": message.kind, "topic": message.topic, **to_plain(message)}
    if isinstance(message, EmbMessage):
        record["dim"] = len(message.embedding)
        record["embedding"] = record["embedding"][: None if full else _SHORT]
        if not full:
            record["more"] = _shapes(message.more)
    if isinstance(message, SemMessage) and not full:
        del record["tokens"]["vectors"]
    print(json.dumps(record), flush=True)


def _print_line(message: AnyMessage, subscriber: Subscriber, full: bool) -> None:
    del full
    age_ms = subscriber.age_ms(message) if isinstance(message, FrameMessage) else None
    head = f"{message.camera:<12} {message.kind:<4} {message.seq:>6}  "
    _console.print(head + " ".join(describe(message, age_ms)), markup=False, soft_wrap=True)


_console = Console(highlight=False)


def to_plain(value: Any) -> Any:
    """A message as what JSON knows; pictures as their size."""
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Fraction):
        return [value.numerator, value.denominator]
    if isinstance(value, bytes):
        return {"num_bytes": len(value)}
    return value


def describe(message: AnyMessage, age_ms: float | None = None) -> Iterable[str]:
    """What a person wants to know of it."""
    if isinstance(message, FrameMessage):
        yield f"frame {message.frame_index}"
        yield "age ?" if age_ms is None else f"age {age_ms:.0f} ms"
    match message:
        case DetMessage():
            yield from _describe_objects(message)
        case EmbMessage():
            yield f"[{len(message.embedding)}] {message.embedding.dtype} of {message.model.name}"
            yield from (f"{name} {shape}" for name, shape in _shapes(message.more).items())
        case SemMessage():
            tokens = message.tokens
            most = tokens.codes[np.argsort(-tokens.share)][:_MAX_OBJECTS]
            yield f"{len(tokens.codes)} tokens [{tokens.vectors.shape[1]}], largest: codes"
            yield ", ".join(map(str, most))
        case ImgMessage():
            yield f"frame {message.frame_index} JPEG {len(message.jpeg) / 1024:.0f} KiB"
        case VidMessage():
            unit = message.unit
            width, height = unit.size
            yield f"unit {unit.index} {unit.codec} {width}x{height} {len(unit.data) / 1024:.1f} KiB"
            yield "key" if unit.is_key else ""
        case PlanMessage():
            plan = message.plan
            yield f"frame {message.frame_index} {plan.kind}, {len(plan.index)} of {plan.num_tiles}"
            yield f"tiles, batch {message.batch}"
        case InfoMessage():
            yield f"{message.model.name if message.model else 'no result yet'};"
            yield ", ".join(
                f"{n} {c.codec} {c.width}x{c.height}" for n, c in message.cameras.items()
            )
        case StatMessage():
            yield f"{message.state} {message.fps:.1f} fps, p50 {_ms(message.latency_p50_ms)},"
            yield f"p99 {_ms(message.latency_p99_ms)}, lost {sum(message.ledger.lost.values())}"
            yield f"({message.error})" if message.error else ""
        case SyncMessage():
            state = "complete" if message.is_complete else "incomplete"
            members = (f"{name} {m.frame_index}" for name, m in message.members.items())
            yield f"{state}, skew {message.skew_ns / 1e6:.1f} ms: {', '.join(members)}"
        case Heartbeat():
            cameras = (f"{name} {camera.state}" for name, camera in message.cameras.items())
            yield "stopped" if message.is_stopped else "alive"
            yield ", ".join(cameras)


def _describe_objects(message: DetMessage) -> Iterable[str]:
    found, classes = message.detections, message.model.classes
    yield f"{len(found)} objects"
    for i in range(min(len(found), _MAX_OBJECTS)):
        name = classes[found.class_id[i]] if found.class_id[i] < len(classes) else "?"
        track = f"#{found.track_id[i]}" if found.track_id[i] >= 0 else ""
        yield f"{name}{track} {found.score[i]:.2f}"
    if len(found) > _MAX_OBJECTS:
        yield "…"


def _shapes(more: Embeddings) -> dict[str, Any]:
    """What came beside the frame's vector, by name; a clip's times as they are."""
    found = {name: value for name, value in vars(more).items() if value is not None}
    return {name: list(getattr(value, "shape", value)) for name, value in found.items()}


def _ms(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f} ms"
