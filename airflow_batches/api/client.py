"""The calls of the Message Batches API over one `requests` session.

Rules of this file:
- Every path is built from an id on the client's own base URL. `results_url` is never dialled and redirects are
  never followed: the key would go to whatever host they name.
- Every call has a timeout, and every failure leaves as a type of `errors`.
- A create is sent again only where nothing can have been accepted (`retry`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import requests
import tenacity
from pydantic import BaseModel, ValidationError

from airflow_batches.api.auth import ApiKeyAuth
from airflow_batches.api.errors import (
    BatchesError,
    DecodeError,
    InvalidRequest,
    StreamInterrupted,
    TransportError,
    error_from_exception,
    error_from_response,
)
from airflow_batches.api.jsonl import split_lines
from airflow_batches.api.limits import MAX_PAGE
from airflow_batches.api.models import BatchDeleted, BatchPage, MessageBatch, ResultItem
from airflow_batches.api.retry import RetryPolicy

if TYPE_CHECKING:
    from requests.auth import AuthBase

BASE_URL: Final = "https://api.anthropic.com"
VERSION: Final = "2026-10-21"
BATCHES: Final = "/v1/messages/batches"
ERROR_BYTES: Final = 65_536
"""How much of an error body is read: a proxy's page may be of any length."""

_Model = TypeVar("_Model", bound=BaseModel)


