"""Cancel several batches at the same time, each until the API confirms it.

A batch whose cancel hangs delays no other one. The threads are daemons, so a process that ends does not wait for them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Final

from airflow_batches._thread import WorkerThread
from airflow_batches.api.cancellation import CancelUnconfirmed, cancel_if_running

if TYPE_CHECKING:
    from airflow_batches.api.client import BatchesClient

AT_ONCE: Final = 8
"""Cancels at the same time, at most. Chosen: each needs a thread and a connection, and 8 of them confirm fifty batches
in the 5 s that Airflow grants after SIGTERM if a call takes 0.5 s."""


def cancel_all(
    client: BatchesClient, batch_ids: Sequence[str], *, reason: str, timeout_s: float | None = None, **options: Any
) -> Mapping[str, Exception]:
    """Cancel each batch unless it is canceling or has ended.

    :param client: the client; each thread uses a clone.
    :param batch_ids: the batches, each once.
    :param reason: why, for the log.
    :param timeout_s: seconds after which this returns although cancels are under way; None: never.
    :param options: as `cancel_if_running` has them.
    :return: the batches that are not confirmed to be canceling, ended or missing, with what happened; empty if all are.

    Example::

        for batch_id, error in cancel_all(client, batch_ids, reason="not needed any more").items():
            print(batch_id, error)
    """
    outcomes: dict[str, Future[None]] = {batch_id: Future() for batch_id in batch_ids}
    left = deque(outcomes.items())
    for number in range(min(AT_ONCE, len(left))):
        thread = WorkerThread(f"cancel-{number}")
        thread.submit(_cancel_each, client.clone(), left, reason, options)
        thread.finish()
    _, open_ = wait(outcomes.values(), timeout_s)
    found = {
        batch_id: _late(batch_id, timeout_s) if outcome in open_ else outcome.exception()
        for batch_id, outcome in outcomes.items()
    }
    return {batch_id: error for batch_id, error in found.items() if isinstance(error, Exception)}


def _late(batch_id: str, timeout_s: float | None) -> CancelUnconfirmed:
    return CancelUnconfirmed(
        f"Canceling {batch_id} is not confirmed after {timeout_s or 0.0:.0f} s: it may run and be billed. Cancel it "
        "again, or in the Console"
    )


def _cancel_each(
    client: BatchesClient, left: deque[tuple[str, Future[None]]], reason: str, options: Mapping[str, Any]
) -> None:
    """Cancel batches from the queue until it is empty."""
    with client:
        while left:
            try:
                batch_id, outcome = left.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                cancel_if_running(client, batch_id, reason=reason, **options)
            except Exception as error:  # noqa: BLE001  # returned to the caller; the other batches are canceled all the same
                outcome.set_exception(error)
            else:
                outcome.set_result(None)
