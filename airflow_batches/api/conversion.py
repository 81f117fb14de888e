"""Convert HTTP and socket failures to the types of `errors`.

`error_from_response` converts an answer, `error_from_exception` an exception of requests, urllib3 or the operating
system. Messages quote the beginning of another server's answer, and never a header of the request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from http.client import HTTPException
from ssl import SSLCertVerificationError
from typing import Any, Final

from requests.exceptions import Timeout
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError

from airflow_batches.api.errors import ApiError, TransportError, located
from airflow_batches.api.headers import retry_after, should_retry

KINDS: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The API's error type of each status (docs, page "Errors"), used where a body does not name one."""

NOT_THE_API: Final = "this answer is not the API's"
QUOTED_BYTES: Final = 200
"""Bytes of another server's answer that a message quotes. Chosen: enough for the title of an HTML page."""


def error_from_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    where: str = "",
    sent_bytes: int | None = None,
) -> ApiError:
    """Convert an answer outside 2xx to an error, whether or not its body is the API's own.

    The API's own body has at least `{"error": {"type": …, "message": …}}`. Nothing more is required, because the API's
    edge leaves out the rest (the 413 of anthropic-sdk-python issue 938 has no `type` on top).

    :param status: the HTTP status.
    :param headers: the answer's headers.
    :param body: the answer's body, or its beginning.
    :param now: the current time, for a `retry-after` that is a date.
    :param where: the connection or address, put before the message.
    :param sent_bytes: bytes of the request's body.
    """
    envelope = _object(body)
    error = _mapping(envelope.get("error"))
    from_api = isinstance(error.get("type"), str)
    return ApiError(
        status,
        str(error.get("type") or KINDS.get(status) or "unexpected_status"),
        str(error.get("message") or _message_without_body(status, headers, body)),
        request_id=headers.get("request-id") or envelope.get("request_id"),
        retry_after=retry_after(headers, now=now),
        details=_mapping(error.get("details")) or None,
        should_retry=should_retry(headers),
        from_api=from_api,
        where=where,
        sent_bytes=sent_bytes,
    )


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(body))
    except (ValueError, RecursionError):
        return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _message_without_body(status: int, headers: Mapping[str, str], body: bytes) -> str:
    if 300 <= status < 400:
        return (
            "the server redirects; redirects are not followed, because the key would go along. "
            "Set the connection's host to the API's final base URL"
        )
    return f"{NOT_THE_API}: {described(headers, body)}"


def described(headers: Mapping[str, str], body: bytes) -> str:
    """Describe an answer by its content type and beginning, for a message."""
    start = body[:QUOTED_BYTES].decode("utf-8", "replace").strip()
    return f"{headers.get('content-type', 'no content type')}, {repr(start) if start else 'empty'}"


def error_from_exception(exc: Exception, *, body_was_sent: bool, where: str = "", hint: str = "") -> TransportError:
    """Convert a failure of requests, urllib3 or the operating system to an error.

    :param exc: the failure.
    :param body_was_sent: the socket took the whole body. A request without a body counts as sent, unless there was no
        connection.
    :param where: the connection or address, put before the message.
    :param hint: what to do about it, put at the end.
    """
    maybe_sent = body_was_sent and not _never_connected(exc)
    kind = "timed out" if isinstance(exc, Timeout) else "failed"
    text = f"the connection {kind}: {_innermost(exc)}{'. ' if hint else ''}{hint}"
    return TransportError(located(where, text), maybe_sent=maybe_sent)


def _never_connected(exc: BaseException) -> bool:
    """Whether the failure's chain holds a type that occurs only before the first byte of a request."""
    # urllib3 raises its ProxyError only before the connection through the proxy is open.
    before = NewConnectionError | ConnectTimeoutError | SSLCertVerificationError | ProxyError
    return any(isinstance(link, before) for link in chain(exc))


def _innermost(exc: BaseException) -> str:
    last = chain(exc)[-1]
    # A parser's error quotes the answer, in which a server may have echoed the key. An OSError quotes nothing.
    quotes = isinstance(last, HTTPException | ValueError) and not isinstance(last, OSError)
    return type(last).__name__ if quotes else f"{type(last).__name__}: {last}"


def chain(exc: BaseException) -> list[BaseException]:
    """Return an exception and all exceptions that it wraps, outermost first."""
    links: list[BaseException] = []
    current: BaseException | None = exc
    while current is not None and current not in links:
        links.append(current)
        nested = (getattr(current, "reason", None), *current.args, current.__cause__, current.__context__)
        current = next((link for link in nested if isinstance(link, BaseException)), None)
    return links
