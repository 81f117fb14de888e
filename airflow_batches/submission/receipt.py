"""What was sent, and what a task remembers of it from one try to the next. All of it is small JSON.

    none ──► Begun ──► Intent ──► Submitted
               ▲          │            │
               └──────────┘            └──► a new Intent, when the batch is of no use any more
             certainly refused

- `Begun`: a try has looked at the store, and nothing has been sent.
- `Intent`: written when all of the body but its end has been sent. From here on a batch may exist.
- `Submitted`: the batch's id is known.

What an older or a newer version wrote is read: unknown keys are ignored, missing ones have defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import msgspec

from airflow_batches.submission.errors import Superseded, UncertainSubmit
from airflow_batches.submission.scan import Scan

if TYPE_CHECKING:
    from airflow_batches.api import MessageBatch

KEY: Final = "airflow_batches.submission"
"""Under which the record stands in a task's store."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent as which batch.

    `bytes` is the length of the create's body and `sha256` its hash; `ids_digest` stands for the custom_ids and
    `fingerprint` for the requests with all that is in them, both whatever the order; `ids_sum` can name an id that
    is missing. `models` names at most 20, `source` is the URI or "requests", `created_at` the API's time.
    """

    batch_id: str
    requests: int
    bytes: int
    sha256: str
    ids_digest: str
    ids_sum: str = ""
    fingerprint: str
    models: tuple[str, ...] = ()
    source: str = ""
    created_at: datetime | None = None

    @classmethod
    def of(cls, scan: Scan, batch: MessageBatch, *, source: str) -> Self:
        """The receipt for a source that became a batch."""
        return cls(
            batch_id=batch.id,
            requests=scan.requests,
            bytes=scan.size,
            sha256=scan.sha256,
            ids_digest=scan.ids_digest,
            ids_sum=scan.ids_sum,
            fingerprint=scan.fingerprint,
            models=scan.models,
            source=source,
            created_at=batch.created_at,
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON, for XCom."""
        plain: dict[str, Any] = _plain(self)
        return plain

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """From plain JSON. Raises `msgspec.ValidationError` for what is no receipt."""
        return msgspec.convert(value, cls)


class Begun(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="state", tag="begun"):
    """A try has begun, and nothing was sent. `claim` tells the try that sends now from another at the same time."""

    claim: str = ""


class Intent(msgspec.Struct, frozen=True, kw_only=True, tag_field="state", tag="intent"):
    """A batch of these requests may have come into being after `since` and not after `until`, in the API's time."""

    fingerprint: str
    requests: int
    ids_digest: str
    since: datetime
    until: datetime

    @classmethod
    def of(cls, scan: Scan, *, since: datetime, until: datetime) -> Self:
        """The intent to send what was scanned."""
        return cls(
            fingerprint=scan.fingerprint, requests=scan.requests, ids_digest=scan.ids_digest, since=since, until=until
        )


class Submitted(msgspec.Struct, frozen=True, kw_only=True, tag_field="state", tag="submitted"):
    """A batch that is ours."""

    receipt: Receipt


Record = Begun | Intent | Submitted


def to_plain(record: Record) -> dict[str, Any]:
    """A record as plain JSON."""
    plain: dict[str, Any] = _plain(record)
    return plain


def from_plain(value: Any) -> Record:
    """A record from plain JSON. Raises `msgspec.ValidationError` for what is none."""
    record: Record = msgspec.convert(value, Record)
    return record


def fingerprint_of(record: Record | None) -> str | None:
    """Which requests a record is about; None where it is about none."""
    match record:
        case Intent(fingerprint=fingerprint) | Submitted(receipt=Receipt(fingerprint=fingerprint)):
            return fingerprint
        case _:
            return None


class StateStore(Protocol):
    """JSON values that outlive a try: Airflow's `context["task_state_store"]` is one. `get` of nothing is None."""

    def get(self, key: str, /) -> Any: ...
    def set(self, key: str, value: Any, /) -> None: ...


class MemoryStore:
    """A store that forgets with the process: for scripts, and below Airflow 3.3."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        """The value, or None."""
        return self._values.get(key)

    def set(self, key: str, value: Any) -> None:
        """Keep a value."""
        self._values[key] = value


class Memory:
    """A task's record in its store.

    What is written replaces only what this try knows of: a try that Airflow has given up, but that still runs,
    finds that the next one has written since, and gets no further.
    """

    def __init__(self, store: StateStore | None) -> None:
        self._store = MemoryStore() if store is None else store
        self._known: Any = None

    def read(self) -> Record | None:
        """The record of an earlier try, None when there is none. Raises `UncertainSubmit` when it makes no sense."""
        self._known = self._store.get(KEY)
        try:
            return None if self._known is None else from_plain(self._known)
        except msgspec.ValidationError as exc:
            raise UncertainSubmit(
                f"the task's record {KEY!r} cannot be read ({exc}); delete it to submit anew"
            ) from exc

    def write(self, record: Record) -> None:
        """Replace the record. Raises `Superseded` when another try has written since."""
        if self._store.get(KEY) != self._known:
            raise Superseded
        self._known = to_plain(record)
        self._store.set(KEY, self._known)


def _plain(value: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))
