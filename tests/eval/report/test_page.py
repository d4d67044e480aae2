"""The whole page: it is one file, it holds every part, and names in it are only text."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from eval.report.sample import HOSTILE, bare_result, sample_pictures, sample_result, sample_tile_use

from streamvis.errors import OutputError
from streamvis.eval.report.page import render_report, write_report
from streamvis.eval.report.style import COLOURS, CSS_VARIABLES

_VOID = {"meta", "link", "br", "img", "hr", "input"}
SECTIONS = (
    "run",
    "table",
    "classes",
    "cost",
    "precision",
    "calibration",
    "latency",
    "streaming",
    "tracking",
    "embedding",
    "tiles",
    "probes",
    "frames",
    "notes",
    "configs",
    "definitions",
)


class _Page(HTMLParser):
    """What a browser would see: the open elements, ids, addresses and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.section_words: dict[str, str] = {}
        self._section = ""
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if tag not in _VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids[str(value)] += 1
            elif name in ("href", "src", "xlink:href", "action", "srcset", "data"):
                self.addresses.append(str(value))
            assert not name.startswith("on"), f"a script in {tag} {name}"
        if tag == "section":
            self._section = dict(attrs).get("id") or ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        seen = f"{self.section_words.get(self._section, '')} {data}"
        self.section_words[self._section] = " ".join(seen.split())


@pytest.fixture(scope="module")
def html() -> str:
    return render_report(sample_result(), sample_pictures(), sample_tile_use())


@pytest.fixture(scope="module")
def page(html: str) -> _Page:
    return _Page(html)


@pytest.fixture(scope="module")
def bare() -> _Page:
    return _Page(render_report(bare_result(), []))


def test_every_element_is_closed(page: _Page, bare: _Page) -> None:
    assert page.open == []
    assert bare.open == []


def test_needs_nothing_from_outside(html: str, page: _Page) -> None:
    assert page.addresses
    assert all(it.startswith(("#", "data:image/jpeg;base64,")) for it in page.addresses)
    assert not re.search(r"https?://|@import|@font-face", html)
    assert set(re.findall(r"url\((.)", html)) == {"#"}
    assert not page.tags["script"]
    assert not page.tags["link"]


def test_ids_are_unique_and_every_reference_has_its_target(html: str, page: _Page) -> None:
    assert [name for name, count in page.ids.items() if count > 1] == []
    wanted = {it[1:] for it in page.addresses if it.startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", html))
    assert wanted <= set(page.ids)


@pytest.mark.parametrize("name", SECTIONS)
def test_has_the_section(page: _Page, bare: _Page, name: str) -> None:
    assert page.ids[name] == 1
    assert len(page.section_words[name]) > 20
    assert len(bare.section_words[name]) > 20


def test_names_are_text(html: str, page: _Page) -> None:
    assert HOSTILE in page.text
    assert HOSTILE not in html
    assert "<all>" in page.section_words["frames"]


def test_hostile_names_and_notes_everywhere_make_no_element() -> None:
    result = sample_result()
    evil = "<script>alert(1)</script>"
    config = replace(result.configs[0], name=evil, notes=(evil,), config={evil: [evil]}, probe=None)
    picture = replace(sample_pictures()[0], config=evil, camera=evil, why=evil)
    result = replace(
        result,
        drive=evil,
        cameras=(evil,),
        settings={evil: evil},
        machine={evil: {evil: evil}},
        configs=(config, *result.configs[1:]),
        notes=(evil,),
    )
    page = _Page(render_report(result, [picture]))
    assert not page.tags["script"]
    assert page.text.count("alert(1)") > 10


def test_plots_and_pictures_are_there(page: _Page) -> None:
    # cost x 2, precision x 4, calibration x 4, latency, streaming, tiles, probes; the rest
    # are chips
    assert page.ids["cost-ms-figure_1"] == page.ids["probes-figure_1"] == 1
    assert sum(name.endswith("-figure_1") for name in page.ids) == 14
    assert page.tags["img"] == 4  # two frames, one tile map, one map of how often
    assert "encoded 36/240, stale 2" in page.section_words["frames"]
    assert "No tile maps" in page.section_words["frames"]  # of the second config


def test_the_tiles_are_told_of_runs_that_reuse_them(page: _Page, bare: _Page) -> None:
    words = page.section_words["tiles"]
    assert "front: 10.4 % encoded, 0.0 % stale, over 40 frames" in words
    assert "100.0 % encoded" not in words, "the dense twin has no map"
    assert page.ids["tiles-0-figure_1"] == 1
    assert "No config reuses tiles" in bare.section_words["tiles"]


def test_plots_take_their_colours_from_the_style_sheet(html: str) -> None:
    style, body = html.split("</style>", 1)
    assert not re.search("|".join(CSS_VARIABLES), body)
    for colour in COLOURS:
        assert f"{CSS_VARIABLES[colour]}: {colour};" in style  # light mode is what was drawn


def test_verdict_says_in_words_what_the_intervals_show(page: _Page) -> None:
    assert "vehicle AP50 0.69 [0.61, 0.76]" in page.text
    assert "no difference shown, +0.012 [−0.018, +0.042]" in page.text
    assert "worse, −0.110 [−0.140, −0.080]" in page.text
    assert "is little evidence" in page.section_words["run"]


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ("cost", "One config alone"),
        ("calibration", "No calibration was computed"),
        ("streaming", "was not computed"),
        ("tracking", "could not be scored; the notes say why"),
        ("embedding", "no embeddings to compare"),
        ("probes", "No probe was run"),
        ("frames", "No pictures were made"),
    ],
)
def test_a_missing_part_says_so(page: _Page, bare: _Page, section: str, sentence: str) -> None:
    assert sentence in bare.section_words[section]
    assert sentence not in page.section_words[section]
    assert f"{section}-figure_1" not in bare.ids


def test_a_drive_without_boxes_still_has_its_cost() -> None:
    result = bare_result()
    unscored = replace(result, configs=(replace(result.configs[0], detection={}, notes=()),))
    page = _Page(render_report(unscored, []))
    assert "nothing could be scored" in page.section_words["classes"]
    assert "27 %" in page.section_words["table"]
    assert "Nothing out of the ordinary" in page.section_words["notes"]
    assert page.ids["latency-figure_1"] == 1


def test_a_run_without_frames_has_no_latency() -> None:
    result = bare_result()
    none = np.zeros(0, np.float32)
    cost = replace(
        result.configs[0].cost, tiles_total=0, encode_ms=none, detect_ms=none, latency_ms=none
    )
    page = _Page(
        render_report(replace(result, configs=(replace(result.configs[0], cost=cost),)), [])
    )
    assert "No latencies were measured" in page.section_words["latency"]
    assert "not timed" in page.text


def test_equal_results_give_equal_files(html: str) -> None:
    assert render_report(sample_result(), sample_pictures(), sample_tile_use()) == html


def test_writes_one_complete_file(tmp_path: Path, html: str) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(sample_result(), sample_pictures(), path, sample_tile_use())
    assert path.read_text(encoding="utf-8") == html
    assert list(path.parent.iterdir()) == [path]


def test_a_place_that_cannot_be_written_keeps_what_was_there(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("mine")
    for path in (blocker / "report.html", tmp_path):
        with pytest.raises(OutputError, match="cannot write"):
            write_report(bare_result(), [], path)
    assert [it.name for it in tmp_path.iterdir()] == ["file"]
    assert blocker.read_text() == "mine"
