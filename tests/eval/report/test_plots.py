from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from eval.report.sample import sample_result

from streamvis.eval.report.plots import _front, calibration_plot, cost_plot, precision_plot
from streamvis.eval.report.style import COLOURS, Mark, marks_of

_VEHICLE = sample_result().configs[0].detection["vehicle"]


def test_front_joins_what_no_other_beats() -> None:
    points = [
        (Mark(number), cost, replace(_VEHICLE, AP50=ap50))
        for number, (cost, ap50) in enumerate([(3.0, 0.4), (1.0, 0.5), (2.0, 0.7), (2.0, 0.6)])
    ]
    assert _front(points) == ([1.0, 2.0, 2.0], [0.5, 0.5, 0.7])


@pytest.mark.parametrize("costs", [(0.0, 0.0), (0.001, 900.0), (5.0, 5.0), (0.0, 1e6)])
def test_any_cost_can_be_drawn(costs: tuple[float, float]) -> None:
    points = [(Mark(number), cost, _VEHICLE) for number, cost in enumerate(costs)]
    svg = cost_plot("x", points, "ms", "vehicle")
    assert "nan" not in svg
    assert "var(--c0)" in svg
    assert "var(--c1)" in svg


def test_a_config_that_finds_nothing_has_no_curve() -> None:
    nothing = replace(_VEHICLE, precision=np.zeros(101))
    svg = precision_plot("x", [(Mark(0), nothing), (Mark(1), _VEHICLE)], "vehicle")
    curves = re.findall(r'<path d="[^"]*"[^>]*var\(--c(\d)\)', svg)
    assert set(curves) == {"1"}


def test_empty_bins_leave_no_point() -> None:
    calibration = sample_result().configs[0].calibration["vehicle"]
    assert np.isnan(calibration.precision).any()
    assert "nan" not in calibration_plot("x", [(Mark(0), calibration)], "vehicle")


def test_a_probed_run_looks_like_its_config() -> None:
    marks = marks_of(sample_result())
    assert marks["sv_tiny+fade"] == marks["sv_tiny"]
    assert marks["sv_tiny@dense+fade"] == marks["sv_tiny@dense"] != marks["sv_tiny"]


def test_marks_stay_distinct_when_colours_run_out() -> None:
    marks = [Mark(number) for number in range(3 * len(COLOURS))]
    assert len({(mark.colour, mark.dashes, mark.marker) for mark in marks}) == len(marks)
