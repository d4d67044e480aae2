"""The README's table: what `make figures` writes, without measuring it."""

from __future__ import annotations

from conftest import REPO
from document import table, write_block
from figures import Figure


def test_the_readme_has_a_place_for_the_figures_and_its_table_is_of_this_form(tmp_path):
    figures = [Figure("start", "s", [3.0, 1.0, 2.0], "cold"), Figure("rate", "Hz", [5.0])]
    text = f"hardware:\n\n{table({figure.name: figure.row() for figure in figures})}"
    copy = tmp_path / "README.md"
    copy.write_text((REPO / "README.md").read_text())
    write_block(copy, "figures", text)
    before, after = (REPO / "README.md").read_text(), copy.read_text()
    assert "| start | 2 s | 1 – 3 | cold |" in after
    assert "| rate | 5 Hz | 5 – 5 |  |" in after
    (heading,) = [line for line in text.splitlines() if "median" in line]
    assert heading in before, "the table that stands there has other columns"
    assert (
        after.partition("<!-- figures: end -->")[2] == before.partition("<!-- figures: end -->")[2]
    )
