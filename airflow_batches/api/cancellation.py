"""Cancel a batch and confirm that it is canceled.

| what the API answers                                | `cancel_if_running`                              |
|-----------------------------------------------------|--------------------------------------------------|
| `canceling` or `ended`, to a get or a cancel        | returns that batch                               |
| 404 to every call, for `FRESH_404`                  | returns None: the batch does not exist           |
| 404 to every call, for less than that               | raises: a fresh batch may answer 404             |
| anything else, to the last of `SENDS` cancels       | raises: the batch may go on, and be billed       |

Rules of this file:
- Sending a cancel does not prove that the batch is canceled: after any answer other than a success, a get follows.
- A refusal (400, 409) proves nothing either. The API may also refuse to cancel a batch that has ended.
- A cancel may be sent any number of times: repeated cancels have the effect of one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from airflow_batches.api.errors import NO_ROUTE, ApiError, BatchesError, InvalidRequest
from airflow_batches.api.limits import FRESH_404
from airflow_batches.api.models import MessageBatch, ProcessingStatus

if TYPE_CHECKING:
    from airflow_batches.api.client import BatchesClient

logger = logging.getLogger(__name__)

DONE: Final = frozenset({ProcessingStatus.CANCELING, ProcessingStatus.ENDED})
SENDS: Final = 3
"""Cancels that are sent to a batch that still shows as running. Each has the client's own retries on top. Chosen: the
second and third cover a get that a lagging replica answered."""
PAUSE_S: Final = 0.5
"""Seconds between two cancels. Chosen: a replica can catch up, and the two pauses take only 1 of the 5 s that Airflow
grants after SIGTERM."""
PAUSE_404_S: Final = 5.0
"""Longest pause in seconds between two cancels that answer 404. Chosen: about 15 of them within `FRESH_404`."""


class CancelUnconfirmed(BatchesError):
    """Raised when no answer confirmed that a batch is canceling or has ended.

    It may still run and be billed. Cancel it again: that helps after an outage.

    Example::

        try:
            cancel_if_running(client, batch_id, reason="not needed any more")
        except CancelUnconfirmed as error:
            logger.error("%s", error)
    """


def cancel_if_running(
    client: BatchesClient,
    batch_id: str,
    *,
    reason: str,
    look_first: bool = True,
    watch_404_s: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> MessageBatch | None:
    """Cancel a batch unless it is canceling or has ended.

    :param client: the client; its retry policy applies to every call.
    :param batch_id: the batch.
    :param reason: why, for the log.
    :param look_first: get the batch first, and send no cancel when it needs none. False saves one call.
    :param watch_404_s: seconds for which cancels that answer 404 are repeated, by default `FRESH_404`. With less, a 404
        never counts as proof that the batch does not exist.
    :param sleep: waits the given seconds.
    :param clock: returns monotonic seconds.
    :return: the batch as `canceling` or `ended`, or None when it does not exist. The API still answers, and bills, the
        requests that it had begun.
    :raises CancelUnconfirmed: when neither is confirmed.
    :raises InvalidRequest: when the id or the client's settings are wrong; nothing was sent.

    Example::

        batch = cancel_if_running(client, "msgbatch_01…", reason="not needed any more")
    """
    seen = _attempt(lambda: client.get(batch_id)) if look_first else None
    if isinstance(seen, MessageBatch) and seen.processing_status in DONE:
        logger.info("Batch %s is %s already, no cancel requested (%s)", batch_id, seen.status_text, reason)
        return seen
    believed_after = FRESH_404.total_seconds()
    watch_404_s = believed_after if watch_404_s is None else watch_404_s
    sends = misses = 0
    missing_since = clock()
    while True:
        answer = _attempt(lambda: client.cancel(batch_id))
        seen = answer if _is_done(answer) else _attempt(lambda: client.get(batch_id))
        if isinstance(seen, MessageBatch) and seen.processing_status in DONE:
            logger.info("Batch %s is %s: cancel requested (%s)", batch_id, seen.status_text, reason)
            return seen
        if is_missing(answer) and is_missing(seen):
            missing_since = missing_since if misses else clock()
            misses += 1
            left = missing_since + watch_404_s - clock()
            if left > 0:
                sleep(min(left, PAUSE_S * misses, PAUSE_404_S))
                continue
            if watch_404_s < believed_after:
                raise CancelUnconfirmed(_message(batch_id, answer, seen))
            logger.info("Batch %s does not exist, there is nothing to cancel (%s)", batch_id, reason)
            return None
        misses, sends = 0, sends + 1
        if sends >= SENDS:
            raise CancelUnconfirmed(_message(batch_id, answer, seen))
        sleep(PAUSE_S)


def is_missing(answer: object) -> bool:
    """Whether the API answered that it has no such batch.

    This proves something only after `FRESH_404` of it.
    """
    return (
        isinstance(answer, ApiError) and answer.status == 404 and answer.from_api and answer.message.strip() != NO_ROUTE
    )


def _attempt(call: Callable[[], MessageBatch]) -> MessageBatch | BatchesError:
    try:
        return call()
    except InvalidRequest:
        raise
    except BatchesError as error:
        return error


def _is_done(answer: MessageBatch | BatchesError) -> bool:
    return isinstance(answer, MessageBatch) and answer.processing_status in DONE


def _message(batch_id: str, answer: MessageBatch | BatchesError, seen: MessageBatch | BatchesError) -> str:
    if isinstance(answer, MessageBatch):
        canceling = f"A cancel of {batch_id} was accepted"
    elif isinstance(answer, ApiError):
        canceling = f"Canceling {batch_id} was refused ({answer})"
    else:
        canceling = f"Canceling {batch_id} failed ({answer})"
    if isinstance(seen, MessageBatch):
        state = f"and it is still {seen.status_text}: it runs on and is billed"
    elif is_missing(seen):
        state = "and the API does not know it, as it may answer for a batch created just now: it may run and be billed"
    else:
        state = f"and its state could not be read ({seen}): it may run on and be billed"
    return f"{canceling} {state}. Cancel it again, or in the Console"
