"""The package's exceptions. All have one root.

    BatchesError
    ├── InvalidRequest       the caller's mistake, found before anything was sent; a retry never helps
    ├── ApiError             the API answered with an error; `retryable` says whether a retry can help
    ├── TransportError       no answer arrived; `maybe_sent` says whether the request may have taken effect
    │   └── EnvironmentFault  the process's TLS or proxy settings cannot be used; nothing was sent
    ├── DecodeError          the answer is not what the API is known to send
    ├── StreamInterrupted    a results stream ended before it was complete; reading again helps
    └── WaitTimeout          the batch has not ended within the timeout; it still runs

`conversion` converts HTTP and socket failures to these types. No message holds request headers, so none holds a key.
All can be copied and pickled.
"""

from __future__ import annotations

import copyreg
from collections.abc import Mapping
from typing import Any, Final

RETRYABLE_STATUSES: Final = frozenset({408, 409, 425, 429})
"""4xx statuses after which the same request may succeed, as every 5xx. Those that Anthropic's SDK retries, and 425."""

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
    def retryable(self) -> bool:
        """Whether the same request may succeed later.

        `x-should-retry` takes precedence over the status.
        """
        if self.should_retry is not None:
            return self.should_retry
        return self.status in RETRYABLE_STATUSES or self.status >= 500


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
