"""The calls that an emulator received: what a DAG sent can be looked at, and asserted in a test.

Rules: no credential is kept; each endpoint has its own newest calls, so that polls never push out creates; of bodies,
the newest bytes are kept, and what was dropped is counted. A body is decoded when it is read, so that a create of
256 MB waits for nothing here.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from mmap import mmap
from typing import Any, Final

from airflow_batches.emulator.settings import Settings
from airflow_batches.emulator.wire import Head

REDACTED: Final = "redacted"
_SECRET: Final = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
_OPENING: Final = re.compile(r'\s*\{\s*"requests"\s*:\s*\[\s*')
_COMMA: Final = re.compile(r"\s*,\s*")
_DECODER: Final = json.JSONDecoder()


@dataclass(slots=True)
class ReceivedCall:
    """A call of the API as it was received.

    `number` counts all calls from 1, `at` is the emulator's time, `endpoint` is empty for a path that the API does not
    have. `status` is None while there is no answer, or when a fault ended the connection instead. `batch_id` is that of
    the path, or of the batch that a create made. `dropped_bytes` of the body were not kept.
    """

    number: int
    at: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    request_id: str
    endpoint: str = ""
    batch_id: str = ""
    status: int | None = None
    dropped_bytes: int = 0
    content: bytes = field(default=b"", repr=False)

    @property
    def requests(self) -> list[Any]:
        """The requests of a create, as they were sent; the leading ones if only a part of the body was kept."""
        return list(_requests(self.content)) if self.endpoint == "create" else []

    @property
    def body(self) -> Any:
        """The decoded JSON of another call's body; None for a create, and where there is none."""
        if self.endpoint == "create" or not self.content:
            return None
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None

    def as_dict(self, custom_id: str | None = None) -> dict[str, Any]:
        names = ("number", "at", "endpoint", "method", "path", "query", "headers", "request_id", "status", "batch_id")
        sent = [request for request in self.requests if custom_id in (None, _custom_id(request))]
        told = {name: getattr(self, name) for name in names}
        return told | {"requests": sent, "body": self.body, "dropped_bytes": self.dropped_bytes}


class Journal:
    """The received calls, oldest first; bounded by the settings `journal_calls` and `journal_bytes`.

    emulator = Emulator()
    ...  # the DAG runs
    (call,) = emulator.requests.find(endpoint="create", custom_id="row-1")
    assert call.requests[0]["params"]["model"] == "claude-haiku-4-5"
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._calls: dict[str, deque[ReceivedCall]] = {}
        self._with_content: dict[int, ReceivedCall] = {}
        self._made = 0
        self._bytes = 0
        self.dropped_calls = 0
        self.dropped_bytes = 0

    def __iter__(self) -> Iterator[ReceivedCall]:
        return iter(self.find())

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._calls.values()))

    def find(
        self, *, endpoint: str | None = None, batch_id: str | None = None, custom_id: str | None = None
    ) -> list[ReceivedCall]:
        """Return the calls that meet all conditions, oldest first.

        :param endpoint: only calls of this endpoint; None: of all.
        :param batch_id: only calls about this batch, its create included; None: about any.
        :param custom_id: only creates with such a request; None: all calls.
        """
        with self._lock:
            kept = [call for calls in self._calls.values() for call in calls]
        kept = [call for call in kept if endpoint in (None, call.endpoint) and batch_id in (None, call.batch_id)]
        if custom_id is not None:
            kept = [call for call in kept if custom_id in map(_custom_id, call.requests)]
        return sorted(kept, key=lambda call: call.number)

    def clear(self) -> None:
        """Forget all calls, and what was dropped."""
        with self._lock:
            self._calls.clear()
            self._with_content.clear()
            self._bytes = self.dropped_calls = self.dropped_bytes = 0

    def begin(self, head: Head, request_id: str, at: str) -> ReceivedCall:
        """Make the entry of a call. It is kept from `keep` on."""
        headers = {name: REDACTED if name in _SECRET else value for name, value in head.headers.items()}
        with self._lock:
            self._made += 1
            return ReceivedCall(self._made, at, head.method, head.path, head.query, headers, request_id)

    def keep(self, call: ReceivedCall) -> None:
        """Keep a call whose endpoint is known, and drop the oldest of that endpoint beyond the limit."""
        with self._lock:
            calls = self._calls.setdefault(call.endpoint, deque())
            calls.append(call)
            while len(calls) > self._settings.journal_calls:
                self._drop_content(calls.popleft())
                self.dropped_calls += 1

    def keep_body(self, call: ReceivedCall, body: bytes | mmap) -> None:
        """Keep the beginning of a body, and drop the oldest bodies beyond the limit."""
        limit = self._settings.journal_bytes if self._settings.journal_calls else 0
        with self._lock:
            call.content = body[:limit] if len(body) > limit else bytes(body)
            call.dropped_bytes = len(body) - len(call.content)
            self.dropped_bytes += call.dropped_bytes
            self._bytes += len(call.content)
            self._with_content[call.number] = call
            while self._bytes > limit:
                self._drop_content(next(iter(self._with_content.values())))

    def _drop_content(self, call: ReceivedCall) -> None:
        size = len(call.content)
        self._with_content.pop(call.number, None)
        call.content = b""
        call.dropped_bytes += size
        self.dropped_bytes += size
        self._bytes -= size


def _requests(body: bytes) -> Iterator[Any]:
    """Yield the requests of a create body, up to the first that is not whole."""
    text = body.decode("utf-8", "replace")
    before = _OPENING.match(text)
    while before is not None:
        try:
            request, end = _DECODER.raw_decode(text, before.end())
        except (ValueError, RecursionError):
            return
        yield request
        before = _COMMA.match(text, end)


def _custom_id(request: Any) -> Any:
    return request.get("custom_id") if isinstance(request, dict) else None
