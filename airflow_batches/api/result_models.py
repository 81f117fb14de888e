"""Types of one line of the results, and of what it holds. How they are read: `wire`.

Shapes follow platform.claude.com/docs/en/api/messages/batches and lines recorded live in 2024-2026.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from airflow_batches.api.wire import Lenient, Wire


class CacheCreation(Lenient):
    """Cache-write tokens by time to live."""

    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class Usage(Lenient):
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


class Message(Lenient):
    """A model's answer.

    Content blocks are plain dicts, because new models bring new types of blocks.

    Example::

        if item.result.type == "succeeded":
            print(item.result.message.text)
    """

    id: str | None = None
    model: str | None = None
    role: str = "assistant"
    content: list[dict[str, Any]] = Field(default_factory=list)
    stop_reason: str | None = None
    usage: Usage = Usage()

    @property
    def text(self) -> str:
        """The text blocks, joined."""
        texts = [block.get("text") for block in self.content if block.get("type") == "text"]
        return "".join(text for text in texts if isinstance(text, str))


class RequestError(Lenient):
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


class Succeeded(Lenient):
    """The request was answered, and is billed.

    This includes a refusal, with `stop_reason` `refusal`.

    Example::

        texts = [item.result.message.text for item in items if isinstance(item.result, Succeeded)]
    """

    type: Literal["succeeded"]
    message: Message = Message()


class Errored(Lenient):
    """The request was refused or failed; it is not billed.

    Example::

        errors = [item.result.error for item in items if isinstance(item.result, Errored)]
    """

    type: Literal["errored"]
    error: RequestError = RequestError()


class Canceled(Wire):
    """The request had not begun when the batch was canceled; it is not billed.

    Example::

        again = [item.custom_id for item in items if isinstance(item.result, Canceled)]
    """

    type: Literal["canceled"]


class Expired(Wire):
    """The request had not begun within the batch's 24 hours; it is not billed.

    Example::

        again = [item.custom_id for item in items if isinstance(item.result, Expired)]
    """

    type: Literal["expired"]


class OtherResult(Wire):
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


class ResultItem(Wire):
    """One line of the results.

    There is exactly one for each request, in any order (docs, "Batch processing").

    Example::

        with client.results_stream(batch_id) as items:
            by_id = {item.custom_id: item.result for item in items}
    """

    custom_id: str
    result: Result
