"""The package's exceptions. All have one root.

    BatchesError
    ├── InvalidRequest       the caller's mistake, found before anything was sent; a retry never helps
    ├── ApiError             the API answered with an error; `passing` says whether a retry can help
    ├── TransportError       no answer arrived; `maybe_sent` says whether the request may have taken effect
    │   └── EnvironmentFault  the process's TLS or proxy settings cannot be used; nothing was sent
    ├── DecodeError          the answer is not what the API is known to send
    ├── StreamInterrupted    a results stream ended before it was complete; reading again helps
    └── WaitTimeout          the batch has not ended within the timeout; it still runs

Two functions in this file convert HTTP and socket failures to these types: `error_from_response` and
`error_from_exception`. No message holds request headers, so none holds a key. All can be copied and pickled.
"""

from __future__ import annotations

import copyreg
import json
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

PASSING_STATUSES: Final = frozenset({408, 409, 425, 429})
"""4xx statuses after which the same request may succeed, as every 5xx. Those that Anthropic's SDK retries, and 425."""

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

HINTS: Final[Mapping[int, str]] = {
    401: "The API key was refused. Check the connection's password (outside Airflow: ANTHROPIC_API_KEY).",
    403: "The key's workspace lacks this permission.",
    413: "Split the batch: the API takes at most 256,000,000 bytes in one request.",
}
"""What to do about a status when the API itself answered."""

FOREIGN_HINTS: Final[Mapping[int, str]] = {
    401: "A gateway or proxy between this machine and the API wants a login of its own.",
    403: "A gateway, proxy or web filter between this machine and the API refuses the request.",
    404: "Is the base URL right? It must not end in /v1.",
    407: "The proxy wants a login: put its user and password into HTTPS_PROXY.",
    413: "A gateway or proxy limits the size of a request: raise its limit, or split the batch.",
}
"""What to do about a status when another server answered."""

NO_ROUTE: Final = "Not found"
"""The API's whole message for an unknown path (recorded live). For an unknown batch it says more."""

NOT_THE_API: Final = "this answer is not the API's"
QUOTED_BYTES: Final = 200
"""Bytes of another server's answer that a message quotes. Chosen: enough for the title of an HTML page."""


class BatchesError(Exception):
    """Base class of all exceptions that this package defines.

    Example::

        try:
            batch = client.create(requests)
        except BatchesError as error:
            print(error)
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException's own version calls the class with `args`, but most of these classes take other arguments.
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class InvalidRequest(BatchesError, ValueError):
    """The caller's arguments or data cannot make a valid request; nothing was sent.

    A retry never helps.

    Example::

        try:
            client.get("")
        except InvalidRequest as error:
            print(error)  # '' is not a batch id
    """


class ApiError(BatchesError):
    """The API, or a gateway in front of it, answered with an error.

    The parameters are attributes too.

    :param status: the HTTP status.
    :param kind: the API's error type, such as `rate_limit_error`; the usual one of the status if the answer names none.
    :param message: the API's text.
    :param request_id: the id that Anthropic's support asks for.
    :param retry_after: seconds that the server asks to wait, or None.
    :param details: the error's `details` object, or None.
    :param should_retry: the value of the header `x-should-retry`, or None.
    :param from_api: whether the body is the API's own error object. The status of a gateway, a proxy or a web filter
        says nothing about the key, the batch or the API.
    :param where: the client's `label`, put before the message.
    :param sent_bytes: bytes of the request's body; the message names them when the size was refused.

    Example::

        try:
            client.delete(batch_id)
        except ApiError as error:
            if error.status != 404:
                raise
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        request_id: str | None = None,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
        should_retry: bool | None = None,
        from_api: bool = True,
        where: str = "",
        sent_bytes: int | None = None,
    ) -> None:
        self.status = status
        self.kind = kind
        self.message = message
        self.request_id = request_id
        self.retry_after = retry_after
        self.details = details
        self.should_retry = should_retry
        self.from_api = from_api
        self.where = where
        self.sent_bytes = sent_bytes
        super().__init__(located(where, self._sentence()))

    def _sentence(self) -> str:
        parts = [f"{self.status} {self.kind}: {self.message}" if self.from_api else f"{self.status}: {self.message}."]
        if self.request_id:
            parts.append(f"(request-id {self.request_id})")
        if self.status == 413 and self.sent_bytes is not None:
            parts.append(f"The request had {self.sent_bytes:,} bytes.")
        if hint := self._hint():
            parts.append(hint)
        return " ".join(parts)

    def _hint(self) -> str | None:
        if self.from_api and self.status == 404 and self.message == NO_ROUTE:
            return FOREIGN_HINTS[404]
        return (HINTS if self.from_api else FOREIGN_HINTS).get(self.status)

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later.

        `x-should-retry` takes precedence over the status.
        """
        if self.should_retry is not None:
            return self.should_retry
        return self.status in PASSING_STATUSES or self.status >= 500


class TransportError(BatchesError):
    """No answer arrived: the connection was refused, reset or timed out.

    A retry helps once the network works.

    :param message: what failed.
    :param maybe_sent: whether the request may have taken effect. False only when it certainly did not.

    Example::

        try:
            batch = client.create(requests)
        except TransportError as error:
            if error.maybe_sent:
                print("A batch may exist. Check the Console")
    """

    def __init__(self, message: str, *, maybe_sent: bool) -> None:
        self.maybe_sent = maybe_sent
        super().__init__(message)


class EnvironmentFault(TransportError):
    """An environment variable makes every request impossible.

    It names missing certificates or an unusable proxy. The message names the variable. A retry in this process does not
    help; a retry on another worker may.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, maybe_sent=False)


