"""What a task remembers of its submission from one try to the next. All of it is small JSON.

| field        | is set                                                 | is cleared                                  |
|--------------|--------------------------------------------------------|---------------------------------------------|
| `claim`      | when a try is about to send                            | by the claim of the next try                |
| `intent`     | when all of the body but its last piece has been sent: | when the answer, or a search, tells what    |
|              | from here on a batch may exist                         | became of it                                |
| `receipt`    | when the id of the task's batch is known               | never; a newer batch's receipt replaces it  |
| `unanswered` | counts creates without an answer                       | by an answer, and when a new try begins     |
| `replaced`   | with the receipt of a batch that replaces others       | when a look has shown that they are         |
|              |                                                        | canceled or over                            |

So the id of a batch is forgotten only after its successor's id is stored. Unknown members are ignored and missing ones
have defaults, so that versions can read each other's records.
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
    """A create whose answer is not known. Times are the API's.

    `sent_at`: when the last piece of the body was about to be sent.
    `since`: its batch is created then or later.
    `certain_from`, `certain_until`: a batch created outside of these may be an older or a younger task's.
    `before`: ids of batches that existed before the create, or belong to other requests; its batch is none of them.
    `until`: its batch is created before this time, if at all.
    `generation`: of the run of the task that sent it.
    `replaces`: the batch that is canceled once this one's id is stored.
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
    """One task's record. `generation` is that of the run of the task that sent the batch of `receipt`: the same for
    retries, and another one after a person has asked for the task again.
    """

    claim: str = ""
    intent: Intent | None = None
    receipt: Receipt | None = None
    replaced: tuple[str, ...] = ()
    generation: int = 0
    unanswered: int = 0

    def with_batch(self, intent: Intent, batch: MessageBatch) -> Record:
        """Return the record after an intent has become a batch."""
        return Record(
            claim=self.claim,
            receipt=Receipt.of(intent.sent, batch),
            replaced=(*self.replaced, *([intent.replaces] if intent.replaces else [])),
            generation=intent.generation,
        )

    def but(self, **changes: Any) -> Record:
        """Return the record with some fields changed."""
        return msgspec.structs.replace(self, **changes)


def to_plain(record: Record) -> dict[str, Any]:
    """Return a record as plain JSON."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record))
    return plain


class StateStore(Protocol):
    """JSON values that outlive a try, such as Airflow's `context["task_state_store"]`. A missing key is None."""

    def get(self, key: str, /) -> Any: ...
    def set(self, key: str, value: Any, /) -> None: ...


class MemoryStore:
    """A store that lasts as long as the process: for scripts, and for Airflow before 3.3.

    :param record: a record as plain JSON to begin with.
    """

    def __init__(self, record: Any = None) -> None:
        self._values: dict[str, Any] = {} if record is None else {KEY: record}

    def get(self, key: str) -> Any:
        """Return the value, or None."""
        return self._values.get(key)

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        self._values[key] = value


STALLED: Final = 30.0
"""Seconds. A write that takes longer was stopped on its way, and another try may have written meanwhile. Airflow gives
a task up after 300 s without a heartbeat by default, and a write takes milliseconds."""


class RecordStore:
    """A task's record in its store, as one try sees it.

    A try that Airflow has given up may still run, or may have been stopped for an hour and go on. So each write first
    checks that no other try has written since, and once more after it: the process may have been stopped in between.
    What such a write replaced is lost, for a store cannot compare and set; Airflow's refuses it, since the retried task
    instance has another id. For the old id it answers None, which is another value too.
    """

    def __init__(self, store: StateStore | None) -> None:
        self._store = MemoryStore() if store is None else store
        self._known: Any = None
        self._previous: Any = None
        self._was_read = False

    def read(self) -> Record:
        """Return the record of an earlier try, an empty one if there is none.

        :raises UncertainSubmit: when the record cannot be read.
        :raises Superseded: when this try has read it before, and another one has written since.
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

        :raises Superseded: when another try has written since this one read or wrote the record, or may have.
        """
        began = time.monotonic()
        self._check(self._known)
        self._previous, self._known = self._known, to_plain(record)
        self._store.set(KEY, self._known)
        self._check(self._known)
        if time.monotonic() - began > STALLED:
            raise Superseded
        return record

    def to_plain(self) -> Any:
        """Return the record as plain JSON; None if there is none."""
        return self._known

    def is_current(self) -> bool:
        """Whether this try is still the one that wrote last. May be called from another thread, during a write."""
        return self._store.get(KEY) in (self._known, self._previous)

    def names(self, batch_id: str) -> bool:
        """Whether the stored record, as this try may read it, names a batch as the task's."""
        stored = self._store.get(KEY)
        return stored is not None and (stored.get("receipt") or {}).get("batch_id") == batch_id

    def _check(self, expected: Any) -> None:
        if self._store.get(KEY) != expected:
            raise Superseded
