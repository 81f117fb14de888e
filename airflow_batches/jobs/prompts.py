"""Turn what a user gives into requests: prompts, defaults, generated custom_ids.

| an item                                        | becomes                                              |
|------------------------------------------------|------------------------------------------------------|
| `"text"`                                       | one user turn with this text, a generated custom_id  |
| `{"prompt": "text"}`, `{"custom_id", "prompt"}`| the same, with its own custom_id if it has one       |
| `{"params"}`, `{"custom_id", "params"}`        | itself, with a generated custom_id if it has none    |

`defaults` are merged under the params of each item; a member that the item names wins as a whole. Items come from a
list, an iterable, a callable, or a URI of JSONL, whose lines are items that are objects. Generated custom_ids are
`<job id>-<number>`: any batch with such ids is known to be the job's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from airflow_batches._uri import is_path
from airflow_batches.api.errors import InvalidRequest
from airflow_batches.submission.encode import encode_requests
from airflow_batches.submission.errors import PreflightError
from airflow_batches.submission.lines import line_runs
from airflow_batches.submission.objects import is_compressed
from airflow_batches.submission.source import Source, UriSource, open_source
from airflow_batches.submission.stores import OpenStore, fsspec_store

ITEM: Final = frozenset({"custom_id", "prompt", "params"})


class PreparedRequests(Source):
    """Requests as they are sent. Each reading gives the same bytes if the items are the same.

    :param requests: the items: a list, an iterable, a callable, or a URI of JSONL.
    :param job_id: the beginning of generated custom_ids.
    :param defaults: params for every request.
    :param open_store: finds the store of a URI.
    """

    def __init__(
        self,
        requests: Any,
        job_id: str,
        *,
        defaults: Mapping[str, Any] | None = None,
        open_store: OpenStore = fsspec_store,
    ) -> None:
        self.name = source_name(requests)
        self.items = 0
        self.named = 0
        self._requests = requests
        self._job_id = job_id
        self._defaults = dict(defaults or {})
        self._open_store = open_store

    @property
    def generated(self) -> bool:
        """Whether every custom_id of the last reading was generated."""
        return self.items > 0 and not self.named

    def blocks(self) -> Iterator[bytes]:
        """Yield the requests as JSONL."""
        self.items = self.named = 0
        yield from encode_requests(self._prepared(self._given()))

    def _given(self) -> Iterable[Any]:
        given = self._requests() if callable(self._requests) else self._requests
        if is_place(given) or (isinstance(given, Mapping) and "uri" in given):
            return self._lines(given)
        if isinstance(given, Mapping | bytes | bytearray) or not isinstance(given, Iterable):
            raise InvalidRequest(f"requests must be a list, an iterable, a callable or a URI, not {_kind(given)}")
        return given

    def _lines(self, place: Any) -> Iterator[Any]:
        with open_source(place, open_store=self._open_store) as source:
            for run in line_runs(source.blocks()):
                for number, _, raw in run.numbered():
                    try:
                        yield msgspec.json.decode(raw)
                    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
                        raise PreflightError(f"{source.name}, line {number:,}, is not JSON: {exc}") from exc

    def _prepared(self, items: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
        for item in items:
            request = self._request(item)
            self.items += 1
            yield request

    def _request(self, item: Any) -> dict[str, Any]:
        if isinstance(item, str):
            item = {"prompt": item}
        if not isinstance(item, Mapping) or not item.keys() <= ITEM or ("prompt" in item) == ("params" in item):
            raise InvalidRequest(
                f"request {self.items + 1:,} is neither a text, nor {{'custom_id', 'prompt'}}, nor {{'custom_id', "
                f"'params'}}: {_kind(item)}"
            )
        params = _turn(item["prompt"], self.items + 1) if "prompt" in item else item["params"]
        if not isinstance(params, Mapping):
            raise InvalidRequest(f"params of request {self.items + 1:,} is no object: {_kind(params)}")
        self.named += "custom_id" in item
        custom_id = item.get("custom_id", f"{self._job_id}-{self.items}")
        return {"custom_id": custom_id, "params": {**self._defaults, **params}}


def is_place(requests: Any) -> bool:
    """Whether this is a URI or a path of JSONL."""
    if isinstance(requests, str) and requests.lstrip().startswith(("[", "{")):
        raise InvalidRequest("requests is a text that looks like JSON; give the list itself")
    return isinstance(requests, str) or is_path(requests)


def in_place(requests: Any, defaults: Mapping[str, Any] | None, open_store: OpenStore = fsspec_store) -> str | None:
    """Return the URI of a source whose ranges can be sent as they are; None if it must be stored first."""
    if callable(requests) or not is_place(requests) or defaults:
        return None
    source = UriSource(requests, open_store)
    return None if is_compressed(source.uri) or not _holds_requests(source) else source.uri


def _holds_requests(source: UriSource) -> bool:
    """Whether the first line is a whole request, and no item without a custom_id. The scan names what is wrong."""
    for run in line_runs(source.blocks()):
        for _, _, raw in run.numbered():
            try:
                item = msgspec.json.decode(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                return True
            return isinstance(item, Mapping) and {"custom_id", "params"} <= item.keys()
    return True


def source_name(requests: Any) -> str:
    """Return the source's name for people."""
    from airflow_batches._uri import redact_uri

    return redact_uri(UriSource(requests).uri) if not callable(requests) and is_place(requests) else "requests"


def _turn(prompt: Any, number: int) -> dict[str, Any]:
    if not isinstance(prompt, str):
        raise InvalidRequest(f"the prompt of request {number:,} is no text: {_kind(prompt)}")
    return {"messages": [{"role": "user", "content": prompt}]}


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"an object with {', '.join(sorted(map(str, value))[:5]) or 'no members'}"
    return type(value).__name__
