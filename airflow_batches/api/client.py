"""A client for the Message Batches API: its calls, with typed answers.

Every URL is the client's base URL and a path built from an id. `results_url` is never requested: it could name another
host, to which the key would be sent.
"""

from __future__ import annotations

import builtins
import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from airflow_batches._duration import Seconds, seconds
from airflow_batches.api.address import BATCHES, COUNT_TOKENS, batch_path, checked_base, checked_headers
from airflow_batches.api.auth import ApiKeyAuth
from airflow_batches.api.body import RequestBody
from airflow_batches.api.conversion import described
from airflow_batches.api.defaults import BASE_URL, CONNECT_TIMEOUT, NEWEST, READ_TIMEOUT
from airflow_batches.api.errors import DecodeError, InvalidRequest
from airflow_batches.api.headers import retry_after
from airflow_batches.api.limits import MAX_PAGE
from airflow_batches.api.models import BatchDeleted, BatchPage, MessageBatch, TokenCount
from airflow_batches.api.polling import wait_for
from airflow_batches.api.result_models import ResultItem
from airflow_batches.api.results import ResultStream
from airflow_batches.api.retry import RetryPolicy
from airflow_batches.api.transport import Transport

if TYPE_CHECKING:
    import requests
    from requests.auth import AuthBase

COUNTED: Final = frozenset(
    {"cache_control", "messages", "model", "output_config", "system", "thinking", "tool_choice", "tools"}
)
"""Members of `params` that a token count takes (Anthropic's SDK for Python 2.12, `messages.count_tokens`)."""

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
    :param timeout: for connecting and for each wait for bytes: seconds or a timedelta, one or a pair. By default 10 s
        and 600 s (`defaults`).
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
        anthropic_version: str = NEWEST,
        betas: Sequence[str] = (),
        workspace_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: Seconds | tuple[Seconds, Seconds] = (CONNECT_TIMEOUT, READ_TIMEOUT),
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
        self.retry_after: float | None = None
        """Seconds until the next call, from `retry-after` of the last success. The API sends it for batches in progress
        (recorded live, September 2026)."""
        self.answered = False
        """Whether a call of this client has succeeded."""
        self._clock = clock
        named = {
            "anthropic-version": anthropic_version,
            "anthropic-beta": ",".join(betas) or None,
            "anthropic-workspace-id": workspace_id or None,
        }
        self._transport = Transport(
            self.base_url,
            auth if auth is not None else ApiKeyAuth(api_key or ""),
            headers=checked_headers({**(headers or {}), **_present(named)}),
            timeout=(seconds(timeout[0]), seconds(timeout[1])) if isinstance(timeout, tuple) else seconds(timeout),
            retry=retry or RetryPolicy(),
            label=self.label,
            clock=clock,
        )

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
        clone._transport = self._transport.clone()  # noqa: SLF001  # of the same class
        return clone

    def api_time(self) -> datetime | None:
        """Return the time by the API's clock, None before the first answer.

        The API dates the batches by its clock. Changes of our clock do not affect it.
        """
        return self._transport.api_clock.now()

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

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

    def create_streamed(self, body: bytes | RequestBody, *, retry: RetryPolicy | None = None) -> MessageBatch:
        """Submit a create's body in constant memory; raises as `create` does.

        Errors that the body raises while it is read reach the caller unchanged, and no batch is created.

        :param body: the JSON of the body, or an object that yields it (`RequestBody`).
        :param retry: replaces the client's own policy for this call; a create that may have arrived is never repeated.
        :return: the batch, in progress.
        """
        if not len(body):
            raise InvalidRequest("the body is empty")
        return self._call(MessageBatch, "POST", BATCHES, body=body, creates=True, retry=retry)

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

    def count_tokens(self, params: Mapping[str, Any], *, retry: RetryPolicy | None = None) -> int:
        """Count the input tokens of one request, which is free. It has rate limits of its own.

        :param params: the request's `params`; members that only concern the answer are left out.
        :param retry: replaces the client's own policy for this call.
        :return: the input tokens, as an estimate (docs, page "Token counting").
        :raises InvalidRequest: when the params cannot be written as JSON.
        """
        counted = {name: value for name, value in params.items() if name in COUNTED}
        try:
            body = msgspec.json.encode(counted)
        except (TypeError, ValueError) as exc:
            raise InvalidRequest(f"the params cannot be written as JSON: {exc}") from exc
        return self._call(TokenCount, "POST", COUNT_TOKENS, body=body, retry=retry).input_tokens

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
        with opened as response, closing(ResultStream(response, self._transport.hide)) as items:
            yield items

    @contextmanager
    def open_results(self, batch_id: str, *, retry: RetryPolicy | None = None) -> Iterator[requests.Response]:
        """Open the results and yield the response with its body unread.

        :param batch_id: a batch that has ended.
        :param retry: replaces the client's own policy for opening the stream.
        """
        with self._transport.send("GET", batch_path(batch_id, "/results"), retry=retry, stream=True) as response:
            yield response

    def _call(self, model: type[_Model], method: str, path: str, **options: Any) -> _Model:
        response = self._transport.send(method, path, **options)
        self.retry_after = retry_after(response.headers, now=self._clock())
        content = self._transport.hide(response.content)
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


def _present(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}
