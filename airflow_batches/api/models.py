"""What the API sends, typed (pydantic).

Rules: unknown fields, statuses and result types survive, because the API adds them without a new version; what
may be absent is optional. A wire text is stored as it came, and what it means is a property derived from it. A result
line with an id and a type is a result, whatever shape the rest has.
Shapes follow platform.claude.com/docs/en/api/messages/batches and lines recorded live in 2024-2026.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
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


class ProcessingStatus(StrEnum):
    """Where a batch is in its life. Success, cancel and expiry all finish as `ENDED`; the counts tell them apart."""

    IN_PROGRESS = "in_progress"
    CANCELING = "canceling"
    ENDED = "ended"
    OTHER = "other"
    """A status this version does not know; the text is in `MessageBatch.status_text`."""

    @classmethod
    def _missing_(cls, value: object) -> ProcessingStatus:
        return cls.OTHER


class RequestCounts(_Wire):
    """Requests by state. The API may keep all of them in `processing` until the whole batch has ended."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0

    @property
    def total(self) -> int:
        """How many requests the batch holds."""
        return self.processing + self.succeeded + self.errored + self.canceled + self.expired


class MessageBatch(_Wire):
    """A batch. Times are aware datetimes; `results_url` is never dialled (paths are built from the id)."""

    id: str
    type: str = "message_batch"
    status_text: str = Field(alias="processing_status")
    request_counts: RequestCounts = RequestCounts()
    ended_at: datetime | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    archived_at: datetime | None = None
    cancel_initiated_at: datetime | None = None
    results_url: str | None = None

    @property
    def processing_status(self) -> ProcessingStatus:
        """The status, `OTHER` when this version does not know it."""
        return ProcessingStatus(self.status_text)


class BatchPage(_Wire):
    """One page of batches, newest first."""

    data: list[MessageBatch]
    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None

    @property
    def next_after(self) -> str | None:
        """The `after_id` of the next older page, None on the last one."""
        return self.last_id if self.has_more else None

    @property
    def next_before(self) -> str | None:
        """The `before_id` of the next newer page, None on the last one."""
        return self.first_id if self.has_more else None


class BatchDeleted(_Wire):
    """The answer to a delete."""

    id: str
    type: str = "message_batch_deleted"


class _Paid(_Wire):
    """A part of a result line. No odd field may cost the answers around it: the default stands in for it, and what
    came is in `model_extra["unread"]` under the field's name, unless it was `null`.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _as_far_as_it_goes(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        value = cls._unwrapped(value)
        try:
            return handler(value)
        except ValidationError as exc:
            odd = {error["loc"][0] for error in exc.errors() if error["loc"]}
            if not odd or any(cls.model_fields[str(name)].is_required() for name in odd):
                raise
        unread = {name: value[name] for name in odd if value[name] is not None}
        fitting = {name: field for name, field in value.items() if name not in odd}
        return handler({**fitting, "unread": unread} if unread else fitting)

    @classmethod
    def _unwrapped(cls, value: Any) -> Any:
        """What holds the fields, where that is not the value itself."""
        return value


class CacheCreation(_Paid):
    """Cache-write tokens by time to live."""

    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class Usage(_Paid):
    """Tokens of one answer. `input_tokens` leaves out what was written to or read from the cache."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    service_tier: str | None = None


class Message(_Paid):
    """An answer of the model. Content blocks stay plain dicts: their types grow with every model."""

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


class RequestError(_Paid):
    """Why one request failed.

    The API nests it in a whole error body (`{"type": "error", "error": {…}, "request_id": …}`, recorded live);
    the flat `{"type", "message"}` of older writings is read as well.
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
                around.pop("type", None)  # it says "error"
                return {**around, **nested}
            case {"type": "error", "error": str(text), **around}:
                return {**around, "message": text}
        return value


class Succeeded(_Paid):
    """Answered, and billed; a refusal arrives as this too, with `stop_reason` `refusal`."""

    type: Literal["succeeded"]
    message: Message = Message()


class Errored(_Paid):
    """Refused or failed; not billed."""

    type: Literal["errored"]
    error: RequestError = RequestError()


class Canceled(_Wire):
    """Not begun when the batch was canceled; not billed."""

    type: Literal["canceled"]


class Expired(_Wire):
    """Not begun when the batch's 24 hours were over; not billed."""

    type: Literal["expired"]


class OtherResult(_Wire):
    """A result type this version does not know, with all its fields."""

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
    """One line of the results: exactly one for each request, in any order."""

    custom_id: str
    result: Result
