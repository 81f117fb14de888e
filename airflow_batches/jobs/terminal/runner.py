"""What a command needs that drives a job: its display, its signals, and the ledger as it was last written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from airflow_batches.api.errors import BatchesError
from airflow_batches.jobs.folder import JobFolder
from airflow_batches.jobs.ledger import JobLedger
from airflow_batches.jobs.store import LedgerFile
from airflow_batches.jobs.terminal.display import Display, shown
from airflow_batches.jobs.terminal.interrupt import InterruptibleClock
from airflow_batches.jobs.terminal.summary import left_text


class TerminalRunner:
    """Shows a job and ends its run at a signal.

    :param folder: the job's folder.

    Example::

        runner = TerminalRunner(JobFolder("s3://lake/answers"))
        with runner.clock, runner.shown():
            run_job(client, requests, "s3://lake/answers", clock=runner.clock, progress=runner.on_step)
    """

    def __init__(self, folder: JobFolder) -> None:
        self.name = folder.name
        self._folder = folder
        self.clock = InterruptibleClock(self._stopping)
        self._display: Display | None = None

    @contextmanager
    def shown(self, cap: Decimal | None = None) -> Iterator[None]:
        """Show the job during the block.

        :param cap: the cap in USD; None: there is none.
        """
        with shown(self.name, cap) as self._display:
            yield

    def on_step(self, ledger: JobLedger) -> None:
        """Show the result of a step. The run ends here if a signal has arrived."""
        if self._display:
            self._display.show(ledger)
        self.clock.check()

    def left(self) -> str:
        """Say what is under way at the API after an interruption, by the stored ledger."""
        try:
            saved = LedgerFile(self._folder.ledger).load()
        except BatchesError as error:
            return f"Batches may be under way: {error}"
        return left_text(saved.ledger if saved else None)

    def _stopping(self) -> None:
        if self._display:
            self._display.stopping()
