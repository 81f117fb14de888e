"""`POST /v1/messages` and `POST /v1/messages/count_tokens`, for clients that try one request before a batch.

A message is what a batch's line with the same params would get. What a line would be errored for is an error answer.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from airflow_batches.emulator import ids
from airflow_batches.emulator.answers import single_result
from airflow_batches.emulator.call import Call
from airflow_batches.emulator.content import Prompt, answer
from airflow_batches.emulator.errors import EdgeTooLarge, ErrorAnswer
from airflow_batches.emulator.events import event_stream
from airflow_batches.emulator.lines import Shape
from airflow_batches.emulator.terms import Terms
from airflow_batches.emulator.validation import not_json
from airflow_batches.emulator.verdicts import Judge
from airflow_batches.emulator.wire import Response

_LARGEST: Final = 32_000_000
"""Bytes of a body (docs: API overview, "Request size limits")."""
_JSON: Final = {"content-type": "application/json"}
_EVENTS: Final = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
_STATUS: Final = {"not_found_error": 404}
"""Error type -> status; every other refusal of params is a 400."""


def count_tokens(call: Call) -> Response:
    """Answer with an estimate. Raises ErrorAnswer for params that the API refuses."""
    _, prompt = _read(call, "count_tokens")
    return Response(200, _JSON, msgspec.json.encode({"input_tokens": prompt.tokens}))


def create_message(call: Call) -> Response:
    """Answer with a message, at once or as events. Raises ErrorAnswer for params that the API refuses."""
    params, prompt = _read(call, "messages")
    message = single_result(answer(prompt, ""), ids.batch_id())["message"]
    message["usage"]["service_tier"] = "standard"
    if params["max_tokens"] == 0:  # it only warms the cache (docs: "Prompt caching")
        message["content"] = []
    if params.get("stream"):
        return Response(200, _EVENTS, event_stream(message))
    return Response(200, _JSON, msgspec.json.encode(message))


def _read(call: Call, kind: Literal["messages", "count_tokens"]) -> tuple[dict[str, Any], Prompt]:
    """Return the params and the prompt that they make. Raises ErrorAnswer for what a line would be errored for."""
    body = bytes(call.payload)
    if len(body) > _LARGEST:
        raise EdgeTooLarge
    try:
        params = msgspec.json.decode(body)
        if not isinstance(params, dict):
            raise ErrorAnswer(400, "Input should be a valid dictionary or object to extract fields from")
        prompt = Judge(Terms.of(call.head.headers, call.settings.models, kind)).prompt(msgspec.Raw(body))
    except (ValueError, RecursionError) as error:
        raise not_json(body, error) from None
    if isinstance(prompt, Shape):
        kind_of_error = prompt.error_type or ""
        raise ErrorAnswer(_STATUS.get(kind_of_error, 400), prompt.error_message, kind=kind_of_error)
    return params, prompt
