"""Types of the API's objects (pydantic).

Rules: unknown fields, statuses and result types are kept, because the API adds them without a new version. Fields that
may be absent are optional. Text is stored as received; its meaning is a property.

| object      | required                 | another field that cannot be read                                    |
|-------------|--------------------------|----------------------------------------------------------------------|
| result line | `custom_id`, `type`      | gets its default                                                     |
| batch       | `id`, `processing_status`| gets its default; counts that cannot be read are unknown, not 0      |
| page        | `data`, a readable `has_more` | a batch that cannot be read is left out, and counted            |

Values that could not be read are kept in `model_extra["unread"]`.

Shapes follow platform.claude.com/docs/en/api/messages/batches and lines recorded live in 2024-2026.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    Tag,
    ValidationError,
    model_validator,
)


class _Wire(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True, serialize_by_alias=True)


class _Lenient(_Wire):
    """A model that tolerates invalid fields: a field that cannot be read gets its default, the others are read.

    The invalid value is in `model_extra["unread"]` under the field's name, unless it was `null`.
    """

    NULL_IS_UNREAD: ClassVar[bool] = False
    """Whether an invalid `null` is kept in `unread` too."""

    @model_validator(mode="wrap")
    @classmethod
    def _as_far_as_it_goes(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        value = cls._unwrapped(value)
        try:
            return handler(value)
        except ValidationError as exc:
            odd = {str(error["loc"][0]) for error in exc.errors() if error["loc"]}
            if not odd or odd & _required_keys(cls):
                raise
        unread = {name: value[name] for name in odd if cls.NULL_IS_UNREAD or value[name] is not None}
        fitting = {name: field for name, field in value.items() if name not in odd}
        return handler({**fitting, "unread": unread} if unread else fitting)

    @classmethod
    def _unwrapped(cls, value: Any) -> Any:
        """Return the object that holds the fields; subclasses override this where it is not the value itself."""
        return value


def _required_keys(model: type[BaseModel]) -> set[str]:
    """Return the required keys, by field name and by JSON name."""
    required = {name: field for name, field in model.model_fields.items() if field.is_required()}
    return set(required) | {field.alias for field in required.values() if field.alias}


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


class RequestCounts(_Lenient):
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


class MessageBatch(_Lenient):
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


class TokenCount(_Wire):
    """The answer to a token count."""

    input_tokens: int


class BatchPage(_Wire):
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


class BatchDeleted(_Wire):
    """The answer to a delete.

    Example::

        print(client.delete(batch_id).id)
    """

    id: str
    type: str = "message_batch_deleted"


class CacheCreation(_Lenient):
    """Cache-write tokens by time to live."""

    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class Usage(_Lenient):
    """Tokens of one answer.

    `input_tokens` excludes tokens that were written to or read from the cache.

    Example::

        output = sum(item.result.message.usage.output_tokens or 0 for item in succeeded)
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    service_tier: str | None = None


class Message(_Lenient):
    """A model's answer.

    Content blocks are plain dicts, because new models bring new types of blocks.

    Example::

        if item.result.type == "succeeded":
            print(item.result.message.text)
    """

    id: str | None = None
    model: str | None = None
    role: str = "assistant"
    content: list[dict[str, Any]] = []
    stop_reason: str | None = None
    usage: Usage = Usage()

    @property
    def text(self) -> str:
        """The text blocks, joined."""
        texts = [block.get("text") for block in self.content if block.get("type") == "text"]
        return "".join(text for text in texts if isinstance(text, str))


class RequestError(_Lenient):
    """The reason why one request failed.

    The API nests it in an error body (`{"type": "error", "error": {…}, "request_id": …}`, recorded live). The flat
    `{"type", "message"}` of older documentation is read too.

    Example::

        if item.result.type == "errored":
            print(item.result.error.type, item.result.error.message)
    """

    type: str = "unknown_error"
    message: str = ""
    details: dict[str, Any] | None = None
    request_id: str | None = None

    @classmethod
    def _unwrapped(cls, value: Any) -> Any:
        match value:
            case str():
                return {"message": value}
            case {"error": dict(nested), **around}:
                around.pop("type", None)  # it is "error"
                return {**around, **nested}
            case {"type": "error", "error": str(text), **around}:
                return {**around, "message": text}
        return value


class Succeeded(_Lenient):
    """The request was answered, and is billed.

    This includes a refusal, with `stop_reason` `refusal`.

    Example::

        texts = [item.result.message.text for item in items if isinstance(item.result, Succeeded)]
    """

    type: Literal["succeeded"]
    message: Message = Message()


class Errored(_Lenient):
    """The request was refused or failed; it is not billed.

    Example::

        errors = [item.result.error for item in items if isinstance(item.result, Errored)]
    """

    type: Literal["errored"]
    error: RequestError = RequestError()


class Canceled(_Wire):
    """The request had not begun when the batch was canceled; it is not billed.

    Example::

        again = [item.custom_id for item in items if isinstance(item.result, Canceled)]
    """

    type: Literal["canceled"]


class Expired(_Wire):
    """The request had not begun within the batch's 24 hours; it is not billed.

    Example::

        again = [item.custom_id for item in items if isinstance(item.result, Expired)]
    """

    type: Literal["expired"]


class OtherResult(_Wire):
    """A result of a type that this version does not know, with all its fields.

    Example::

        unknown = [item.result.type for item in items if isinstance(item.result, OtherResult)]
    """

    type: str


_KNOWN_RESULTS = frozenset({"succeeded", "errored", "canceled", "expired"})


def _result_tag(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return kind if isinstance(kind, str) and kind in _KNOWN_RESULTS else "other"


Result = Annotated[
    Annotated[Succeeded, Tag("succeeded")]
    | Annotated[Errored, Tag("errored")]
    | Annotated[Canceled, Tag("canceled")]
    | Annotated[Expired, Tag("expired")]
    | Annotated[OtherResult, Tag("other")],
    Discriminator(_result_tag),
]


class ResultItem(_Wire):
    """One line of the results.

    There is exactly one for each request, in any order (docs, "Batch processing").

    Example::

        with client.results_stream(batch_id) as items:
            by_id = {item.custom_id: item.result for item in items}
    """

    custom_id: str
    result: Result
