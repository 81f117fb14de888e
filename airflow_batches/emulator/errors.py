"""The API's error answers: status, type and body of each, in one place.

The envelope is `{"type":"error","error":{"type","message"},"request_id"}` (recorded live). `request_id` is null after a
bad key (recorded live, 2026-10) and missing in a 405 (recorded live). Two answers come from the edge in front of the
API and have another form: 413 (JSON without `type` and `request_id`) and 502, 503, 52x (HTML).
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from airflow_batches.emulator.wire import Response

KINDS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("invalid_request_error", "Invalid request"),
    401: ("authentication_error", "API key is invalid."),
    402: ("billing_error", "There is an issue with your billing."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "Not found"),
    405: ("invalid_request_error", "Method Not Allowed"),
    408: ("timeout_error", "Request timed out"),
    409: ("conflict_error", "The request conflicts with the current state of the resource."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "Number of requests has exceeded your rate limit. Please try again later."),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "Request timed out"),
    529: ("overloaded_error", "Overloaded"),
}
"""Status to error type and usual message (docs: api/errors; 401, 404, 413, 500, 529 recorded live)."""

MESSAGES: Final[Mapping[str, str]] = dict(tuple(KINDS.values())[::-1])
"""Error type to its usual message."""

STATUSES: Final[Mapping[str, int]] = {kind: status for status, (kind, _) in KINDS.items() if status not in (405, 408)}
"""Error type to its status (docs: api/errors, where a timeout_error is a 504)."""

EDGE_PAGES: Final = frozenset({502, 503, 520, 521, 522, 523, 524})
"""Statuses that the edge answers with an HTML page; 52x are Cloudflare's own."""
_NOT_RETRIED: Final = frozenset({400, 404})
"""Statuses that were recorded with `x-should-retry: false`."""


class ErrorAnswer(Exception):
    """A refused call.

    `details` becomes part of the error object, `headers` of the response. `anonymous` replaces the body's request id by
    null, as the API does after a bad key.
    """

    def __init__(
        self,
        status: int,
        message: str | None = None,
        *,
        kind: str | None = None,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        anonymous: bool | None = None,
    ) -> None:
        usual_kind, usual_message = KINDS.get(status) or _unlisted(status)
        self.status = status
        self.kind = kind or usual_kind
        self.message = usual_message if message is None else message
        self.details = details
        self.headers = dict(headers or {})
        self.anonymous = status == 401 if anonymous is None else anonymous
        super().__init__(f"{status} {self.kind}: {self.message}")


def _unlisted(status: int) -> tuple[str, str]:
    """Return type and message of a status that the docs do not list: the caller's fault or the API's."""
    if status < 500:
        return "invalid_request_error", http.client.responses.get(status, "Invalid request")
    return KINDS[500]


class EdgeTooLarge(Exception):
    """The body is larger than the edge's limit: 413 in the edge's own form."""


def error_object(kind: str, message: str, details: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return ({"details": details} if details is not None else {}) | {"type": kind, "message": message}


def error_response(error: ErrorAnswer, request_id: str) -> Response:
    """Return an error in the API's form."""
    body: dict[str, Any] = {
        "type": "error",
        "error": error_object(error.kind, error.message, error.details),
    }
    if error.status != 405:
        body["request_id"] = None if error.anonymous else request_id
    headers = {"content-type": "application/json"}
    if error.status in _NOT_RETRIED:
        headers["x-should-retry"] = "false"
    return Response(error.status, headers | error.headers, msgspec.json.encode(body))


def edge_response(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer of the edge in front of the API."""
    if status == 413:
        body = msgspec.json.encode({"error": {"type": KINDS[413][0], "message": KINDS[413][1]}})
        return Response(413, {"content-type": "application/json", **(headers or {})}, body, close=True, edge=True)
    reason = {502: "Bad Gateway", 503: "Service Temporarily Unavailable"}.get(status, "Web server error")
    page = (
        f"<html>\r\n<head><title>{status} {reason}</title></head>\r\n<body>\r\n<center><h1>{status} {reason}"
        "</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
    )
    return Response(status, {"content-type": "text/html", **(headers or {})}, page.encode(), edge=True)
