"""Show a job while it runs, on standard error: a live table in a terminal, else the lines of the log."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from airflow_batches.jobs.ledger import JobLedger
from airflow_batches.jobs.progress import last_outcomes
from airflow_batches.jobs.terminal.summary import SHOWN, answers_text, batch_text, batches_text, cost_text

LOGGER: Final = "airflow_batches"
JOBS: Final = "airflow_batches.jobs."
FRAMES_PER_S: Final = 4.0
"""Redraws of the table. Chosen: seconds count visibly, and it costs next to nothing."""
REPEAT_S: Final = 900.0
"""Seconds until an unchanged line is printed again. Chosen: as a task's log has it."""
STOPPING: Final = "Stopping after this step. Nothing is canceled. Ctrl-C again stops at once"


class Display(Protocol):
    """What a run shows."""

    def show(self, ledger: JobLedger) -> None:
        """Show how the job stands."""

    def stopping(self) -> None:
        """Say that the run ends after this step. Runs in a signal's handler."""


class LogLines(logging.Handler):
    """Print messages as lines; an unchanged one only every `REPEAT_S`."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._last = ""
        self._printed_at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        message, now = record.getMessage(), time.monotonic()
        if message == self._last and now - self._printed_at < REPEAT_S:
            return
        self._last, self._printed_at = message, now
        print(f"{datetime.now(UTC):%F %T} {message}", file=sys.stderr, flush=True)  # noqa: T201

    def show(self, ledger: JobLedger) -> None:
        """Do nothing: the log says it."""

    def stopping(self) -> None:
        """Write past Python's buffer, which the interrupted code may be writing to."""
        os.write(sys.stderr.fileno(), f"{STOPPING}\n".encode())


class LiveTable(logging.Handler):
    """Keep a table up to date. Warnings are printed above it, and stay.

    :param name: the folder's name for people.
    :param cap: the cap in USD; None: there is none.
    :param console: the terminal.
    """

    def __init__(self, name: str, cap: Decimal | None, console: Console) -> None:
        super().__init__(logging.INFO)
        self._name = name
        self._cap = cap
        self._console = console
        self._began = time.monotonic()
        self._ledger: JobLedger | None = None
        self._now = "reading the requests"
        self._stops = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the last message; print a warning."""
        message = record.getMessage()
        if record.levelno >= logging.WARNING:
            self._console.print(Text(message, "yellow"), soft_wrap=True)
        else:
            self._now = message.rpartition(". ")[2]

    def show(self, ledger: JobLedger) -> None:
        """Show how the job stands."""
        self._ledger = ledger

    def stopping(self) -> None:
        """Replace what the run does. The next redraw shows it."""
        self._stops = True

    def table(self) -> RenderableType:
        """Return the table as it is now."""
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="bold")
        rows.add_column(overflow="fold")
        rows.add_row("job", Text(self._name))
        for label, content in self._rows(self._ledger):
            rows.add_row(label, content)
        rows.add_row("time", f"{_duration(time.monotonic() - self._began)} in this run")
        rows.add_row("now", Text(STOPPING if self._stops else self._now))
        return Group(rows)

    def _rows(self, ledger: JobLedger | None) -> Iterator[tuple[str, RenderableType]]:
        if ledger is None:
            return
        requests, answered = ledger.plan.requests, last_outcomes(ledger)["succeeded"]
        bar = Table.grid(padding=(0, 1))
        bar.add_row(ProgressBar(requests, answered, width=30), f"{answered:,} of {requests:,} answered")
        yield "requests", bar
        yield "batches", batches_text(ledger)
        for batch in ledger.live[:SHOWN]:
            yield "", batch_text(ledger, batch)
        yield "answers", answers_text(ledger)
        yield "cost", cost_text(ledger, self._cap)


@contextmanager
def shown(name: str, cap: Decimal | None = None) -> Iterator[Display]:
    """Show a job during the block.

    :param name: the folder's name for people.
    :param cap: the cap in USD; None: there is none.
    """
    if not sys.stderr.isatty():
        lines = LogLines()
        with _logged_to(lines):
            yield lines
        return
    console = Console(stderr=True)
    table = LiveTable(name, cap, console)
    live = Live(get_renderable=table.table, console=console, refresh_per_second=FRAMES_PER_S, transient=True)
    with live, _logged_to(table):
        yield table


@contextmanager
def _logged_to(handler: logging.Handler) -> Iterator[None]:
    logger = logging.getLogger(LOGGER)
    before = logger.level
    logger.setLevel(logging.INFO)
    handler.addFilter(_concerns_the_job)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _concerns_the_job(record: logging.LogRecord) -> bool:
    """Leave out what single landings and submissions report."""
    return record.levelno >= logging.WARNING or record.name.startswith(JOBS)


def _duration(seconds: float) -> str:
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}"
