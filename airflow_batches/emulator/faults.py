"""What can go wrong on the way, as data: a `Fault` says where, what and how often.

A fault strikes each call of its endpoint after the first `skip`, `times` times. Several plans may wait at one
endpoint: a call meets at most one of each phase (arrival, effect, answer; see `actions`), the oldest first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from airflow_batches.emulator.settings import ENDPOINTS

ANY: Final = "*"


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A failure to be had.

    :param endpoint: one of the counted endpoints (`create`, `list`, `get`, …), or `*` for every one.
    :param action: a name from `actions.ACTIONS`.
    :param times: how often it strikes; None: until deleted.
    :param skip: calls let through before the first strike.
    :param batch_id: only calls about this batch.
    :param status: of the answer, for the actions that give one.
    :param message: its text; None: the API's usual one for the status.
    :param error_type: its error type; None: the usual one.
    :param headers: added to the answer.
    :param retry_after: seconds in its `retry-after`; unset: 1 on a 429, none otherwise.
    :param after_bytes: bytes of the body (of the request for `drop_in_body`) that still pass.
    :param seconds: real seconds of a delay.
    :param bytes_per_second: pace of `slow`.
    :param line: result line (from 0, in the order sent) that a line action strikes.
    :param location: where `redirect` points.
    """

    endpoint: str
    action: str
    times: int | None = 1
    skip: int = 0
    batch_id: str | None = None
    status: int = 500
    message: str | None = None
    error_type: str | None = None
    headers: Mapping[str, str] = {}
    retry_after: float | msgspec.UnsetType | None = msgspec.UNSET
    after_bytes: int = 0
    seconds: float = 1.0
    bytes_per_second: int = 65_536
    line: int = 0
    location: str | None = None

    def __post_init__(self) -> None:
        from airflow_batches.emulator.actions import check

        if self.endpoint not in (*ENDPOINTS, ANY):
            raise ValueError(f"unknown endpoint {self.endpoint!r}; known are {', '.join((*ENDPOINTS, ANY))}")
        for name in ("times", "skip", "after_bytes", "seconds", "line"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative")
        if not 200 <= self.status <= 599 or self.bytes_per_second < 1:
            raise ValueError("status must be between 200 and 599, bytes_per_second 1 or more")
        check(self)


def fault(**values: Any) -> Fault:
    """A fault from plain values. Raises ValueError, naming what is known, for one that could never strike."""
    return msgspec.convert(values, Fault)
