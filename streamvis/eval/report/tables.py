"""The report's tables as rows of text; the template only lays them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamvis.eval.report.roles import Probed
from streamvis.eval.report.style import Mark
from streamvis.eval.result import (
    ConfigResult,
    DetectionScore,
    Difference,
    EmbeddingScore,
    Interval,
)

NONE = "–"


@dataclass(frozen=True)
class Cell:
    text: str
    small: str = ""  # beneath the figure
    tone: str = ""  # "better" or "worse" where the interval excludes 0


@dataclass(frozen=True)
class Row:
    name: str
    mark: Mark | None
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Group:
    title: str
    details: str
    rows: Sequence[Row]


@dataclass(frozen=True)
class Table:
    columns: Sequence[str]
    groups: Sequence[Group]
    spans: Sequence[tuple[str, int]] = field(default_factory=tuple)  # heads above the columns


Marked: TypeAlias = Sequence[tuple[Mark, ConfigResult]]


def main_table(runs: Marked, group: str) -> Table:
    """Accuracy and cost of every config side by side."""
    others = [name for name in ("person",) if name != group and _any_has(runs, name)]
    accuracy: dict[str, Callable[[ConfigResult], Cell]] = {
        f"{group} AP50": lambda run: score_cell(run.detection.get(group), "AP50"),
        "to the first": lambda run: difference_cell(run.detection.get(group), "AP50"),
        **{f"{name} AP50": _score_column(name) for name in others},
        f"{group} sAP50": lambda run: score_cell(_streamed(run, group), "AP50"),
        f"{group} HOTA": lambda run: _tracked_cell(run, group),
        "embedding cosine": _cosine_cell,
    }
    cost: dict[str, Callable[[ConfigResult], Cell]] = {
        "tiles encoded": lambda run: Cell(encoded_share(run)),
        "GFLOP a frame": lambda run: Cell(number(run.cost.gflops_per_frame)),
        "encode ms": lambda run: _median_cell(run.cost.encode_ms),
        "detect ms": lambda run: _median_cell(run.cost.detect_ms),
        "latency ms": _latency_cell,
        "memory MB": lambda run: Cell(number(run.cost.memory_mb, digits=0)),
    }
    makers = [*accuracy.values(), *cost.values()]
    rows = [Row(run.name, mark, [make(run) for make in makers]) for mark, run in runs]
    spans = [("accuracy", len(accuracy)), ("cost", len(cost))]
    return Table([*accuracy, *cost], [Group("", "", rows)], spans)


def class_table(runs: Marked, groups: Sequence[str]) -> Table:
    names = ("AP50", "AP", "AP75", "AP_small", "AP_medium", "AP_large")
    parts = []
    for group in groups:
        scores = [(mark, run, run.detection[group]) for mark, run in runs if group in run.detection]
        rows = [
            Row(
                run.name,
                mark,
                [*(score_cell(score, name) for name in names), difference_cell(score, "AP50")],
            )
            for mark, run, score in scores
        ]
        parts.append(Group(group, _labelled(scores[0][2]), rows))
    heads = ("AP50", "AP", "AP75", "AP small", "AP medium", "AP large", "AP50 to the first")
    return Table(heads, parts)


def streaming_table(runs: Marked, group: str) -> Table:
    rows = []
    for mark, run in runs:
        offline, streamed, stream = run.detection.get(group), _streamed(run, group), run.streaming
        if stream is None:
            continue
        cells = [
            score_cell(offline, "AP50"),
            score_cell(streamed, "AP50"),
            Cell(signed(streamed.AP50 - offline.AP50) if offline and streamed else NONE),
            Cell(percent(stream.processed_share)),
            Cell(number(stream.staleness_p50_ms)),
            Cell(number(stream.staleness_p99_ms)),
            Cell(f"× {stream.speed_factor:g}"),
        ]
        rows.append(Row(run.name, mark, cells))
    heads = (f"{group} AP50 offline", f"{group} AP50 streaming", "lost to latency")
    more = ("frames processed", "staleness p50 ms", "staleness p99 ms", "machine speed")
    return Table((*heads, *more), [Group("", "", rows)])


def tracking_table(runs: Marked, groups: Sequence[str]) -> Table:
    parts = []
    for group in groups:
        scores = [(mark, run, run.tracking[group]) for mark, run in runs if group in run.tracking]
        rows = []
        for mark, run, it in scores:
            placed = it.LocA if it.DetA else None  # 1.0 by convention where nothing was found
            shares = (it.HOTA, it.DetA, it.AssA, placed, it.MOTA, it.IDF1)
            counts = (it.num_switches, it.num_false, it.num_missed)
            cells = [*(Cell(score(x)) for x in shares), *(Cell(count(n)) for n in counts)]
            rows.append(Row(run.name, mark, cells))
        parts.append(Group(group, _plural(scores[0][2].num_tracks, "labelled track"), rows))
    heads = ("HOTA", "DetA", "AssA", "LocA", "MOTA", "IDF1")
    return Table((*heads, "id switches", "false boxes", "missed boxes"), parts)


def embedding_table(runs: Marked) -> Table:
    found = [(mark, run, run.embedding) for mark, run in runs if run.embedding]
    rows = [
        Row(run.name, mark, [Cell(it.reference), *(Cell(f"{x:.4f}") for x in _cosines(it))])
        for mark, run, it in found
    ]
    return Table(("compared with", "median", "p1", "min"), [Group("", "", rows)])


def probe_table(probed: Sequence[Probed], group: str) -> Table:
    probes = list(dict.fromkeys(str(it.run.probe) for it in probed))
    parts = [
        Group(probe, "", [_probe_row(it, group) for it in probed if it.run.probe == probe])
        for probe in probes
    ]
    heads = ("undisturbed", "disturbed", "change", "dense, disturbed")
    more = ("tiles undisturbed", "tiles disturbed", "embedding cosine")
    return Table((*(f"AP50 {head}" for head in heads), *more), parts)


def score_cell(scores: DetectionScore | None, name: str) -> Cell:
    if scores is None:
        return Cell(NONE)
    return Cell(score(getattr(scores, name)), _brackets(scores.intervals.get(name)))


def difference_cell(scores: DetectionScore | None, name: str) -> Cell:
    difference = scores.differences.get(name) if scores else None
    if difference is None:
        return Cell(NONE)
    interval = difference.interval
    small = f"[{signed(interval.low)}, {signed(interval.high)}]" if interval else ""
    return Cell(signed(difference.value), small, tone(difference))


def tone(difference: Difference) -> str:
    """What the interval lets us say: "better", "worse" or nothing."""
    interval = difference.interval
    if interval is None or interval.low <= 0 <= interval.high:
        return ""
    return "better" if interval.low > 0 else "worse"


def score(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}".replace("-", "−")


def signed(value: float) -> str:
    text = f"{value:+.3f}".replace("-", "−")
    return "0.000" if text[1:] == "0.000" else text


def number(value: float | None, digits: int = 1) -> str:
    return NONE if value is None else f"{value:,.{digits}f}".replace(",", " ")


def count(value: int | None) -> str:
    return number(value, digits=0)


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def compute_ms(run: ConfigResult) -> float | None:
    """Median time to encode and detect a frame; None: not timed."""
    times_ms = run.cost.encode_ms + run.cost.detect_ms
    return float(np.median(times_ms)) if len(times_ms) else None


def encoded_share(run: ConfigResult) -> str:
    """Of its tiles; a run without an encoder has none."""
    cost, encoder = run.cost, run.config.get("encoder") or {}
    if not cost.tiles_total or encoder.get("name") == "none":
        return NONE
    return percent(cost.tiles_encoded / cost.tiles_total)


def _probe_row(it: Probed, group: str) -> Row:
    before, after = (run.detection.get(group) if run else None for run in (it.base, it.run))
    cells = [
        score_cell(before, "AP50"),
        score_cell(after, "AP50"),
        _change_cell(it, group),
        score_cell(it.dense.detection.get(group) if it.dense else None, "AP50"),
        Cell(encoded_share(it.base) if it.base else NONE),
        Cell(encoded_share(it.run)),
        _cosine_cell(it.run),
    ]
    return Row(it.name, it.mark, cells)


def _change_cell(it: Probed, group: str) -> Cell:
    before, after = (run.detection.get(group) if run else None for run in (it.base, it.run))
    if it.is_first and after and "AP50" in after.differences:
        return difference_cell(after, "AP50")
    return Cell(signed(after.AP50 - before.AP50) if before and after else NONE)


def _any_has(runs: Marked, group: str) -> bool:
    return any(group in run.detection for _, run in runs)


def _score_column(name: str) -> Callable[[ConfigResult], Cell]:
    return lambda run: score_cell(run.detection.get(name), "AP50")


def _streamed(run: ConfigResult, group: str) -> DetectionScore | None:
    return run.streaming.detection.get(group) if run.streaming else None


def _tracked_cell(run: ConfigResult, group: str) -> Cell:
    tracked = run.tracking.get(group)
    return Cell(score(tracked.HOTA)) if tracked else Cell(NONE)


def _cosine_cell(run: ConfigResult) -> Cell:
    it = run.embedding
    return Cell(f"{it.median:.4f}", f"min {it.min:.4f}") if it else Cell(NONE)


def _cosines(it: EmbeddingScore) -> tuple[float, ...]:
    return it.median, it.p1, it.min


def _median_cell(values_ms: NDArray[np.float32]) -> Cell:
    return Cell(number(float(np.median(values_ms)) if len(values_ms) else None))


def _latency_cell(run: ConfigResult) -> Cell:
    values_ms = run.cost.latency_ms
    p99 = f"p99 {number(float(np.percentile(values_ms, 99)))}" if len(values_ms) else ""
    return Cell(_median_cell(values_ms).text, p99)


def _labelled(scores: DetectionScore) -> str:
    tracks = "" if scores.num_tracks is None else f", {_plural(scores.num_tracks, 'track')}"
    return _plural(scores.num_boxes, "labelled box", "es") + tracks


def _plural(number: int, name: str, ending: str = "s") -> str:
    return f"{count(number)} {name}{'' if number == 1 else ending}"


def _brackets(interval: Interval | None) -> str:
    return f"[{score(interval.low)}, {score(interval.high)}]" if interval else ""
