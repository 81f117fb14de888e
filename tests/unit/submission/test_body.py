"""The body that is sent: exact, streamed, and the one that was weighed."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_batches.api.digest import ids_digest
from airflow_batches.emulator import Emulator
from airflow_batches.submission import PreflightError, SourceChanged
from airflow_batches.submission.body import RequestsBody
from airflow_batches.submission.lines import line_runs
from airflow_batches.submission.scan import Scan, scan
from airflow_batches.submission.source import Source
from airflow_batches.submission.submit import submit
from tests.samples import some_requests
from tests.unit.submission.helpers import Task, client_of, one_by_one
from tests.unit.submission.strategies import jsonl

MODEL = "claude-default"


class Bytes(Source):
    """JSONL that is here already; each reading may give something else."""

    name = "bytes"

    def __init__(self, *readings: bytes, cut: Any = lambda data: [data]) -> None:
        self._readings = [*readings]
        self._cut = cut

    def blocks(self) -> Iterator[bytes]:
        return iter(self._cut(self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]))


def scanned(source: Source) -> Scan:
    return scan(source, model=MODEL, preflight="error", version="2026-10-21")


def with_model(request: dict[str, Any]) -> dict[str, Any]:
    return request | {"params": {"model": MODEL, **request["params"]}}


@example(([some_requests(1)[0]], b"\n" + json.dumps(some_requests(1)[0]).encode()), one_by_one)
@settings(deadline=None)
@given(jsonl(), st.sampled_from([one_by_one, lambda data: [data], lambda data: [data[:7], b"", data[7:]]]))
def test_any_jsonl_becomes_the_body_of_its_requests(case: tuple[list[dict[str, Any]], bytes], cut: Any) -> None:
    requests, data = case
    source = Bytes(data, cut=cut)
    first = scanned(source)
    sent, body = first.sent, b"".join(RequestsBody(source, first, model=MODEL))
    assert json.loads(body) == {"requests": [with_model(request) for request in requests]}
    assert len(body) == sent.bytes
    assert hashlib.sha256(body).hexdigest() == sent.sha256
    assert sent.requests == len(requests)
    assert sent.ids_digest == ids_digest(request["custom_id"] for request in requests)
    assert set(sent.models) == {with_model(request)["params"]["model"] for request in requests}


@settings(deadline=None)
@given(jsonl(), st.randoms(use_true_random=False))
def test_the_order_of_the_requests_changes_no_digest(
    case: tuple[list[dict[str, Any]], bytes], shuffler: random.Random
) -> None:
    _, data = case
    lines = data.split(b"\n")
    shuffler.shuffle(lines)
    one, other = scanned(Bytes(data)).sent, scanned(Bytes(b"\n".join(lines))).sent
    assert (one.ids_digest, one.fingerprint) == (other.ids_digest, other.fingerprint)


@settings(deadline=None)
@given(jsonl())
def test_any_other_prompt_changes_the_fingerprint_and_not_the_ids(case: tuple[list[dict[str, Any]], bytes]) -> None:
    requests, data = case
    requests[-1]["params"]["messages"][0]["content"] += "?"
    changed = "\n".join(json.dumps(request) for request in requests).encode()
    one, other = scanned(Bytes(data)).sent, scanned(Bytes(changed)).sent
    assert one.fingerprint != other.fingerprint
    assert one.ids_digest == other.ids_digest


def test_lines_with_a_model_are_forwarded_byte_for_byte() -> None:
    line = b'{ "params" : {"max_tokens":1e1, "model":"m","messages":[ {"content":"\\u00e9"} ]}, "custom_id":"a"}'
    source = Bytes(line)
    first = scan(source, model=MODEL, preflight="off", version="2026-10-21")
    assert b"".join(RequestsBody(source, first, model=MODEL)) == b'{"requests":[' + line + b"]}"


def test_a_line_longer_than_any_batch_is_refused_before_it_is_held() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b" " * 50_000_000

    with pytest.raises(PreflightError, match="line 1 is longer than a whole batch may be"):
        next(line_runs(endless()))


def changed_sources() -> Iterable[tuple[bytes, bytes]]:
    lines = [json.dumps(request).encode() for request in some_requests(3)]
    first = b"\n".join(lines)
    yield first, first.replace(b"Hello", b"HELLO")
    yield first, first + b"\n" + json.dumps(some_requests(1, prefix="x")[0]).encode()
    yield first, b"\n".join(lines[:2])
    yield first, b""


@pytest.mark.parametrize(("first", "second"), [*changed_sources()])
def test_a_source_that_changes_while_it_is_sent_becomes_no_batch(
    emulator: Emulator, first: bytes, second: bytes
) -> None:
    with pytest.raises(SourceChanged, match="bytes changed while it was submitted; nothing was sent"):
        submit(client_of(emulator), Bytes(first, second))
    assert emulator.batches() == []


def test_a_source_that_breaks_off_while_it_is_sent_becomes_no_batch(emulator: Emulator, tmp_path: Path) -> None:
    class Breaks(Bytes):
        def blocks(self) -> Iterator[bytes]:
            if len(self._readings) == 1:
                raise PreflightError("gone")
            return super().blocks()

    data = json.dumps(some_requests(1)[0]).encode()
    with pytest.raises(PreflightError, match="gone"):
        submit(client_of(emulator), Breaks(data, data))
    assert emulator.batches() == []


def test_the_receipt_tells_what_was_sent(emulator: Emulator) -> None:
    requests = some_requests(3)
    receipt = Task(emulator).try_(requests)
    body = json.dumps({"requests": requests}, separators=(",", ":")).encode()
    (batch,) = emulator.batches()
    assert receipt.to_dict() == {
        "batch_id": batch["id"],
        "requests": 3,
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "ids_digest": ids_digest(["r-0", "r-1", "r-2"]),
        "fingerprint": receipt.fingerprint,
        "models": ["claude-haiku-4-5"],
        "source": "requests",
        "created_at": batch["created_at"].replace("+00:00", "Z"),
    }
    assert type(receipt).from_dict(json.loads(json.dumps(receipt.to_dict() | {"of_tomorrow": 1}))) == receipt
