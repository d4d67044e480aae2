"""One HTML file that tells what an evaluation found, without network, fonts or scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from streamvis.eval.report import plots, tables, words
from streamvis.eval.report.pictures import (
    CLASS_COLOURS,
    FOUND,
    IGNORED,
    MISSED,
    FramePicture,
    boxes_uri,
    tiles_uri,
)
from streamvis.eval.report.roles import groups_of, probed, undisturbed
from streamvis.eval.report.style import Mark, base_name, marks_of
from streamvis.eval.report.tables import Marked
from streamvis.eval.report.tiles import TileUse, often_uri, share_plot
from streamvis.eval.result import DetectionScore, EvalResult
from streamvis.render.output_file import write_file
from streamvis.render.tile_map import ENCODED, MOVED, STALE, tiles_text

Legend: TypeAlias = list[tuple[Mark, str, str]]  # config, a figure beside its name

_NUM_OPEN_GROUPS = 3  # the plots of the other classes are folded


def write_report(
    result: EvalResult,
    pictures: Sequence[FramePicture],
    path: Path,
    tile_use: Sequence[TileUse] = (),
) -> None:
    """A complete file under `path`, or OutputError and what was there before."""
    write_file(path, render_report(result, pictures, tile_use).encode())


def render_report(
    result: EvalResult, pictures: Sequence[FramePicture], tile_use: Sequence[TileUse] = ()
) -> str:
    """The page as text."""
    template = _environment().get_template("page.html.j2")
    return template.render(
        result=result,
        pictures=_by_config(pictures),
        picture_colours={"found": FOUND, "missed": MISSED, "ignored": IGNORED},
        tile_colours={"encoded": ENCODED, "moved": MOVED, "stale": STALE},
        share_plots=_share_plots(undisturbed(result), tile_use),
        often=_often(tile_use),
        class_colours=CLASS_COLOURS,
        **_sections(result),
    )


def _sections(result: EvalResult) -> dict[str, Any]:
    """The content of each part; an empty one makes the template say why."""
    runs, probes = undisturbed(result), probed(result)
    groups = groups_of(runs)
    group = groups[0] if groups else "vehicle"
    tracked = [name for name in groups if any(name in run.tracking for _, run in runs)]
    return {
        "runs": runs,
        "shown": [run.name for _, run in runs],  # whose frames are not folded
        "legend": [(mark, run.name, "") for mark, run in runs],
        "group": group,
        "groups": groups,
        "num_open": _NUM_OPEN_GROUPS,
        "verdicts": words.verdicts(runs, group),
        "facts": words.facts(result),
        "evidence": words.evidence(result),
        "main": tables.main_table(runs, group),
        "by_class": tables.class_table(runs, groups),
        "cost_plots": _cost_plots(runs, group),
        "precision_plots": _precision_plots(runs, groups),
        "calibration_plots": _calibration_plots(runs, groups),
        "latency": _latency_plot(runs),
        "streaming": tables.streaming_table(runs, group),
        "streaming_plot": _streaming_plot(runs, group),
        "tracking": tables.tracking_table(runs, tracked),
        "embedding": tables.embedding_table(runs),
        "probes": tables.probe_table(probes, group),
        "probe_plot": _probe_plot(result, group),
    }


def _cost_plots(runs: Marked, group: str) -> list[Markup]:
    scored = [(mark, run) for mark, run in runs if group in run.detection]
    timed: plots.Points = [
        (mark, time_ms, run.detection[group])
        for mark, run in scored
        if (time_ms := tables.compute_ms(run)) is not None
    ]
    counted: plots.Points = [
        (mark, run.cost.gflops_per_frame, run.detection[group])
        for mark, run in scored
        if run.cost.gflops_per_frame is not None
    ]
    titles = {"cost-ms": "encode + detect, ms a frame", "cost-gflop": "GFLOP a frame"}
    return [
        plots.cost_plot(name, points, title, group)
        for (name, title), points in zip(titles.items(), (timed, counted), strict=True)
        if len(points) > 1
    ]


def _precision_plots(runs: Marked, groups: Sequence[str]) -> list[Markup]:
    return [
        plots.precision_plot(f"precision-{number}", curves, group)
        for number, group in enumerate(groups)
        if (curves := [(m, run.detection[group]) for m, run in runs if group in run.detection])
    ]


def _calibration_plots(runs: Marked, groups: Sequence[str]) -> list[tuple[Markup, Legend]]:
    """One for every group that has detections, with the configs' calibration errors."""
    found = []
    for number, group in enumerate(groups):
        shown = [(m, run, run.calibration[group]) for m, run in runs if group in run.calibration]
        shown = [(mark, run, it) for mark, run, it in shown if it.count.sum()]
        if shown:
            points = [(mark, it) for mark, _, it in shown]
            plot = plots.calibration_plot(f"calibration-{number}", points, group)
            found.append((plot, [(mark, run.name, f"ECE {it.ece:.3f}") for mark, run, it in shown]))
    return found


