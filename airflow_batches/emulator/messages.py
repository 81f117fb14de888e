"""`POST /v1/messages` and `POST /v1/messages/count_tokens`, for clients that try one request before a batch.

A message is what a batch's line with the same params would get. What a line would be errored for is an error answer.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from airflow_batches.emulator import ids
from airflow_batches.emulator.answers import result_blocks
from airflow_batches.emulator.call import Call
from airflow_batches.emulator.errors import EdgeTooLarge, ErrorAnswer
from airflow_batches.emulator.events import event_stream
from airflow_batches.emulator.lifecycle import new_batch
from airflow_batches.emulator.lines import CheckedLine, Lines
from airflow_batches.emulator.terms import Terms
from airflow_batches.emulator.tokens import count_params
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
    params, _ = _judged(call, "count_tokens")
    return Response(200, _JSON, msgspec.json.encode({"input_tokens": count_params(params)}))


def create_message(call: Call) -> Response:
    """Answer with a message, at once or as events. Raises ErrorAnswer for params that the API refuses."""
    params, verdict = _judged(call, "messages")
    message = _message(call, verdict, params)
    if params.get("stream"):
        return Response(200, _EVENTS, event_stream(message))
    return Response(200, _JSON, msgspec.json.encode(message))


def _judged(call: Call, kind: Literal["messages", "count_tokens"]) -> tuple[dict[str, Any], CheckedLine]:
    """Return the params and what would become of a line with them. Raises ErrorAnswer."""
    body = bytes(call.payload)
    if len(body) > _LARGEST:
        raise EdgeTooLarge
    try:
        params = msgspec.json.decode(body)
        if not isinstance(params, dict):
            raise ErrorAnswer(400, "Input should be a valid dictionary or object to extract fields from")
        verdict = Judge(Terms.of(call.head.headers, call.settings.models, kind)).verdict("", msgspec.Raw(body))
    except (ValueError, RecursionError) as error:
        raise not_json(body, error) from None
    shape = verdict.shape
    if shape.error_type is not None:
        raise ErrorAnswer(_STATUS.get(shape.error_type, 400), shape.error_message, kind=shape.error_type)
    return params, verdict._replace(tokens=count_params(params))


def _message(call: Call, verdict: CheckedLine, params: dict[str, Any]) -> dict[str, Any]:
    """Return the message of the only line of a batch that is not stored."""
    lines = Lines.gather([("", verdict)])
    batch = new_batch(
        ids.batch_id(),
        call.workspace,
        lines,
        call.state.clock.micros(),
        0,
        incremental=False,
        answer_chars=call.settings.answer_chars,
    )
    line = msgspec.json.decode(b"".join(result_blocks(batch, lines, range(1))))
    message: dict[str, Any] = line["result"]["message"]
    message["usage"]["service_tier"] = "standard"
    if params["max_tokens"] == 0:  # it only warms the cache (docs: "Prompt caching")
        message["content"] = []
    return message
