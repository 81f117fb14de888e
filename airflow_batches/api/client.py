"""A client for the Message Batches API over one `requests` session.

Rules of this file:
- Every URL is the client's base URL and a path built from an id. `results_url` is never requested and redirects are
  never followed: they would send the key to another host.
- Every call has a timeout, and every failure is raised as a type of `errors`.
- A create is sent again only when certainly no batch was created (`retry`).
"""

from __future__ import annotations

import builtins
import copy
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec
import requests
import tenacity
from pydantic import BaseModel, ValidationError
from urllib3.exceptions import HTTPError

from airflow_batches._duration import Seconds, seconds
from airflow_batches.api.address import BASE_URL, BATCHES, batch_path, checked_base, checked_headers
from airflow_batches.api.auth import ApiKeyAuth, SecretAuth
from airflow_batches.api.body import BodyFailed, RequestBody, Sending
from airflow_batches.api.environment import advice
from airflow_batches.api.errors import (
    BatchesError,
    DecodeError,
    EnvironmentFault,
    InvalidRequest,
    date_of,
    described,
    error_from_exception,
    error_from_response,
    retry_after,
)
from airflow_batches.api.limits import MAX_PAGE
from airflow_batches.api.models import BatchDeleted, BatchPage, MessageBatch, ResultItem
from airflow_batches.api.polling import wait_for
from airflow_batches.api.results import ResultStream
from airflow_batches.api.retry import RetryPolicy
from airflow_batches.api.session import Session

if TYPE_CHECKING:
    from requests.auth import AuthBase

logger = logging.getLogger(__name__)

VERSION: Final = "2026-10-21"
"""The newest API version. Anthropic's SDK for Python sends it from 2.0 on."""
ERROR_BYTES: Final = 65_536
"""Bytes that are read of an error's body. Chosen: the API's errors are much shorter, a proxy's page has no limit."""

_Model = TypeVar("_Model", bound=BaseModel)


