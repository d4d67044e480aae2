"""`streamvis probe`: what a camera sends, what it costs to decode, and what will be slow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from streamvis.encode.config import EncoderConfig
from streamvis.source.config import LiveConfig
from streamvis.source.probe import ProbeReport, probe


def probe_uri(
    uri: Annotated[
        str, typer.Argument(help="rtsp://, http(s)://, udp://, /dev/video0, or a video file.")
    ],
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to look.")] = 5.0,
    transport: Annotated[str, typer.Option(help="Of RTSP: tcp or udp.")] = "tcp",
    tls_verify: Annotated[
        bool, typer.Option(help="Refuse a certificate that no authority signed.")
    ] = True,
    timeout: Annotated[str, typer.Option(help="Give up when nothing comes for so long.")] = "5s",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Look at a camera or video: codec, real frame rate, key frames, times, cost of decoding.

    Exit code 3 if it cannot be read. SRT is not read: PyAV's FFmpeg is built without it.
    """
    try:
        live = LiveConfig.model_validate(
            {"transport": transport, "timeout": timeout, "tls_verify": tls_verify}
        )
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"]) from None
    report = probe(uri, live, seconds, EncoderConfig().input_size)
    if as_json:
        print(json.dumps(asdict(report), indent=2))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in _rows(report):
        table.add_row(name, value)
    console = Console(highlight=False, soft_wrap=True)
    console.print(report.uri, markup=False)
    console.print(table)
    for line in report.advice:
        console.print(f"note: {line}", markup=False)


def _rows(report: ProbeReport) -> Iterator[tuple[str, str]]:
    codec = f"{report.codec} {report.profile}".strip()
    yield "video", f"{codec}, {report.pixel_format}, {report.width}x{report.height}"
    declared = f"{report.declared_fps:g} declared" if report.declared_fps else "none declared"
    yield "frame rate", f"{report.fps:.2f} /s measured, {declared}"
    yield "bit rate", f"{report.bit_rate_kbps:.0f} kbit/s"
    gop = f"{report.gop_frames} frames, {report.gop_s:.2f} s" if report.gop_frames else "not seen"
    yield "key frames", f"at most apart: {gop}"
    yield "B-frames", "yes" if report.has_b_frames else "no"
    yield "motion vectors", "yes" if report.has_motion_vectors else "no"
    yield "capture time", f"{report.capture_source}, ±{report.capture_uncertainty_ms:.0f} ms"
    yield "opened after", f"{report.open_s:.2f} s, first picture {report.first_picture_s:.2f} s"
    yield "decode + scale", f"p50 {report.decode_ms_p50:.2f} ms, p99 {report.decode_ms_p99:.2f} ms"
    yield "seen", f"{report.num_packets} packets, {report.num_pictures} pictures"
