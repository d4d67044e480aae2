"""A soak on one page: memory by role, results, and when which fault came."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

ROLES = {
    "session": ("session, with proxy and recorder", "#1f5fa8"),
    "worker": ("encoder worker and its spare", "#d1640f"),
    "camera": ("camera actors", "#2f8f4e"),
    "decoder": ("decode processes", "#8a5cc2"),
    "ray": ("Ray's own", "#8c8c8c"),
}
FAULTS = (
    "server_down",
    "mute",
    "freeze",
    "damage",
    "decoder_kill",
    "decoder_stop",
    "camera_kill",
    "worker_kill",
    "subscriber_stop",
)

Row = Mapping[str, Any]


def draw(log: Sequence[Row], path: Path) -> None:
    samples = [row for row in log if row["kind"] == "sample"]
    figure, (memory, results, faults) = plt.subplots(
        3, 1, figsize=(9, 7), sharex=True, height_ratios=(3, 1.5, 1.8), layout="constrained"
    )
    _draw_memory(memory, samples)
    _draw_results(results, samples)
    _draw_faults(faults, [row for row in log if row["kind"] == "fault"])
    for axis in (memory, results, faults):
        axis.spines[["top", "right"]].set_visible(False)
    faults.set_xlabel("minutes")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _draw_memory(axis: Any, samples: Sequence[Row]) -> None:
    minutes = [row["t_s"] / 60 for row in samples]
    for role, (label, color) in ROLES.items():
        total_mb = [
            sum(p["uss_mb"] for p in row["processes"] if p["role"].startswith(role))
            for row in samples
        ]
        axis.plot(minutes, total_mb, color=color, lw=1.2, label=label)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("memory of its own, MB")
    axis.set_title("All processes of a role together", loc="left", fontsize=10)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)


def _draw_results(axis: Any, samples: Sequence[Row]) -> None:
    minutes = _blocks([row["t_s"] / 60 for row in samples])
    series: defaultdict[str, list[float]] = defaultdict(list)
    for row in samples:
        for camera in ("hall", "yard", "gate", "dock", "loop"):
            series[camera].append(row["results_hz"].get(camera, 0.0))
    labels = {"hall": "controls", "gate": "victims", "loop": "always reconnecting"}
    colors = {"hall": "#1f5fa8", "yard": "#1f5fa8", "gate": "#d1640f", "dock": "#d1640f"}
    for camera, values in sorted(series.items(), key=lambda item: item[0] in ("hall", "yard")):
        axis.plot(
            minutes,
            _blocks(values),
            lw=0.8,
            color=colors.get(camera, "#bbbbbb"),
            label=labels.get(camera),
        )
    axis.set_ylim(bottom=0)
    axis.set_ylabel("results a second\n(of half a minute)", fontsize=8)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)


def _blocks(values: Sequence[float]) -> list[float]:
    """Means of six samples: single ones would be a hedge."""
    return [float(np.mean(values[i : i + 6])) for i in range(0, len(values), 6)]


def _draw_faults(axis: Any, faults: Sequence[Row]) -> None:
    times = [[row["began_s"] / 60 for row in faults if row["name"] == name] for name in FAULTS]
    axis.eventplot(times, linelengths=0.7, linewidths=1, colors="#333333")
    axis.set_yticks(range(len(FAULTS)), [name.replace("_", " ") for name in FAULTS], fontsize=8)
    axis.invert_yaxis()
