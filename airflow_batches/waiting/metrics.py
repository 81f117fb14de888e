"""Metrics of waiting for batches; the caller passes in where they go.

| name                         | kind    | tags            | counts                                              |
|------------------------------|---------|-----------------|-----------------------------------------------------|
| `airflow_batches.waiting`    | gauge   | conn_id         | waits under way in this process                     |
| `airflow_batches.polls`      | counter | conn_id         | calls made to poll                                  |
| `airflow_batches.poll_errors`| counter | conn_id         | polls that failed                                   |
| `airflow_batches.ended`      | counter | conn_id, ending | waits that are over                                 |
| `airflow_batches.wait_time`  | timing  | conn_id, ending | their duration, from the task's first poll          |
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Protocol

WAITING: Final = "airflow_batches.waiting"
POLLS: Final = "airflow_batches.polls"
POLL_ERRORS: Final = "airflow_batches.poll_errors"
ENDED: Final = "airflow_batches.ended"
WAIT_TIME: Final = "airflow_batches.wait_time"


class Metrics(Protocol):
    """The part of Airflow's `Stats` that is used."""

    def incr(self, stat: str, *, tags: dict[str, str]) -> None: ...
    def gauge(self, stat: str, value: float, *, tags: dict[str, str]) -> None: ...
    def timing(self, stat: str, dt: timedelta, *, tags: dict[str, str]) -> None: ...


class NoMetrics:
    """Metrics that go nowhere."""

    def incr(self, stat: str, *, tags: dict[str, str]) -> None: ...
    def gauge(self, stat: str, value: float, *, tags: dict[str, str]) -> None: ...
    def timing(self, stat: str, dt: timedelta, *, tags: dict[str, str]) -> None: ...