class BatchesClient:
    """A client for Anthropic's Message Batches API.

    A client keeps its connections open: close it, or use it in a `with`. Use it in one thread only; `clone` makes
    another one. Every call may raise `ApiError`, `TransportError` or `DecodeError`, and `InvalidRequest` for wrong
    arguments.

    :param api_key: the API key. Give this or `auth`.
    :param auth: any `requests` auth object.
    :param base_url: the API's address, by default Anthropic's; it may have a path prefix.
    :param anthropic_version: the API version, a date.
    :param betas: names of beta features, sent with every call.
    :param workspace_id: the workspace, for a credential that spans several.
    :param headers: further headers for every call. Never a key.
    :param timeout: for connecting and for each wait for bytes: seconds or a timedelta, one or a pair. The 600 s for
        bytes are the default of Anthropic's SDK.
    :param retry: which failures are retried; by default `RetryPolicy()`.
    :param name: how errors begin, before the address, for example `Connection 'anthropic_default'`.
    :param clock: returns the current time.
    :raises InvalidRequest: when an argument cannot be used.

    Example::

        with BatchesClient(os.environ["ANTHROPIC_API_KEY"]) as client:
            batch = client.create([{"custom_id": "row-1", "params": params}])
            client.wait_for(batch.id)
            with client.results_stream(batch.id) as items:
                results = {item.custom_id: item.result for item in items}
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
        timeout: Seconds | tuple[Seconds, Seconds] = (10.0, 600.0),
        retry: RetryPolicy | None = None,
        name: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if (api_key is None) == (auth is None):
            raise InvalidRequest("give either api_key or auth")
        self.base_url = checked_base(base_url)
        self.label = f"{name} ({self.base_url})" if name else self.base_url
        """The beginning of this client's errors: the connection, if there is one, and the address."""
        self.anthropic_version = anthropic_version
        self._auth = auth if auth is not None else ApiKeyAuth(api_key or "")
        self._timeout = (seconds(timeout[0]), seconds(timeout[1])) if isinstance(timeout, tuple) else seconds(timeout)
        self._retry = retry or RetryPolicy()
        self._clock = clock
        self.retry_after: float | None = None
        """Seconds until the next call, from `retry-after` of the last success. The API sends it for batches in progress
        (recorded live, September 2026)."""
        self.answered = False
        """Whether a call of this client has succeeded."""
        self.clock_ahead: timedelta | None = None
        """How far the API's clock was ahead of ours in its last answer; None until known.

        The API dates the batches by its clock. The offset comes from its `Date` header, rounded down to whole seconds.
        """
        self._dated: tuple[datetime, float] | None = None
        named = {
            "anthropic-version": anthropic_version,
            "anthropic-beta": ",".join(betas) or None,
            "anthropic-workspace-id": workspace_id or None,
        }
        self._session = Session()
        self._session.headers.update(checked_headers({**(headers or {}), **_present(named)}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"BatchesClient(base_url={self.base_url!r})"

    def clone(self) -> Self:
        """Return another client with the same settings, for another thread.

        It has separate connections.
        """
        clone = copy.copy(self)
        clone._session = Session()  # noqa: SLF001  # of the same class
        clone._session.headers.update(self._session.headers)  # noqa: SLF001
        return clone

    def api_time(self) -> datetime | None:
        """Return the time by the API's clock, None before the first answer.

        Changes of our clock do not affect it.
        """
        if self._dated is None:
            return None
        date, at = self._dated
        return date + timedelta(seconds=time.monotonic() - at)

    def close(self) -> None:
        """Close every connection."""
        self._session.close()

    def create(self, requests: Iterable[Mapping[str, Any]]) -> MessageBatch:
        """Submit requests as one batch.

        The batch may exist although an error was raised: a `TransportError` with `maybe_sent`, a `DecodeError`, or an
        `ApiError` with a status from 500 other than 529.

        :param requests: the requests, each `{"custom_id": …, "params": {…}}`.
        :return: the batch, in progress.
        :raises InvalidRequest: when the requests cannot be written as JSON.
        """
        try:
            body = msgspec.json.encode({"requests": [*requests]})
        except (TypeError, ValueError) as exc:
            raise InvalidRequest(f"the requests cannot be written as JSON: {exc}") from exc
        return self.create_streamed(body)

    def create_streamed(self, body: bytes | RequestBody) -> MessageBatch:
        """Submit a create's body in constant memory; raises as `create` does.

        Errors that the body raises while it is read reach the caller unchanged, and no batch is created.

        :param body: the JSON of the body, or an object that yields it (`RequestBody`).
        :return: the batch, in progress.
        """
        if not len(body):
            raise InvalidRequest("the body is empty")
        return self._call(MessageBatch, "POST", BATCHES, body=body, creates=True)

    def get(self, batch_id: str, *, retry: RetryPolicy | None = None) -> MessageBatch:
        """Get a batch as it is now.

        :param batch_id: the batch.
        :param retry: replaces the client's own policy for this call.
        """
        return self._call(MessageBatch, "GET", batch_path(batch_id), retry=retry)

    def list(self, *, limit: int = 20, after_id: str | None = None, before_id: str | None = None) -> BatchPage:
        """Get one page of the workspace's batches, newest first.

        :param limit: batches on the page, 1 to 1,000.
        :param after_id: get the batches that are older than this one.
        :param before_id: get the batches that are newer than this one.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"limit must be between 1 and {MAX_PAGE:,}, not {limit}")
        if after_id is not None and before_id is not None:
            raise InvalidRequest("give after_id or before_id, not both")
        cursors = {"after_id": after_id, "before_id": before_id}
        return self._call(BatchPage, "GET", BATCHES, params={"limit": str(limit), **_present(cursors)})

    def list_all(self, *, limit: int = MAX_PAGE) -> Iterator[MessageBatch]:
        """Iterate over all batches of the workspace, newest first. Pages are fetched as needed.

        :param limit: batches on one page, 1 to 1,000.
        """
        cursor: str | None = None
        while True:
            page = self.list(limit=limit, after_id=cursor)
            yield from page.data
            cursor = page.next_after
            if cursor is None or not page.data:
                return

    def cancel(self, batch_id: str) -> MessageBatch:
        """Request a batch's cancellation.

        It is `canceling` until its running requests are done, then `ended`. Requests that are answered by then are
        billed. `cancel_if_running` confirms that the cancel took effect.

        :param batch_id: the batch.
        :return: the batch, with its new status.
        """
        return self._call(MessageBatch, "POST", batch_path(batch_id, "/cancel"), body=b"{}")

    def delete(self, batch_id: str) -> BatchDeleted:
        """Delete a batch that has ended, with its results.

        :param batch_id: the batch.
        """
        return self._call(BatchDeleted, "DELETE", batch_path(batch_id))

    def check(self) -> None:
        """Check address and key by listing one batch, which is free."""
        self.list(limit=1)

    def wait_for(self, batch_id: str, *, poll_interval: Seconds = 30.0, timeout: Seconds | None = None) -> MessageBatch:
        """Poll until the batch has `ended`, or has a status unknown here.

        After the first answer, temporary failures do not end the wait: it polls again until the timeout. If no poll has
        been answered yet, the error is raised after the client's retries: with a wrong address the wait would never
        end.

        :param batch_id: the batch.
        :param poll_interval: pause between two polls, in seconds or as a timedelta.
        :param timeout: longest wait, in seconds or as a timedelta. None: no limit.
        :return: the batch as last seen.
        :raises WaitTimeout: when the batch has not ended by the timeout.
        :raises TransportError: when the API does not answer the first poll.
        :raises DecodeError: when the first answer is not the API's.
        :raises ApiError: when the API refused every poll for minutes, or the first answer is another server's.
        """
        limit = None if timeout is None else seconds(timeout)
        return wait_for(self, batch_id, poll_interval=seconds(poll_interval), timeout=limit)

    def results(self, batch_id: str, *, retry: RetryPolicy | None = None) -> builtins.list[ResultItem]:
        """Return all results as a list. Use `results_stream` for a large batch.

        :param batch_id: a batch that has ended.
        :param retry: replaces the client's own policy for this call.
        """
        with self.results_stream(batch_id, retry=retry) as items:
            return [*items]

    @contextmanager
    def results_stream(self, batch_id: str, *, retry: RetryPolicy | None = None) -> Iterator[Iterator[ResultItem]]:
        """Iterate over results as they arrive, one line in memory at a time.

        The end of the block closes the connection. The iterator never restarts a broken stream: that could skip or
        repeat lines.

        :param batch_id: a batch that has ended.
        :param retry: replaces the client's own policy for opening the stream.
        :raises StreamInterrupted: from the iterator, when the stream ends early.
        :raises DecodeError: from the iterator, when a line is not a result.
        """
        opened = self.open_results(batch_id, retry=retry)
        with opened as response, closing(ResultStream(response, self._hidden)) as items:
            yield items

    @contextmanager
    def open_results(self, batch_id: str, *, retry: RetryPolicy | None = None) -> Iterator[requests.Response]:
        """Open the results and yield the response with its body unread.

        :param batch_id: a batch that has ended.
        :param retry: replaces the client's own policy for opening the stream.
        """
        with self._send_with_retries("GET", batch_path(batch_id, "/results"), retry=retry, stream=True) as response:
            yield response

    def _call(self, model: type[_Model], method: str, path: str, **options: Any) -> _Model:
        response = self._send_with_retries(method, path, **options)
        self.retry_after = retry_after(response.headers, now=self._clock())
        content = self._hidden(response.content)
        try:
            answer = model.model_validate_json(content)
        except ValidationError as exc:
            raise DecodeError(
                f"{self.label}: {method} {path} answered {response.status_code} with something else than a "
                f"{model.__name__}: {described(response.headers, content)} "
                f"(request-id {response.headers.get('request-id')})"
            ) from exc
        self.answered = True
        return answer

    def _send_with_retries(
        self, method: str, path: str, *, creates: bool = False, retry: RetryPolicy | None = None, **options: Any
    ) -> requests.Response:
        policy = retry or self._retry

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return policy.delay(error, state.attempt_number) if isinstance(error, BatchesError) else 0.0

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: policy.retries(error, creates=creates)),
            stop=tenacity.stop_after_attempt(policy.attempts),
            wait=wait,
            before_sleep=_log_retry,
            reraise=True,
        )(self._send, method, path, fresh=creates, **options)

    def _send(
        self,
        method: str,
        path: str,
        *,
        fresh: bool,
        params: Mapping[str, str] | None = None,
        body: bytes | RequestBody | None = None,
        stream: bool = False,
    ) -> requests.Response:
        if fresh:
            # The server may have closed an idle connection unnoticed. Then it is unknown whether a body sent over it
            # arrived.
            self._session.close()
        sending = None if body is None else Sending(body)
        failure: Exception
        try:
            response = self._session.request(
                method,
                self.base_url + path,
                params=params,
                data=sending,
                headers={"Content-Type": "application/json"} if sending is not None else None,
                auth=self._auth,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            )
            if response.status_code // 100 == 2:
                self._compare_clocks(response.headers)
                if not stream:
                    response.content  # noqa: B018  # reads the body here, where failures are converted
                return response
            failure = self._error(response, sent_bytes=None if sending is None else len(sending))
        except BodyFailed as exc:
            failure = exc.error
        except InvalidRequest as exc:
            failure = InvalidRequest(f"{self.label}: {exc}")
        except EnvironmentFault as exc:
            failure = EnvironmentFault(f"{self.label}: {exc}")
        except (requests.RequestException, HTTPError, OSError, ValueError) as exc:
            sent = sending is None or sending.handed_over
            failure = error_from_exception(exc, body_was_sent=sent, where=self.label, hint=advice(exc))
        # Raised outside the except block: the exception chain would hold the prepared request, and with it the key.
        raise failure

    def _error(self, response: requests.Response, *, sent_bytes: int | None) -> BatchesError:
        with response:
            try:
                body = response.raw.read(ERROR_BYTES, decode_content=True)
            except (HTTPError, OSError, ValueError) as exc:  # report the status, which is known, not the broken body
                body = f"(the error's body broke off: {type(exc).__name__})".encode()
            error = error_from_response(
                response.status_code,
                response.headers,
                self._hidden(body),
                now=self._clock(),
                where=self.label,
                sent_bytes=sent_bytes,
            )
            if error.from_api:
                self._compare_clocks(response.headers)
            return error

    def _compare_clocks(self, headers: Mapping[str, str]) -> None:
        date = date_of(headers)
        if date is not None:
            self.clock_ahead = date - self._clock()
            self._dated = date, time.monotonic()

    def _hidden(self, answer: bytes) -> bytes:
        """Remove the key from an answer that an error may quote: a gateway may echo what it was sent."""
        return self._auth.hide(answer) if isinstance(self._auth, SecretAuth) else answer


def _log_retry(state: tenacity.RetryCallState) -> None:
    method, path = state.args
    error = state.outcome.exception() if state.outcome else None
    logger.warning("%s %s failed; trying again in %.1f s: %s", method, path, state.upcoming_sleep, error)


def _present(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}
