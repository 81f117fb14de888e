"""Failures as data: a `Fault` says which calls fail, how, and how often.

A fault strikes the calls of its endpoint after the first `skip`, `times` times. An endpoint may have several faults: a
call gets at most one of each phase (arrival, effect, lines, answer; see `actions`), the oldest first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from airflow_batches.emulator.actions import check
from airflow_batches.emulator.settings import ENDPOINTS

ANY: Final = "*"


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A failure that the emulator produces: which calls, what happens, how often.

    Add it with `Emulator.fault`. The names of all actions and what each does are in `actions.ACTIONS`.

        plan = emulator.fault(Fault(endpoint="create", action="drop_after_accept"))
        ...  # the create takes effect, its answer is lost
        assert plan.struck == 1

    :param endpoint: `create`, `list`, `get`, `cancel`, `delete`, `results`, `models`, `model`, `messages` or
        `count_tokens`; `*` for all of them.
    :param action: a name from `actions.ACTIONS`.
    :param times: number of calls that fail, 1 by default; None: all of them until the plan is deleted.
    :param skip: number of calls that pass before the first one fails.
    :param batch_id: only calls about this batch fail; None: calls about any batch.
    :param status: status of the answer, for the actions that send one; 500 by default.
    :param message: error message of the answer; None: the API's usual one for the status.
    :param error_type: error type of the answer; None: the usual one.
    :param headers: headers added to the answer.
    :param retry_after: seconds in the answer's `retry-after`; unset: 1 on a 429, none otherwise.
    :param after_bytes: bytes of the body (of the request for `drop_in_body`) that still pass.
    :param seconds: real seconds of a delay, or the `retry-after` of `retry_after_on_200`.
    :param bytes_per_second: speed of `slow`.
    :param line: result line (from 0, in the order sent) that a line action changes.
    :param location: target of `redirect`.
    :raises ValueError: for an unknown endpoint or action, a value out of range, or a fault that can never apply.
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
        if self.endpoint not in (*ENDPOINTS, ANY):
            raise ValueError(f"No endpoint is named {self.endpoint!r}; known are {', '.join((*ENDPOINTS, ANY))}.")
        for name in ("times", "skip", "after_bytes", "seconds", "line"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"A fault's {name} must not be negative.")
        if not 200 <= self.status <= 599 or self.bytes_per_second < 1:
            raise ValueError("A fault's status must be between 200 and 599, and bytes_per_second 1 or more.")
        check(self)


def fault(**values: Any) -> Fault:
    """Make a fault from plain values.

    Raises ValueError, listing the known names, for an invalid one.
    """
    try:
        return msgspec.convert(values, Fault)
    except msgspec.ValidationError as error:
        raise ValueError(f"This is not a fault: {error}") from None
