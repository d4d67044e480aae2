"""What one sees: a quiet live table on a terminal, a line an event elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable

from drama.judge import Verdict, num_came, p99_ms
from drama.record import Record
from drama.scene import Scene
from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_WINDOW_S = 5.0  # of the figures on the screen
_MAX_EVENTS = 14
_WIDTH = 110  # where there is no terminal to ask
_MARKS = {True: Text("held", "green"), False: Text("MISSED", "bold red"), None: Text("")}
_STATE_STYLES = {"": "dim", "live": "green", "connecting": "yellow", "stale": "yellow"}


class Display:
    """`say` what happens; `tick` keeps the figures fresh."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        if not self.console.is_terminal:
            self.console = Console(highlight=False, width=_WIDTH)
        self._live = Live(console=self.console, refresh_per_second=4, transient=True)
        self._events: deque[Text] = deque(maxlen=_MAX_EVENTS)
        self._scene: Scene | None = None
        self._began_s = time.monotonic()

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def show(self, scene: Scene) -> None:
        """This scene, from now on."""
        self._scene = scene
        scene.tick = self.tick

    def say(self, text: str) -> None:
        seconds = time.monotonic() - self._began_s
        line = Text.assemble((f"{seconds:6.1f} s  ", "dim"), text)
        self._events.append(line)
        if not self.console.is_terminal:
            self.console.print(line, soft_wrap=True)
        self.tick()

    def tick(self) -> None:
        if self.console.is_terminal and self._scene:
            seconds = time.monotonic() - self._began_s
            title = Text.assemble(("streamvis drama", "bold"), (f"   {seconds:5.1f} s", "dim"))
            events = Group(*self._events)
            self._live.update(
                Padding(Group(title, "", camera_table(self._scene), "", events), (1, 2))
            )

    def report(self, record: Record, verdicts: Iterable[Verdict]) -> None:
        """Where every frame went, and what was promised."""
        self._live.stop()
        if self.console.is_terminal:
            self.console.print(*self._events, sep="\n")
        for table in (ledger_table(record), verdict_table(verdicts)):
            self.console.print()
            self.console.print(table)


def camera_table(scene: Scene) -> Table:
    """How each camera is at this moment, as a subscriber sees it."""
    table = _table()
    table.add_column("camera", min_width=12)
    table.add_column("state", min_width=13)
    for heading in ("results/s", "p99 ms", "lost"):
        table.add_column(heading, justify="right", min_width=6)
    witness = scene.witness
    for name in scene.cameras:
        state = witness.states.get(name, "")
        lately = witness.lately(name, _WINDOW_S)
        table.add_row(
            name,
            Text(state or "-", style=_STATE_STYLES.get(state, "red")),
            f"{len(lately) / _WINDOW_S:.1f}",
            f"{p99_ms(lately):.0f}" if lately else "-",
            str(witness.lost.get(name, 0)),
        )
    return table


def ledger_table(record: Record) -> Table:
    """The session's books between what the server counted and what the witness did."""
    table = _table()
    table.add_column("camera")
    for heading in ("sent", "source", "published", "came", "in flight", "lost"):
        table.add_column(heading, justify="right")
    table.add_column("where")
    for name, books in record.books.items():
        counts = (
            books.sent,
            books.source_frames,
            books.published,
            num_came(record, name),
            books.in_flight,
            sum(books.lost.values()),
        )
        where = ", ".join(f"{count} {stage}" for stage, count in books.lost.items() if count)
        table.add_row(name, *map(str, counts), where)
    return table


def verdict_table(verdicts: Iterable[Verdict]) -> Table:
    table = _table()
    for heading in ("promise", "promised", "found", ""):
        table.add_column(heading, overflow="fold")
    for verdict in verdicts:
        mark = _MARKS[verdict.is_held]
        table.add_row(verdict.what, verdict.promised, verdict.found, mark)
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