def _latency_plot(runs: Marked) -> Markup | None:
    timed = [(mark, run.cost.latency_ms) for mark, run in runs if len(run.cost.latency_ms)]
    return plots.latency_plot("latency", timed) if timed else None


def _streaming_plot(runs: Marked, group: str) -> Markup | None:
    streamed = [
        (mark, run.detection[group], run.streaming.detection[group])
        for mark, run in runs
        if run.streaming and group in run.detection and group in run.streaming.detection
    ]
    return plots.streaming_plot("streaming", streamed, group) if streamed else None


def _probe_plot(result: EvalResult, group: str) -> tuple[Markup, Legend] | None:
    """Every config that was probed and its dense twin, undisturbed and under each probe."""
    marks = marks_of(result)
    names = dict.fromkeys(base_name(run) for run in result.configs if run.probe)
    scores: dict[str, dict[str, DetectionScore]] = {name: {} for name in names}
    for run in result.configs:
        if base_name(run) in names and group in run.detection:
            scores[base_name(run)][run.probe or "undisturbed"] = run.detection[group]
    runs = [(marks[name], found) for name, found in scores.items() if found]
    legend = [(marks[name], name, "") for name, found in scores.items() if found]
    return (plots.probe_plot("probes", runs, group), legend) if runs else None


def _share_plots(runs: Marked, tile_use: Sequence[TileUse]) -> list[Markup]:
    """One for each camera, if there is a run that reuses tiles."""
    marks = {run.name: mark for mark, run in runs}
    shown = [use for use in tile_use if use.config in marks]
    cameras = dict.fromkeys(use.camera for use in shown if use.is_reused)
    return [
        share_plot(
            f"tiles-{number}",
            [(marks[use.config], use) for use in shown if use.camera == camera],
            camera,
        )
        for number, camera in enumerate(cameras)
    ]


def _often(tile_use: Sequence[TileUse]) -> list[tuple[str, list[tuple[str, str]]]]:
    """By config, each camera's map and the words below it."""
    reused = [use for use in tile_use if use.is_reused]
    return [
        (config, [(often_uri(use), use.words) for use in uses])
        for config, uses in groupby(reused, key=lambda use: use.config)
    ]


def _by_config(pictures: Sequence[FramePicture]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Pictures in the order given, under their config's name."""
    return [
        (config, [_figure(frame) for frame in frames])
        for config, frames in groupby(pictures, key=lambda frame: frame.config)
    ]


def _figure(frame: FramePicture) -> dict[str, Any]:
    is_mapped = frame.is_reused and frame.tiles is not None
    return {
        "frame": frame,
        "boxes": boxes_uri(frame),
        "tiles": tiles_uri(frame) if is_mapped else None,
        "tiles_text": tiles_text(frame.tiles) if is_mapped and frame.tiles is not None else "",
    }


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("streamvis.eval.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["pretty"] = _pretty
    environment.filters["words"] = lambda name: str(name).replace("_", " ")
    return environment


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