class RequestBody(Protocol):
    """A create's body that is never held whole: its exact length, and its bytes anew at each iteration."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[bytes]: ...


class BatchesClient:
    """Anthropic's Message Batches API.

    Give `api_key`, or any `requests` auth object as `auth`. `base_url` may have a path prefix. `timeout` is in
    seconds, for connecting and for each wait for bytes: one number, or a pair. A client keeps connections and is
    not shared by threads; close it, or use it in a `with`.

    Every call raises `ApiError`, `TransportError` or `DecodeError`; wrong arguments raise `InvalidRequest`.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        auth: AuthBase | None = None,
        base_url: str = BASE_URL,
        anthropic_version: str = VERSION,
        betas: Sequence[str] = (),
        workspace_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | tuple[float, float] = (10.0, 600.0),
        retry: RetryPolicy | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if (api_key is None) == (auth is None):
            raise InvalidRequest("give either api_key or auth")
        self.base_url = _checked_base(base_url)
        self.anthropic_version = anthropic_version
        self._auth = auth if auth is not None else ApiKeyAuth(api_key or "")
        self._timeout = timeout
        self._retry = retry or RetryPolicy()
        self._clock = clock
        self._session = requests.Session()
        self._session.headers.update({**(headers or {}), "anthropic-version": anthropic_version})
        if betas:
            self._session.headers["anthropic-beta"] = ",".join(betas)
        if workspace_id:
            self._session.headers["anthropic-workspace-id"] = workspace_id

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"BatchesClient(base_url={self.base_url!r})"

    def close(self) -> None:
        """Close every connection."""
        self._session.close()

    def create(self, requests: Iterable[Mapping[str, Any]]) -> MessageBatch:
        """Submit requests, each `{"custom_id": …, "params": {…}}`, as one batch.

        Raises `TransportError` with `maybe_sent` set where the batch may exist although no answer came.
        """
        return self.create_streamed(msgspec.json.encode({"requests": [*requests]}))

    def create_streamed(self, body: bytes | RequestBody) -> MessageBatch:
        """Submit a create body made elsewhere, in constant memory; raises as `create` does."""
        return self._call(MessageBatch, "POST", BATCHES, body=_Counted(body), creates=True)

    def get(self, batch_id: str) -> MessageBatch:
        """A batch as it is now."""
        return self._call(MessageBatch, "GET", _path(batch_id))

    def list(self, *, limit: int = 20, after_id: str | None = None, before_id: str | None = None) -> BatchPage:
        """One page of the workspace's batches, newest first; `after_id` goes to older ones, `before_id` newer."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"limit must be between 1 and {MAX_PAGE:,}, not {limit}")
        if after_id is not None and before_id is not None:
            raise InvalidRequest("give after_id or before_id, not both")
        cursors = {"after_id": after_id, "before_id": before_id}
        return self._call(BatchPage, "GET", BATCHES, params={"limit": str(limit), **_present(cursors)})

    def list_all(self, *, limit: int = MAX_PAGE) -> Iterator[MessageBatch]:
        """Every batch of the workspace, newest first, a page of `limit` fetched when it is needed."""
        cursor: str | None = None
        while True:
            page = self.list(limit=limit, after_id=cursor)
            yield from page.data
            cursor = page.next_after
            if cursor is None or not page.data:
                return

    def cancel(self, batch_id: str) -> MessageBatch:
        """Ask for a batch to be canceled: it is `canceling` until what already runs is done, then `ended`."""
        return self._call(MessageBatch, "POST", _path(batch_id, "/cancel"), body=_Counted(b"{}"))

    def delete(self, batch_id: str) -> BatchDeleted:
        """Delete a batch that has ended, with its results."""
        return self._call(BatchDeleted, "DELETE", _path(batch_id))

    def check(self) -> None:
        """A free call that succeeds when address and key are right: lists one batch."""
        self.list(limit=1)

    def wait_for(self, batch_id: str, *, poll_interval: float = 30.0, timeout: float | None = None) -> MessageBatch:
        """Poll until the batch has `ended`, or has a status unknown here. Seconds; `WaitTimeout` when over.

        Passing failures are waited out like a batch that goes on, until the timeout.
        """
        # The one decision about a poll stands with the waiting; a script that never waits does not load it.
        from airflow_batches.waiting.wait import wait_for

        return wait_for(self, batch_id, poll_interval=poll_interval, timeout=timeout)

    def results(self, batch_id: str) -> list[ResultItem]:  # type: ignore[valid-type]  # `list` is a method here
        """Every result at once; a large batch wants `results_stream`."""
        with self.results_stream(batch_id) as items:
            return [*items]

    @contextmanager
    def results_stream(self, batch_id: str) -> Iterator[Iterator[ResultItem]]:
        """Results as they arrive, one line in memory at a time; leaving the block closes the connection.

        The iterator raises `StreamInterrupted` where the stream is cut or torn, and never starts over by itself:
        that would skip or double lines unseen.
        """
        with self.open_results(batch_id) as response:
            yield _items(_blocks(response))

    @contextmanager
    def open_results(self, batch_id: str) -> Iterator[requests.Response]:
        """The results response itself, body unread, for a reader with a loop of its own."""
        response = self._send_with_retries("GET", _path(batch_id, "/results"), stream=True)
        with response:
            yield response

    def _call(self, model: type[_Model], method: str, path: str, **options: Any) -> _Model:
        response = self._send_with_retries(method, path, **options)
        try:
            return model.model_validate_json(response.content)
        except ValidationError as exc:
            start = response.content[:200].decode("utf-8", "replace")
            raise DecodeError(
                f"{method} {path} answered {response.status_code} with something else than a {model.__name__}: "
                f"{start!r} (request-id {response.headers.get('request-id')})"
            ) from exc

    def _send_with_retries(self, method: str, path: str, *, creates: bool = False, **options: Any) -> requests.Response:
        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return self._retry.delay(error, state.attempt_number) if isinstance(error, BatchesError) else 0.0

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: self._retry.retries(error, creates=creates)),
            stop=tenacity.stop_after_attempt(self._retry.attempts),
            wait=wait,
            reraise=True,
        )(self._send, method, path, **options)

    def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: _Counted | None = None,
        stream: bool = False,
    ) -> requests.Response:
        try:
            response = self._session.request(
                method,
                self.base_url + path,
                params=params,
                data=body,
                headers={"Content-Type": "application/json"} if body is not None else None,
                auth=self._auth,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            )
            if response.status_code != requests.codes.ok:
                with response:
                    raise self._error(response)
            if not stream:
                response.content  # noqa: B018  # reads the body while failures still become ours
        except requests.RequestException as exc:
            raise error_from_exception(exc, body_was_sent=body is None or body.handed_over) from exc
        return response

    def _error(self, response: requests.Response) -> BatchesError:
        try:
            body = response.raw.read(ERROR_BYTES, decode_content=True) or b""
        except Exception as exc:  # noqa: BLE001  # the status is known and says more than a broken body
            body = f"(the error's body broke off: {type(exc).__name__})".encode()
        return error_from_response(response.status_code, response.headers, body, now=self._clock())


class _Counted:
    """A body that knows whether all of it has been handed to the socket; a fragment is never accepted."""

    def __init__(self, body: bytes | RequestBody) -> None:
        self._body = body
        self.handed_over = False

    def __len__(self) -> int:
        return len(self._body)

    def __iter__(self) -> Iterator[bytes]:
        self.handed_over = False
        blocks = iter((self._body,)) if isinstance(self._body, bytes) else iter(self._body)
        block = next(blocks, b"")
        for following in blocks:
            yield block
            block = following
        self.handed_over = True
        yield block


def _path(batch_id: str, tail: str = "") -> str:
    if not batch_id or batch_id in {".", ".."}:
        raise InvalidRequest(f"{batch_id!r} is not a batch id")
    return f"{BATCHES}/{quote(batch_id, safe='')}{tail}"


def _present(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _checked_base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidRequest("the base URL must be like https://api.anthropic.com")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidRequest("the base URL must hold no credentials, query or fragment")
    return url.rstrip("/")


def _blocks(response: requests.Response, size: int = 65_536) -> Iterator[bytes]:
    """The body as it arrives, decoded from gzip where the server compressed it."""
    try:
        yield from response.iter_content(size)
    except requests.RequestException as exc:
        raise error_from_exception(exc, body_was_sent=True) from exc


def _items(blocks: Iterator[bytes]) -> Iterator[ResultItem]:
    lines_read = 0
    lines = split_lines(blocks)
    try:
        for line in lines:
            yield _item(line, lines_read + 1)
            lines_read += 1
    except (TransportError, _Unreadable) as exc:
        torn = isinstance(exc, TransportError) or next(lines, None) is None
        if torn:
            raise StreamInterrupted(f"the results broke off ({exc})", lines_read=lines_read) from exc
        raise DecodeError(str(exc)) from exc


class _Unreadable(Exception):
    """A line that is no result; whether the stream was torn there depends on what follows."""


def _item(line: bytes, number: int) -> ResultItem:
    try:
        return ResultItem.model_validate_json(line)
    except ValidationError as exc:
        start = line[:200].decode("utf-8", "replace")
        raise _Unreadable(f"results line {number:,} is not a result: {start!r}") from exc
