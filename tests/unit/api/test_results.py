"""Results as a stream: lazy, typed, honest about its end."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api import (
    ApiError,
    BatchesClient,
    DecodeError,
    InvalidRequest,
    OtherResult,
    RetryPolicy,
    StreamInterrupted,
    Succeeded,
)
from airflow_batches.emulator import Emulator, Fault
from tests.unit.api.conftest import KEY, SOON
from tests.unit.api.wire import Script, answering, closed_by_peer, read_request, serving

A = b'{"custom_id":"a","result":{"type":"canceled"}}'
B = b'{"custom_id":"b","result":{"type":"expired"}}'
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-jsonl\r\ntransfer-encoding: chunked\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n", headers: bytes = b"") -> Script:
    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(CHUNKED + headers + b"\r\n" + b"".join(map(chunk, chunks)) + end)

    return script


def read(script: Script) -> tuple[list[str], Exception | None]:
    """The ids that came, and what ended the stream; whatever it was, nothing was asked for twice."""
    ids: list[str] = []
    with serving(script, script) as server, BatchesClient(KEY, base_url=server.url, retry=SOON) as client:
        try:
            with client.results_stream("b") as items:
                ids.extend(item.custom_id for item in items)
        except Exception as exc:  # noqa: BLE001  # which one is what the tests are about
            return ids, exc
        finally:
            assert server.connections == 1
    return ids, None


def test_items_come_one_by_one_while_the_body_is_still_on_its_way() -> None:
    first_read = threading.Event()

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(CHUNKED + b"\r\n" + chunk(A + b"\n"))
        assert first_read.wait(30), "the first item was not given before the second had come"
        connection.sendall(chunk(B + b"\n") + b"0\r\n\r\n")

    with (
        serving(script) as server,
        BatchesClient(KEY, base_url=server.url) as client,
        client.results_stream("b") as items,
    ):
        assert next(items).custom_id == "a"
        first_read.set()
        assert next(items).custom_id == "b"
        assert next(items, None) is None
    assert not server.failures


def test_leaving_early_closes_the_connection() -> None:
    seen: list[bool] = []

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(CHUNKED + b"\r\n" + chunk(A + b"\n"))
        seen.append(closed_by_peer(connection))

    with serving(script) as server:
        client = BatchesClient(KEY, base_url=server.url)
        with client.results_stream("b") as items:
            assert next(items).custom_id == "a"
    assert seen == [True]


def test_a_body_of_results_read_whole_gives_its_connection_back() -> None:
    def script(connection: socket.socket) -> None:
        for _ in range(2):
            chunked(A)(connection)

    with serving(script) as server, BatchesClient(KEY, base_url=server.url) as client:
        for _ in range(2):
            assert len(client.results("b")) == 1
        assert server.connections == 1


@pytest.mark.parametrize("taken", [0, 1])
def test_a_read_after_the_block_is_an_error_and_not_an_early_end(taken: int) -> None:
    with serving(chunked(A + b"\n" + B + b"\n")) as server, BatchesClient(KEY, base_url=server.url) as client:
        with client.results_stream("b") as items:
            for _ in range(taken):
                next(items)
        with pytest.raises(InvalidRequest, match="had been left"):
            next(items)


@pytest.mark.parametrize("name", ["\u2028", "\u2029", "\u0085", "\r", "é"])
def test_text_in_a_line_comes_out_as_it_is(name: str) -> None:
    raw = json.dumps({"custom_id": "a", "result": {"type": "new", "text": name}}, ensure_ascii=name == "\r").encode()
    with serving(chunked(raw)) as server, BatchesClient(KEY, base_url=server.url) as client:
        (item,) = client.results("b")
    assert isinstance(item.result, OtherResult)
    assert item.result.model_extra == {"text": name}


@pytest.mark.parametrize("odd", [b'"\\ud83d"', b'{"\\udc00":1}', b"[" * 300 + b"]" * 300])
def test_what_only_a_lenient_parser_reads_is_read(odd: bytes) -> None:
    line = b'{"custom_id":"odd","result":{"type":"succeeded","message":{"model":"m","content":[{"input":%s}]}}}' % odd
    assert read(answering(line + b"\n" + A)) == (["odd", "a"], None)


def test_brackets_beyond_all_reading_are_no_result() -> None:
    ids, error = read(answering(b"[" * 200_000 + b"\n" + A))
    assert ids == []
    assert isinstance(error, DecodeError)


@pytest.mark.parametrize("body", [b"", b"\n", b"\r\n \n"])
def test_an_empty_body_has_no_items(body: bytes) -> None:
    assert read(answering(body)) == ([], None)


def test_blank_lines_are_skipped_and_the_last_line_needs_no_newline() -> None:
    assert read(answering(b"\n" + A + b"\n\n" + B)) == (["a", "b"], None)


@given(st.lists(st.integers(1, 200), max_size=6))
def test_it_does_not_matter_how_the_body_is_cut_into_chunks(places: list[int]) -> None:
    body = A + b"\r\n" + B + b"\n\n" + A
    at = sorted({0, len(body), *(place for place in places if place < len(body))})
    chunks = [body[start:end] for start, end in itertools.pairwise(at)]
    assert read(chunked(*chunks)) == (["a", "b", "a"], None)


def test_a_compressed_body_is_decompressed() -> None:
    packed = gzip.compress(A + b"\n" + B + b"\n")
    assert read(chunked(packed[:20], packed[20:], headers=b"content-encoding: gzip\r\n")) == (["a", "b"], None)


def _announce_more(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n" + A + b"\n" + B + b"\n")


def interrupted(script: Script) -> tuple[list[str], int]:
    ids, error = read(script)
    assert isinstance(error, StreamInterrupted), error
    return ids, error.lines_read


@pytest.mark.parametrize(
    ("script", "whole"),
    [
        (chunked(A + b"\n" + B + b"\n", end=b""), ["a", "b"]),
        (chunked(A + b"\n" + B[:20], end=b""), ["a"]),
        (chunked(A + b"\n" + B, end=b""), ["a"]),
        (chunked(A + b"\n", end=b"zz\r\n"), ["a"]),
        (chunked(end=b""), []),
        (chunked(gzip.compress(A + b"\n")[:-9] + b"\x00" * 30, headers=b"content-encoding: gzip\r\n"), None),
        (_announce_more, ["a", "b"]),
    ],
    ids=["between lines", "within a line", "before the end", "broken chunk", "at once", "broken gzip", "short"],
)
def test_a_connection_that_breaks_interrupts_after_the_whole_lines(script: Script, whole: list[str] | None) -> None:
    ids, lines_read = interrupted(script)
    assert len(ids) == lines_read
    assert whole in (None, ids)


@pytest.mark.parametrize("torn", [B[:-1], B[:5], b"{", b'{"custom_id":"b"}', b"\xff", B[:20] + b"\n", B[:20] + b"\n\n"])
def test_a_torn_last_line_interrupts_even_where_the_body_ended_in_order(torn: bytes) -> None:
    assert interrupted(answering(A + b"\n" + torn)) == (["a"], 1)


def test_a_broken_line_that_others_follow_is_a_decode_error_with_its_number() -> None:
    ids, error = read(answering(A + b"\n\n<html>\n" + B + b"\n"))
    assert ids == ["a"]
    assert isinstance(error, DecodeError)
    assert "results line 2 is not a result: '<html>'" in str(error)


@pytest.mark.parametrize(
    "odd",
    [
        b'{"custom_id":"o","result":{"type":"succeeded","message":null}}',
        b'{"custom_id":"o","result":{"type":"succeeded","message":{"content":null,"usage":"free"}}}',
        b'{"custom_id":"o","result":{"type":"errored","error":"overloaded"}}',
        b'{"custom_id":"o","result":{"type":"errored","error":{"type":"error","error":{"details":["x"]}}}}',
    ],
)
def test_a_result_of_an_odd_shape_keeps_nobody_from_the_others(odd: bytes) -> None:
    assert read(answering(A + b"\n" + odd + b"\n" + B + b"\n")) == (["a", "o", "b"], None)


def test_a_result_whose_type_is_no_text_is_a_decode_error() -> None:
    ids, error = read(answering(A + b'\n{"custom_id":"o","result":{"type":[]}}\n' + B + b"\n"))
    assert (ids, type(error)) == (["a"], DecodeError)


def test_a_broken_line_right_before_the_cut_is_an_interruption() -> None:
    assert interrupted(chunked(A + b"\n{\n", end=b"")) == (["a"], 1)


def test_a_read_timeout_within_the_results_interrupts_them() -> None:
    def stall(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(CHUNKED + b"\r\n" + chunk(A + b"\n"))
        assert closed_by_peer(connection)

    with serving(stall) as server, BatchesClient(KEY, base_url=server.url, timeout=(30, 0.2)) as client:
        with pytest.raises(StreamInterrupted, match="timed out") as caught:
            client.results("b")
        assert (caught.value.lines_read, server.connections) == (1, 1)


def test_the_opening_of_a_stream_is_tried_again() -> None:
    busy = answering(b"", "529 Overloaded")
    with serving(busy, answering(A)) as server, BatchesClient(KEY, base_url=server.url, retry=SOON) as client:
        assert [item.custom_id for item in client.results("b")] == ["a"]
        assert server.connections == 2


def test_open_results_gives_the_unread_response_and_closes_it() -> None:
    with serving(answering(A)) as server, BatchesClient(KEY, base_url=server.url) as client:
        with client.open_results("b") as response:
            assert response.raw.read() == A
        assert response.raw.closed


def _opened(client: BatchesClient, **options: Any) -> bytes:
    with client.open_results("b", **options) as response:
        return response.raw.read()


def _streamed(client: BatchesClient, **options: Any) -> int:
    with client.results_stream("b", **options) as items:
        return len([*items])


def _read_at_once(client: BatchesClient, **options: Any) -> int:
    return len(client.results("b", **options))


READERS = [_opened, _streamed, _read_at_once]


@pytest.mark.parametrize("reader", READERS)
def test_the_results_of_a_batch_that_exists_are_asked_for_again_after_a_404(reader: Callable[..., object]) -> None:
    early = answering(b"", "404 Not Found")
    known = RetryPolicy(attempts=2, base=0.0, exists=True)
    with serving(early, answering(A)) as server, BatchesClient(KEY, base_url=server.url, retry=SOON) as client:
        assert reader(client, retry=known) in (A, 1)
        assert server.connections == 2


@pytest.mark.parametrize("reader", READERS)
def test_a_404_of_results_is_raised_by_the_clients_own_policy(reader: Callable[..., object]) -> None:
    early = answering(b"", "404 Not Found")
    with serving(early, answering(A)) as server, BatchesClient(KEY, base_url=server.url, retry=SOON) as client:
        with pytest.raises(ApiError, match="404"):
            reader(client)
        assert server.connections == 1


def test_an_error_of_the_reader_leaves_the_stream_closed() -> None:
    with serving(chunked(A + b"\n", B)) as server, BatchesClient(KEY, base_url=server.url) as client:
        with pytest.raises(KeyError), client.results_stream("b") as items:
            raise KeyError(next(items, None))
        with pytest.raises(InvalidRequest):
            next(items)


REQUESTS = [
    {
        "custom_id": f"r{n}",
        "params": {"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]},
    }
    for n in range(5)
]


def test_the_emulators_results_come_back_whole() -> None:
    with Emulator() as emulator, BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        batch = client.wait_for(client.create(REQUESTS).id, poll_interval=0.01, timeout=30)
        items = client.results(batch.id)
        assert {item.custom_id for item in items} == {request["custom_id"] for request in REQUESTS}
        assert all(isinstance(item.result, Succeeded) for item in items)
        assert batch.request_counts.succeeded == 5


@pytest.mark.parametrize("action", ["cut", "torn_line"])
def test_the_emulators_cut_interrupts(action: str) -> None:
    with Emulator() as emulator, BatchesClient(emulator.api_key, base_url=emulator.url) as client:
        batch_id = client.create(REQUESTS).id
        client.wait_for(batch_id, poll_interval=0.01, timeout=30)
        plan = emulator.fault(Fault(endpoint="results", action=action, after_bytes=1_000, line=2))
        with pytest.raises(StreamInterrupted):
            client.results(batch_id)
        assert plan.struck == 1
        assert len(client.results(batch_id)) == 5


def test_results_asked_for_too_early_are_the_apis_404() -> None:
    with (
        Emulator(processing_time=3600) as emulator,
        BatchesClient(emulator.api_key, base_url=emulator.url) as client,
    ):
        batch_id = client.create(REQUESTS).id
        with pytest.raises(ApiError, match="has no available results") as caught:
            client.results(batch_id)
        assert caught.value.status == 404
