"""How often, how long and how much at once: the numbers of polling on an event loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from airflow_batches.api.limits import MAX_PAGE
from airflow_batches.waiting.progress import HEARTBEAT_S, MIN_GAP_S


@dataclass(frozen=True, kw_only=True)
class PollSettings:
    """The numbers of a poller. Times are in seconds. Users have only the poll interval; tests shorten the rest."""

    first_poll_s: float = 10.0
    """Until a wait's first poll, at most. Chosen: the task has just polled, and a triggerer that restarts begins many
    waits at once; no event fires earlier anyway (`MessageBatchTrigger.QUIET_S`)."""
    min_gap_s: float = 1.0
    """Between the beginnings of two cycles, at least. Chosen: at most one cycle a second for each connection and
    process, however many waits begin or end, and no delay that matters beside a poll interval of a minute."""
    list_pause_s: float = 60.0
    """Without list pages for a batch that they do not show. Chosen: the default poll interval, so that a search that
    finds nothing costs a call a minute at most."""
    max_backoff_s: float = 60.0
    """Between two cycles while all calls fail, or without list pages while those fail, at most, unless the server asks
    for more. Chosen: the default poll
    interval, so that an outage that ends delays no batch by more than one missed poll."""
    deadline_grace_s: float = 60.0
    """For the poll at the deadline. Chosen: as `triggers.connect.READ_TIMEOUT`, after which a silent call fails by
    itself."""
    max_call_s: float = 120.0
    """For a call, and for making a client. Chosen: twice `triggers.connect.READ_TIMEOUT`, which limits each silence but
    not the whole call."""
    connection_grace_s: float = 120.0
    """For which a connection may be missing. Chosen: longer than a restart of the database or of a secrets backend
    usually takes, short beside the hours of a batch."""
    yield_every: int = 100
    """Waits that are handled before other tasks of the loop run. Chosen with `benchmarks.waiting`, where a page of
    1,000 at once blocked the loop; in portions of 100, 1,000 waits blocked it for 43 ms at most."""
    page_size: int = MAX_PAGE
    """Batches on a list page: the most that the API gives."""
    heartbeat_s: float = HEARTBEAT_S
    min_line_gap_s: float = MIN_GAP_S


DEFAULTS: Final = PollSettings()
