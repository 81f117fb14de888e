"""The record of a task's submission, which outlives a try. It is small JSON.

| field        | set                                                    | cleared                                     |
|--------------|--------------------------------------------------------|---------------------------------------------|
| `claim`      | when a try is about to send                            | by the claim of the next try                |
| `intent`     | when only the last piece of the body is left to send:  | when the answer, or a search, says whether  |
|              | from then on a batch may exist                         | it was accepted                             |
| `receipt`    | when the id of the task's batch is known               | never; a newer batch's receipt replaces it  |
| `unanswered` | counts creates without an answer                       | by an answer, and when a new try begins     |
| `replaced`   | with the receipt of a batch that replaces others       | when the API has confirmed that they are    |
|              |                                                        | canceled or have ended                      |

So the id of a batch is removed only after its successor's id is stored. Unknown members are ignored and missing ones
have defaults, so that different versions of this package can read each other's records.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from airflow_batches.submission.errors import Superseded, UncertainSubmit
from airflow_batches.submission.receipt import Receipt, Sent

if TYPE_CHECKING:
    from airflow_batches.api import MessageBatch

KEY: Final = "airflow_batches.submission"
"""The key of the record in a task's store."""


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """A create without a known answer. Times are the API's.

    :param sent: its requests.
    :param sent_at: when the last piece of the body was about to be sent.
    :param since: its batch was created at this time or later.
    :param certain_from: a batch created earlier may belong to an earlier run.
    :param certain_until: a batch created later may belong to a later run.
    :param before: ids of batches that existed before the create, or belong to other requests.
    :param until: its batch was created before this time, if at all.
    :param generation: that of the try that sent it.
    :param replaces: the batch to cancel after the new batch's id is stored.
    """

    sent: Sent
    sent_at: datetime
    since: datetime
    certain_from: datetime
    certain_until: datetime
    before: tuple[str, ...] = ()
    until: datetime
    generation: int = 0
    replaces: str | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One task's record (see the table).

    `generation` is that of the try that sent the batch of `receipt`: the same for all retries, and another one when a
    person runs the task again.
    """

    claim: str = ""
    intent: Intent | None = None
    receipt: Receipt | None = None
    replaced: tuple[str, ...] = ()
    generation: int = 0
    unanswered: int = 0

    def with_batch(self, intent: Intent, batch: MessageBatch) -> Record:
        """Return the record after an intent's batch was created or found."""
        return Record(
            claim=self.claim,
            receipt=Receipt.of(intent.sent, batch),
            replaced=(*self.replaced, *([intent.replaces] if intent.replaces else [])),
            generation=intent.generation,
        )

    def replace(self, **changes: Any) -> Record:
        """Return the record with some fields changed."""
        return msgspec.structs.replace(self, **changes)


def to_plain(record: Record) -> dict[str, Any]:
    """Return a record as plain JSON."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record))
    return plain


class StateStore(Protocol):
    """JSON values that outlive a try, such as Airflow's `context["task_state_store"]`.

    A missing key is None.
    """

    def get(self, key: str, /) -> Any: ...
    def set(self, key: str, value: Any, /) -> None: ...


class MemoryStore:
    """A store in memory, for scripts and for Airflow before 3.3.

    :param record: the first record, as plain JSON; by default there is none.
    """

    def __init__(self, record: Any = None) -> None:
        self._values: dict[str, Any] = {} if record is None else {KEY: record}

    def get(self, key: str) -> Any:
        """Return the value, or None."""
        return self._values.get(key)

    def set(self, key: str, value: Any) -> None:
        """Store a value."""
        self._values[key] = value


STALLED_S: Final = 30.0
"""Seconds. After a longer write, the process may have been suspended while another try wrote. Chosen: a write takes
milliseconds, and Airflow declares a task dead after 300 s without a heartbeat by default."""


class RecordStore:
    """A task's record in its store, as one try sees it.

    A try that Airflow has declared dead may still run, or may continue after an hour of suspension. So each write
    checks before and after it that no other try has written: the process may have been suspended in between. A store
    cannot compare and set, so a late write may replace another try's record. Airflow's store refuses such a write,
    because the retried task instance has another id; for the old id it returns None, which also counts as a change.

    :param store: where the record is; None: in memory.
    :param stalled_s: seconds after which a write may have been overtaken.

    Example::

        records = RecordStore(context["task_state_store"])
        receipt = submit(client, source, records=records)
    """

    def __init__(self, store: StateStore | None, *, stalled_s: float = STALLED_S) -> None:
        self._store = MemoryStore() if store is None else store
        self._stalled_s = stalled_s
        self._known: Any = None
        self._previous: Any = None
        self._was_read = False

    def read(self) -> Record:
        """Return the record, an empty one if there is none.

        :raises UncertainSubmit: when the record cannot be read.
        :raises Superseded: when another try has written since this one first read the record.
        """
        if self._was_read:
            self._check(self._known)
        else:
            self._known = self._previous = self._store.get(KEY)
            self._was_read = True
        try:
            return Record() if self._known is None else msgspec.convert(self._known, Record)
        except msgspec.ValidationError as exc:
            raise UncertainSubmit(
                f"The task's record {KEY!r} cannot be read ({exc}), so it is unknown whether a batch was submitted. "
                "Look for it in the Console; then delete the record from the task's state store to submit anew"
            ) from exc

    def write(self, record: Record) -> Record:
        """Replace the record.

        :param record: the new record.
        :return: the new record.
        :raises Superseded: when another try has written since this one read or wrote the record, or may have.
        """
        began = time.monotonic()
        self._check(self._known)
        self._previous, self._known = self._known, to_plain(record)
        self._store.set(KEY, self._known)
        self._check(self._known)
        if time.monotonic() - began > self._stalled_s:
            raise Superseded
        return record

    def to_plain(self) -> Any:
        """Return the record as plain JSON; None if there is none."""
        return self._known

    def is_current(self) -> bool:
        """Whether this try was the last one to write. Other threads may call this during a write."""
        return self._store.get(KEY) in (self._known, self._previous)

    def names(self, batch_id: str) -> bool:
        """Whether the stored record names this batch as the task's.

        :param batch_id: the batch.
        """
        stored = self._store.get(KEY)
        return stored is not None and (stored.get("receipt") or {}).get("batch_id") == batch_id

    def _check(self, expected: Any) -> None:
        if self._store.get(KEY) != expected:
            raise Superseded
