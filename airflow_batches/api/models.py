"""Types of batches and list pages. How they are read: `wire`.

Shapes follow platform.claude.com/docs/en/api/messages/batches and batches recorded live in 2024-2026.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from airflow_batches.api.wire import Lenient, Wire


class ProcessingStatus(StrEnum):
    """A batch's status.

    Success, cancel and expiry all finish as `ENDED`; only the counts differ (docs, create).

    Example::

        if client.get(batch_id).processing_status is ProcessingStatus.ENDED:
            results = client.results(batch_id)
    """

    IN_PROGRESS = "in_progress"
    CANCELING = "canceling"
    ENDED = "ended"
    OTHER = "other"
    """A status this version does not know; the text is in `MessageBatch.status_text`."""

    @classmethod
    def _missing_(cls, value: object) -> ProcessingStatus:
        return cls.OTHER


Count = Annotated[int, Field(ge=0)]


class RequestCounts(Lenient):
    """Requests by state.

    The API may count all of them as `processing` until the whole batch has ended. A 0 means "none" only if `known` is
    True: counts that are missing or cannot be read are 0 too.

    Example::

        counts = batch.request_counts
        if counts.known:
            print(f"{counts.succeeded} of {counts.total} succeeded")
    """

    NULL_IS_UNREAD: ClassVar[bool] = True

    processing: Count = 0
    succeeded: Count = 0
    errored: Count = 0
    canceled: Count = 0
    expired: Count = 0

    @property
    def known(self) -> bool:
        """Whether the API sent counts, and every one of them could be read."""
        return bool(self.model_fields_set) and "unread" not in (self.model_extra or {})

    @property
    def other(self) -> int:
        """Requests in states that this version does not know. None of them succeeded."""
        counts = (self.model_extra or {}).values()
        return sum(count for count in counts if type(count) is int and count > 0)

    @property
    def total(self) -> int:
        """The number of requests in the batch; too low unless the counts are `known`."""
        return self.processing + self.succeeded + self.errored + self.canceled + self.expired + self.other


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


Time = Annotated[datetime, AfterValidator(_aware)]
"""A time. Without a zone it is UTC, as all times of the API are."""


class MessageBatch(Lenient):
    """A batch.

    Times are aware datetimes. `results_url` is never requested: the client builds URLs from the id.

    Example::

        batch = client.get("msgbatch_01…")
        print(batch.processing_status, batch.request_counts.succeeded, batch.expires_at)
    """

    id: str
    type: str = "message_batch"
    status_text: str = Field(alias="processing_status")
    request_counts: RequestCounts = RequestCounts()
    ended_at: Time | None = None
    created_at: Time | None = None
    expires_at: Time | None = None
    archived_at: Time | None = None
    cancel_initiated_at: Time | None = None
    results_url: str | None = None

    @property
    def processing_status(self) -> ProcessingStatus:
        """The status; `OTHER` if this version does not know it."""
        return ProcessingStatus(self.status_text)


class TokenCount(Wire):
    """The answer to a token count."""

    input_tokens: int


class BatchPage(Wire):
    """One page of batches, newest first.

    A batch that cannot be read is left out of `data` and counted in `unreadable`. Unless that is 0, a batch that is not
    in `data` may still exist.

    Example::

        page = client.list(limit=100)
        older = client.list(limit=100, after_id=page.next_after) if page.has_more else None
    """

    data: list[MessageBatch]
    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _without_unreadable(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as exc:
            places = {error["loc"][:2] for error in exc.errors()}
            odd = {place[1] for place in places if len(place) == 2 and place[0] == "data"}
            ids = {place[0] for place in places if place[:1] in {("first_id",), ("last_id",)}}
            if len(odd) + len(ids) < len(places):
                raise
        batches = value["data"]
        fitting = {name: field for name, field in value.items() if name not in ids}
        fitting["data"] = [batch for number, batch in enumerate(batches) if number not in odd]
        return handler({**fitting, "unread": [batches[number] for number in sorted(odd)]} if odd else fitting)

    @property
    def unreadable(self) -> int:
        """The number of batches on the page that could not be read."""
        unread = (self.model_extra or {}).get("unread")
        return len(unread) if isinstance(unread, list) else 0

    @property
    def next_after(self) -> str | None:
        """The `after_id` of the next older page, None on the last one."""
        return (self.last_id or (self.data[-1].id if self.data else None)) if self.has_more else None

    @property
    def next_before(self) -> str | None:
        """The `before_id` of the next newer page, None on the last one."""
        return (self.first_id or (self.data[0].id if self.data else None)) if self.has_more else None


class BatchDeleted(Wire):
    """The answer to a delete.

    Example::

        print(client.delete(batch_id).id)
    """

    id: str
    type: str = "message_batch_deleted"
