from __future__ import annotations

from dataclasses import replace

import pytest
from eval.report.sample import bare_result, sample_result

from streamvis.eval.report import tables
from streamvis.eval.report.roles import groups_of, probed, undisturbed
from streamvis.eval.report.words import facts
from streamvis.eval.result import Difference, EmbeddingScore, Interval


def test_figures_as_text() -> None:
    assert tables.score(None) == "–"
    assert tables.score(-0.25) == "−0.250"
    assert tables.signed(0.0123) == "+0.012"
    assert tables.signed(-0.0001) == "0.000"
    assert tables.number(12345.67) == "12 345.7"
    assert tables.percent(0.268) == "27 %"


@pytest.mark.parametrize(
    ("low", "high", "tone"),
    [(0.01, 0.02, "better"), (-0.02, -0.01, "worse"), (-0.01, 0.01, ""), (0.0, 0.02, "")],
)
def test_only_an_interval_beside_0_takes_sides(low: float, high: float, tone: str) -> None:
    assert tables.tone(Difference((low + high) / 2, Interval(low, high))) == tone


def test_without_an_interval_nothing_is_claimed() -> None:
    assert tables.tone(Difference(0.5, None)) == ""


def test_main_table_has_accuracy_and_cost_of_every_undisturbed_config() -> None:
    runs = undisturbed(sample_result())
    table = tables.main_table(runs, "vehicle")
    (group,) = table.groups
    assert [row.name for row in group.rows] == [run.name for _, run in runs]
    assert all(len(row.cells) == len(table.columns) for row in group.rows)
    assert sum(width for _, width in table.spans) == len(table.columns)
    first = dict(zip(table.columns, group.rows[0].cells, strict=True))
    assert first["vehicle AP50"] == tables.Cell("0.690", "[0.610, 0.760]")
    assert first["to the first"].text == "–"
    assert first["tiles encoded"].text == "27 %"


@pytest.mark.parametrize("make", [sample_result, bare_result])
def test_rows_are_as_wide_as_their_heads(make) -> None:  # type: ignore[no-untyped-def]
    runs, probes = undisturbed(make()), probed(make())
    groups = groups_of(runs)
    for table in (
        tables.main_table(runs, groups[0]),
        tables.class_table(runs, groups),
        tables.streaming_table(runs, groups[0]),
        tables.embedding_table(runs),
        tables.probe_table(probes, groups[0]),
    ):
        rows = [row for group in table.groups for row in group.rows]
        assert all(len(row.cells) == len(table.columns) for row in rows)


def test_a_dense_config_of_the_same_models_stands_where_a_twin_would() -> None:
    sample = sample_result()
    configs = [replace(c, name=c.name.replace("sv_tiny@dense", "plain")) for c in sample.configs]
    configs[0] = replace(configs[0], embedding=EmbeddingScore("plain", 0.98, 0.98, 0.99))
    found, itself = probed(replace(sample, configs=configs))
    assert found.dense is not None
    assert found.dense.name == "plain+fade"
    assert (itself.name, itself.dense) == ("plain", None)


def test_a_probe_stands_beside_the_undisturbed_and_the_dense_run() -> None:
    (found,) = probed(sample_result())
    assert found.name == "sv_tiny"
    assert found.base is not None
    assert found.base.name == "sv_tiny"
    assert found.dense is not None
    assert found.dense.name == "sv_tiny@dense+fade"
    (group,) = tables.probe_table([found], "vehicle").groups
    assert group.rows[0].cells[2] == tables.Cell("−0.080", "[−0.110, −0.050]", "worse")
    assert [cell.text for cell in group.rows[0].cells[:6]] == [
        "0.690",
        "0.610",
        "−0.080",
        "0.620",
        "27 %",
        "80 %",
    ]


def test_vehicle_comes_first() -> None:
    assert groups_of(undisturbed(sample_result()))[0] == "vehicle"
    assert groups_of(undisturbed(bare_result())) == ["car"]


def test_facts_leave_out_what_is_not_there() -> None:
    result = replace(
        sample_result(),
        settings={"nms": {"iou": 0.5}, "ranges": ("small", "large"), "is_paired": True},
        machine={"gpu": None},
    )
    assert dict(facts(result)) == {
        "drive": "pier_17, 8.0 s",
        "cameras": "front, left",
        "frames": "160 run, 160 labelled",
        "nms": "iou 0.5",
        "ranges": "small, large",
        "is_paired": "yes",
    }


def test_a_run_without_encoder_has_no_tiles_to_save() -> None:
    run = replace(sample_result().configs[0], config={"encoder": {"name": "none"}})
    assert tables.encoded_share(run) == "–"
    assert tables.encoded_share(sample_result().configs[0]) == "27 %"


def test_nothing_found_is_nowhere_placed() -> None:
    (mark, run), *_ = undisturbed(sample_result())
    lost = replace(run.tracking["vehicle"], HOTA=0.0, DetA=0.0, AssA=0.0, LocA=1.0)
    table = tables.tracking_table([(mark, replace(run, tracking={"vehicle": lost}))], ["vehicle"])
    cells = dict(zip(table.columns, table.groups[0].rows[0].cells, strict=True))
    assert cells["LocA"].text == "–"
    assert cells["DetA"].text == "0.000"
