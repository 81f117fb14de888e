"""`POST /v1/messages` and `POST /v1/messages/count_tokens`, for clients that try one request before a batch.

A message is what a batch's line with the same params would get, rules and answers included. What a line would be
errored for is an error answer. The shares of the settings are for batches only: single calls fail by faults.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from airflow_batches.emulator import ids
from airflow_batches.emulator.answers import single_result
from airflow_batches.emulator.cache import NO_CACHE
from airflow_batches.emulator.call import Call
from airflow_batches.emulator.content import Prompt, answer
from airflow_batches.emulator.decisions import Decisions, Question
from airflow_batches.emulator.errors import STATUSES, EdgeTooLarge, ErrorAnswer
from airflow_batches.emulator.events import event_stream
from airflow_batches.emulator.lines import CheckedLine, LineOutcome, Shape
from airflow_batches.emulator.ruled import ruled_line
from airflow_batches.emulator.terms import Terms
from airflow_batches.emulator.validation import not_json
from airflow_batches.emulator.verdicts import Judge
from airflow_batches.emulator.wire import Response

_LARGEST: Final = 32_000_000
"""Bytes of a body (docs: API overview, "Request size limits")."""
_JSON: Final = {"content-type": "application/json"}
_EVENTS: Final = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
_NOT_FOR_MESSAGES: Final = ("expired", "canceled")
"""Outcomes that only a request of a batch can have."""


def count_tokens(call: Call) -> Response:
    """Answer with an estimate. Raises ErrorAnswer for params that the API refuses."""
    _, prompt = _read(call, "count_tokens")
    return Response(200, _JSON, msgspec.json.encode({"input_tokens": prompt.tokens}))


def create_message(call: Call) -> Response:
    """Answer with a message, at once or as events. Raises ErrorAnswer for params that the API refuses."""
    params, prompt = _read(call, "messages")
    line = _line(call, prompt)
    if line.outcome is LineOutcome.ERRORED:
        details = line.shape.error_details
        raise _refusal(line.shape, 500, msgspec.json.decode(details) if details else None)
    message = single_result(line, ids.batch_id())["message"]
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
        raise _refusal(prompt, 400)
    return params, prompt


def _line(call: Call, prompt: Prompt) -> CheckedLine:
    """Answer the prompt as the rules say."""
    decisions = Decisions(call.state.rules, call.state.answers, call.settings, without=_NOT_FOR_MESSAGES)
    if not decisions.any:
        return answer(prompt, "")
    asked = Question("", msgspec.Raw(bytes(call.payload)), structured=prompt.plan.schema is not None)
    decision = decisions.decide(asked)
    return answer(prompt, "") if decision is None else ruled_line(decision, prompt, "", NO_CACHE)


def _refusal(shape: Shape, status: int, details: Mapping[str, Any] | None = None) -> ErrorAnswer:
    """Return the error answer for a line's error; `status` is that of a type that the docs do not list."""
    kind = shape.error_type or ""
    return ErrorAnswer(STATUSES.get(kind, status), shape.error_message, kind=kind, details=details)