class DecodeError(BatchesError):
    """The answer is not what the API sends; often it is a proxy's page. A retry may help.

    After a create, the batch may exist.

    Example::

        try:
            batch = client.get(batch_id)
        except DecodeError as error:
            print(error)  # quotes the beginning of the answer
    """


class StreamInterrupted(BatchesError):
    """A results stream ended before it was complete. Fetch it again from the beginning.

    :param message: what failed; the number of lines is added.
    :param lines_read: complete lines before the end.

    Example::

        try:
            results = client.results(batch_id)
        except StreamInterrupted:
            results = client.results(batch_id)
    """

    def __init__(self, message: str, *, lines_read: int) -> None:
        self.lines_read = lines_read
        super().__init__(f"{message} after {lines_read:,} whole lines")


class WaitTimeout(BatchesError, TimeoutError):
    """The batch has not ended within the timeout. It still runs, and can be waited for again.

    Example::

        try:
            client.wait_for(batch_id, timeout=3600)
        except WaitTimeout:
            client.cancel(batch_id)
    """


def located(where: str, text: str) -> str:
    """Put the connection or address before a message."""
    return f"{where}: {text}" if where else text


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
        should_retry={"true": True, "false": False}.get(headers.get("x-should-retry", "").lower()),
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


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the seconds that the server asks to wait, or None.

    They are in `retry-after-ms`, else in `retry-after` as seconds or as a date.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None


def date_of(headers: Mapping[str, str]) -> datetime | None:
    """Return the time in the header `Date`; None when it is missing or cannot be read."""
    try:
        date = parsedate_to_datetime(headers["date"])
    except (LookupError, TypeError, ValueError, OverflowError):
        return None
    return date if date.tzinfo else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def error_from_exception(exc: Exception, *, body_was_sent: bool, where: str = "", hint: str = "") -> TransportError:
    """Convert a failure of requests, urllib3 or the operating system to an error.

    :param exc: the failure.
    :param body_was_sent: the socket took the whole body. A request without a body counts as sent, unless there was no
        connection.
    :param where: the connection or address, put before the message.
    :param hint: what to do about it, put at the end.
    """
    from requests.exceptions import Timeout

    maybe_sent = body_was_sent and not _never_connected(exc)
    kind = "timed out" if isinstance(exc, Timeout) else "failed"
    text = f"the connection {kind}: {_innermost(exc)}{'. ' if hint else ''}{hint}"
    return TransportError(located(where, text), maybe_sent=maybe_sent)


def _never_connected(exc: BaseException) -> bool:
    """Whether the failure's chain holds a type that occurs only before the first byte of a request."""
    from ssl import SSLCertVerificationError

    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError

    # urllib3 raises its ProxyError only before the connection through the proxy is open.
    before = NewConnectionError | ConnectTimeoutError | SSLCertVerificationError | ProxyError
    return any(isinstance(link, before) for link in chain(exc))


def _innermost(exc: BaseException) -> str:
    from http.client import HTTPException

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
