"""docs/evaluate.md lists every key of the JSON, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

from conftest import REPO
from eval.report.sample import sample_result

from streamvis.eval.detection import GROUPS
from streamvis.eval.result import Against, Difference, EvalResult, Interval

PAGE = REPO / "docs/evaluate.md"
FREE = re.compile(r"(settings|machine|configs\.<name>\.config|configs\.<name>\.streaming\.<class>)")


def documented() -> set[str]:
    text = PAGE.read_text().split("<!-- keys: begin -->")[1].split("<!-- keys: end -->")[0]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return {
        key for cell in cells for name in re.findall(r"`([^`]+)`", cell) for key in expand(name)
    }


def expand(name: str) -> Iterator[str]:
    """`a.{b,c}` -> a.b, a.c"""
    parts = re.split(r"\{([^}]*)\}", name)
    choices = [part.split(",") if i % 2 else [part] for i, part in enumerate(parts)]
    return ("".join(one) for one in product(*choices))


def keys(value: Any, at: str = "") -> Iterator[str]:
    if FREE.fullmatch(at) or not isinstance(value, dict):
        yield at
        return
    for name, child in value.items():
        if at == "configs":
            name = "<name>"
        elif name in GROUPS:
            name = "<class>"
        yield from keys(child, f"{at}.{name}" if at else name)


def full_result() -> EvalResult:
    """The report's sample, with every key in it."""
    sample = sample_result()
    interval = Interval(0.1, 0.2)
    names = ("AP", "AP50", "AP75")
    score = replace(
        sample.configs[0].detection["car"],
        AP_large=0.5,
        intervals=dict.fromkeys(names, interval),
        differences=dict.fromkeys(names, Difference(0.1, interval)),
    )
    config = replace(sample.configs[0], detection={"car": score}, probe="fade")
    config = replace(config, against=Against("sv_tiny", 0.99, 1.0, 2.0, 2.5))
    return replace(sample, configs=[config])


def test_the_page_lists_every_key_and_no_other() -> None:
    assert set(keys(full_result().to_dict())) == documented()
