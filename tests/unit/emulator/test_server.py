"""The server: calls as real clients send them, many connections, and an end that leaves nothing behind."""

from __future__ import annotations

import gc
import json
import logging
import threading
import warnings
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.emulator import Emulator, Fault
from airflow_batches.emulator.wire import rechunked
from tests.unit.emulator.client import Client, answers, dial, everything, head, line, lines
from tests.unit.emulator.conftest import Eventually, Start, emulator_threads

BATCHES = "/v1/messages/batches"


def test_one_connection_serves_many_calls(start: Start) -> None:
    emulator, client = start()
    batch = client.made(lines(1))
    for _ in range(10):
        client.get(batch)
        client.results(batch)
    assert emulator.connections == 1


def test_calls_may_be_sent_before_the_last_one_is_answered(emulator: Emulator) -> None:
    with dial(emulator) as sock:
        sock.sendall(head("GET", BATCHES) * 3)
        assert all(answer.startswith(b"HTTP/1.1 200 OK") for answer in answers(sock, 3))


def test_the_connection_ends_when_the_client_wants_it_to(emulator: Emulator) -> None:
    with dial(emulator) as sock:
        sock.sendall(head("GET", BATCHES, "connection: close"))
        answer = everything(sock)
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"\r\n0\r\n\r\n")


def test_a_head_request_gets_no_body_and_the_connection_goes_on(emulator: Emulator) -> None:
    with dial(emulator) as sock:
        sock.sendall(head("HEAD", BATCHES) + head("GET", BATCHES))
        first, _, rest = answers(sock, 1)[0].partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 405")
    assert rest.startswith(b"HTTP/1.1 200")


def test_a_client_that_waits_for_100_continue_is_told_to_go_on(emulator: Emulator) -> None:
    body = json.dumps({"requests": lines(2)}).encode()
    with dial(emulator) as sock:
        sock.sendall(head("POST", BATCHES, f"content-length: {len(body)}", "expect: 100-continue"))
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert answers(sock, 1)[0].startswith(b"HTTP/1.1 200 OK")


@given(blocks=st.lists(st.binary(max_size=50)), size=st.integers(1, 70))
def test_rechunking_changes_the_blocks_and_not_the_bytes(blocks: list[bytes], size: int) -> None:
    out = list(rechunked(blocks, size))
    assert b"".join(out) == b"".join(blocks)
    assert all(len(block) == size for block in out[:-1])
    assert not out or 0 < len(out[-1]) <= size


def test_a_client_that_leaves_in_the_middle_affects_no_other(start: Start, eventually: Eventually) -> None:
    emulator, client = start(answer_chars=2000)
    batch = client.made(lines(2000))
    for sent in (head("POST", BATCHES, "content-length: 1000") + b"x", head("GET", f"{BATCHES}/{batch}/results"), b"G"):
        with dial(emulator) as sock:
            sock.sendall(sent)
    assert client.list().json()["first_id"] == batch
    client.close()
    eventually(lambda: len(emulator_threads()) <= 1)


def test_a_failure_of_the_emulator_itself_is_a_500_and_is_logged(
    tmp_path: Path, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    _, client = start(folder=tmp_path)
    batch = client.made(lines(1))
    (tmp_path / f"{batch}.lines").write_bytes(b"broken")
    with caplog.at_level(logging.ERROR):
        assert client.results(batch).status_code == 500
    assert "the emulator failed at GET" in caplog.text
    assert client.list().status_code == 200


def test_five_hundred_connections_are_served_at_once(start: Start) -> None:
    emulator, client = start(processing_time=60)
    batch = client.made(lines(1))
    socks = [dial(emulator) for _ in range(500)]
    for sock in socks:
        sock.sendall(head("GET", f"{BATCHES}/{batch}"))
    assert all(answers(sock, 1)[0].startswith(b"HTTP/1.1 200 OK") for sock in socks)
    for sock in socks:
        sock.close()
    assert emulator.connections == 501
    assert emulator.counters["get"] == 500


def test_concurrent_creates_are_each_one_batch(start_kept: Start) -> None:
    emulator, _ = start_kept()
    made: list[str] = []

    def create(number: int) -> None:
        client = Client(emulator)
        made.extend(client.made([line(f"{number}-{i}")]) for i in range(10))
        client.close()

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 80
    assert {batch["id"] for batch in emulator.batches()} == set(made)


@pytest.mark.parametrize("busy", ["idle", "stalled", "unread", "late", "half sent"])
def test_close_ends_every_connection_whatever_it_is_doing(busy: str, eventually: Eventually) -> None:
    emulator = Emulator(answer_chars=5000)
    client = Client(emulator)
    batch = client.made(lines(2000))
    emulator.fault(Fault(endpoint="get", action="stall", seconds=300, after_bytes=3))
    emulator.fault(Fault(endpoint="cancel", action="late_accept", seconds=300))
    sent = {
        "idle": b"",
        "stalled": head("GET", f"{BATCHES}/{batch}"),
        "unread": head("GET", f"{BATCHES}/{batch}/results"),
        "late": head("POST", f"{BATCHES}/{batch}/cancel"),
        "half sent": head("POST", BATCHES, "content-length: 1000") + b"x",
    }[busy]
    with dial(emulator) as sock:
        sock.sendall(sent)
        eventually(lambda: emulator.connections == 2)
        emulator.close()
        emulator.close()
        assert emulator_threads() == []
    with pytest.raises(ConnectionRefusedError):
        dial(emulator)
    client.close()


def test_nothing_is_left_open(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        with Emulator(folder=tmp_path, chunk_bytes=10) as emulator:
            client = Client(emulator)
            batch = client.send(b'{"requests":' + json.dumps([line("a")]).encode() + b" " * 2_000_000 + b"}")
            emulator.fault(Fault(endpoint="results", action="cut", after_bytes=20))
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                client.results(batch.json()["id"])
            client.close()
        del emulator, client, batch
        gc.collect()
    assert [str(warning.message) for warning in caught if warning.category is ResourceWarning] == []


def test_a_port_that_is_taken_is_an_error_and_a_freed_one_can_be_used_again() -> None:
    with Emulator() as first:
        client = Client(first)
        client.list()
        client.close()
        with pytest.raises(OSError, match="in use"):
            Emulator(first.port)
    with Emulator(first.port) as second:
        assert second.url == first.url


def test_an_emulator_may_be_closed_as_soon_as_it_is_there() -> None:
    for _ in range(300):
        Emulator().close()
    assert emulator_threads() == []


def test_two_emulators_share_nothing() -> None:
    with Emulator() as one, Emulator() as other:
        client = Client(one)
        client.made(lines(1))
        client.close()
        assert one.url != other.url
        assert (len(one.batches()), len(other.batches())) == (1, 0)
        assert other.connections == 0


@pytest.mark.parametrize("values", [{"port_number": 1}, {"errored_share": 2}, {"order": "none"}], ids=str)
def test_wrong_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Emulator(**values)  # type: ignore[arg-type]
    assert emulator_threads() == []
