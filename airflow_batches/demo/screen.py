"""The demo's progress, one line for each step: redrawn on a terminal, otherwise printed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


@dataclass
class Step:
    """One step of the demo; `started` and `ended` are seconds since the screen was made."""

    title: str
    detail: str
    started: float
    ended: float | None = None
    failed: bool = False

    def seconds(self, now: float = 0.0) -> float:
        """Return the seconds that it took, or has taken until `now`."""
        return (now if self.ended is None else self.ended) - self.started


class Screen:
    """Shows steps; a step lasts until another title is shown, or the `with` block ends."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self.steps: list[Step] = []
        self._clock = clock
        self._began = clock()
        self._spinner = Spinner("dots")
        self._live = Live(get_renderable=self._table, console=console) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.finish(failed=kind is not None)

    def finish(self, *, failed: bool = False) -> None:
        """End the step and stop drawing; the steps stay on the screen."""
        self._end(failed=failed)
        if self._live:
            self._live.stop()

    def show(self, title: str, detail: str = "", *, failed: bool = False) -> None:
        """Start the step of this title, or update the detail of the current one.

        :param title: title of the step; another one than the current step's starts a new step.
        :param detail: what is known of the step now.
        :param failed: whether the step before failed.
        """
        if not self.steps or self.steps[-1].title != title:
            self._end(failed=failed)
            self.steps.append(Step(title, detail, started=self._now()))
        elif self.steps[-1].detail == detail:
            return
        self.steps[-1].detail = detail
        if not self._live:
            self._print(self.steps[-1])

    def _end(self, *, failed: bool = False) -> None:
        if self.steps and self.steps[-1].ended is None:
            self.steps[-1].ended = self._now()
            self.steps[-1].failed = failed

    def _now(self) -> float:
        return self._clock() - self._began

    def _print(self, step: Step) -> None:
        said = f"{step.title}: {step.detail}" if step.detail else step.title
        self.console.print(f"{self._now():6.1f} s  {said}", markup=False, highlight=False, soft_wrap=True)

    def _table(self) -> Table:
        # On a narrow terminal, only the column of details shrinks.
        table = Table.grid(padding=(0, 2))
        table.add_column(width=1)
        table.add_column(no_wrap=True)
        table.add_column(style="dim")
        table.add_column(justify="right", no_wrap=True)
        for step in self.steps:
            detail = Text(step.detail, no_wrap=True, overflow="ellipsis")
            table.add_row(self._mark(step), Text(step.title), detail, f"{step.seconds(self._now()):.1f} s")
        return table

    def _mark(self, step: Step) -> Spinner | Text:
        if step.ended is None:
            return self._spinner
        return Text("✗", style="red") if step.failed else Text("✓", style="green")
