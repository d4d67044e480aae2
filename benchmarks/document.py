"""A benchmark's table, and its place in a document. Needs nothing but Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_block(path: Path, name: str, text: str) -> None:
    """Put the text between the document's marks of this name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = path.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{path} lacks the marks {begin} and {end}")
    path.write_text(f"{before}{begin}\n{text}{end}{after}")


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown; a row may lack columns."""
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(str(row.get(c, "")) for c in columns) + " |")
    return "\n".join(lines) + "\n"
