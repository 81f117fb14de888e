"""The routes of the API, in one table, and a handler each.

A handler gets an authenticated call and returns its 200, or raises ErrorAnswer. Messages are recorded live where the
API sends one (2025 to 2026); those of limits and cursors follow its style.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote

import msgspec

from airflow_batches.emulator import actions, lifecycle
from airflow_batches.emulator.answers import arrange, result_blocks, without_last_newline
from airflow_batches.emulator.call import Call
from airflow_batches.emulator.clock import micros
from airflow_batches.emulator.errors import ErrorAnswer
from airflow_batches.emulator.intake import create_batch
from airflow_batches.emulator.lifecycle import StoredBatch
from airflow_batches.emulator.messages import count_tokens, create_message
from airflow_batches.emulator.model_objects import model_object
from airflow_batches.emulator.models import OLDEST_FIRST
from airflow_batches.emulator.objects import batch_object, deletion_object, page_object
from airflow_batches.emulator.paging import page_json, page_of, page_query
from airflow_batches.emulator.wire import Response, rechunked

_JSON: Final = {"content-type": "application/json"}
_BATCHES: Final = "/v1/messages/batches"


class Target(NamedTuple):
    """The target of a call: endpoint, and the id in its path (empty where there is none)."""

    endpoint: str
    batch_id: str = ""


_ROUTES: Final[tuple[tuple[str, re.Pattern[str], str], ...]] = tuple(
    (method, re.compile(path), endpoint)
    for method, path, endpoint in (
        ("POST", f"{_BATCHES}", "create"),
        ("GET", f"{_BATCHES}", "list"),
        ("GET", f"{_BATCHES}/([^/]+)", "get"),
        ("POST", f"{_BATCHES}/([^/]+)/cancel", "cancel"),
        ("DELETE", f"{_BATCHES}/([^/]+)", "delete"),
        ("GET", f"{_BATCHES}/([^/]+)/results", "results"),
        ("GET", "/v1/models", "models"),
        ("GET", "/v1/models/([^/]+)", "model"),
        ("POST", "/v1/messages", "messages"),
        ("POST", "/v1/messages/count_tokens", "count_tokens"),
    )
)


def find_route(method: str, path: str, prefix: str) -> Target:
    """Find the target of a call.

    Raises ErrorAnswer: 404 for an unknown path, 405 for a known path with another method.
    """
    inner = path.removeprefix(prefix) if path.startswith(prefix) else ""
    other = False
    for wanted, pattern, endpoint in _ROUTES:
        if match := pattern.fullmatch(inner):
            if method == wanted:
                return Target(endpoint, unquote(match[1]) if match.groups() else "")
            other = True
    raise ErrorAnswer(405 if other else 404)


def _create(call: Call) -> Response:
    record = create_batch(call)
    call.batch_id = record.id
    return _batch(call, record)


def _list(call: Call) -> Response:
    query = page_query(call.head.query)
    store = call.state.store
    with store.changing():
        after = _cursor(call, "after_id", query.after)
        before = _cursor(call, "before_id", query.before)
        page = store.page(call.workspace, query.limit, after=after, before=before)
        return Response(200, _JSON, page_object(page, store, call.state.clock.micros(), call.base))


def _cursor(call: Call, name: str, batch_id: str | None) -> StoredBatch | None:
    if batch_id is None:
        return None
    record = call.state.store.get(call.workspace, batch_id)
    if record is None:
        raise ErrorAnswer(400, f"{name}: Message Batch {batch_id} not found.")
    return record


def _get(call: Call) -> Response:
    with call.state.store.changing():
        record = _visible(call)
        response = _batch(call, record)
    if record.status(call.state.clock.micros()) != "in_progress":
        return response
    return response.with_headers(**{"retry-after": str(call.settings.retry_after)})


def _cancel(call: Call) -> Response:
    store, now = call.state.store, call.state.clock.micros()
    with store.changing():
        record = _found(call)
        status = record.status(now)
        if status == "in_progress":
            lifecycle.cancel(record, store.lines(record), now, micros(call.settings.cancel_time))
            store.save(record)
        elif status == "ended" and call.settings.cancel_after_ended == 400:
            raise ErrorAnswer(400, f"Batch `{record.id}` has already ended and cannot be canceled.")
        return _batch(call, record)


def _delete(call: Call) -> Response:
    store = call.state.store
    with store.changing():
        record = _found(call)
        status = record.status(call.state.clock.micros())
        if status != "ended":
            raise ErrorAnswer(400, _UNDELETABLE[status].format(record.id))
        store.remove(record)
    return Response(200, _JSON, deletion_object(record.id))


_UNDELETABLE: Final = {
    "in_progress": "In progress batches cannot be deleted. Consider canceling the batch instead.",
    "canceling": "Batch `{}` has not finished canceling. Please wait for cancellation to completed before deleting.",
}


def _results(call: Call) -> Response:
    with call.state.store.changing():
        record = _visible(call)
        now = call.state.clock.micros()
        if record.status(now) != "ended" or record.archived(now):
            raise ErrorAnswer(404, f"Message Batch {record.id} has no available results.")
        lines = call.state.store.lines(record)
    settings = call.settings
    read = call.state.next_read(record.id)
    places = arrange(record.total, settings.order, f"{settings.seed}:{record.id}:{read}")
    headers = {
        "content-type": "application/x-jsonl",
        "content-disposition": f'attachment; filename="{record.id}_results.jsonl"',
    }
    return _streamed(call, result_blocks(record, lines, places), headers)


def _streamed(call: Call, blocks: Iterable[bytes], headers: dict[str, str]) -> Response:
    """Answer with blocks of lines, changed as faults and settings say."""
    settings = call.settings
    if fault := call.state.plans.claim(actions.LINES, call.endpoint, call.batch_id):
        blocks = actions.LINES[fault.action](fault, blocks)
    if not settings.trailing_newline:
        blocks = without_last_newline(blocks)
    if settings.gzip and _accepts_gzip(call.head.headers):
        headers["content-encoding"] = "gzip"
        blocks = _gzipped(blocks)
    return Response(200, headers, rechunked(blocks, settings.chunk_bytes))


def _models(call: Call) -> Response:
    """List the models, paged like batches."""
    query = page_query(call.head.query)
    after, before = _model("after_id", query.after), _model("before_id", query.before)
    page = page_of(OLDEST_FIRST, query.limit, after=after, before=before)
    models = [msgspec.json.encode(model_object(name)) for name in page.items]
    return Response(200, _JSON, page_json(models, page.items, has_more=page.has_more))


def _model(cursor: str, name: str | None) -> int | None:
    if name is not None and name not in OLDEST_FIRST:
        raise ErrorAnswer(400, f"{cursor}: model {name} not found.")
    return None if name is None else OLDEST_FIRST.index(name)


def _model_by_name(call: Call) -> Response:
    return Response(200, _JSON, msgspec.json.encode(model_object(call.batch_id, call.settings.models)))


HANDLERS: Final[Mapping[str, Callable[[Call], Response]]] = {
    "create": _create,
    "list": _list,
    "get": _get,
    "cancel": _cancel,
    "delete": _delete,
    "results": _results,
    "models": _models,
    "model": _model_by_name,
    "messages": create_message,
    "count_tokens": count_tokens,
}


def _found(call: Call) -> StoredBatch:
    record = call.state.store.get(call.workspace, call.batch_id)
    if record is None:
        raise ErrorAnswer(404, f"Message Batch {call.batch_id} not found.")
    return record


def _visible(call: Call) -> StoredBatch:
    """Return the batch, or raise a 404 until `fresh_404` seconds after create.

    Users have reported such a 404 within seconds of create (anthropic-sdk-python issue 1432, 2026-04).
    """
    record = _found(call)
    if call.state.clock.micros() < record.created_at + micros(call.settings.fresh_404):
        raise ErrorAnswer(404, f"Message Batch {call.batch_id} not found.")
    return record


def _batch(call: Call, record: StoredBatch) -> Response:
    return Response(200, _JSON, batch_object(record, call.state.store, call.state.clock.micros(), call.base))


def _accepts_gzip(headers: Mapping[str, str]) -> bool:
    offers = headers.get("accept-encoding", "").lower().split(",")
    return any(re.fullmatch(r"\s*gzip\s*(;\s*q=(1|0\.\d*[1-9]).*)?", offer) for offer in offers)


def _gzipped(blocks: Iterable[bytes]) -> Iterator[bytes]:
    deflate = zlib.compressobj(level=1, wbits=31)
    for block in blocks:
        yield deflate.compress(block)
    yield deflate.flush()
