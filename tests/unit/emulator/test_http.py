"""Requests as HTTP allows them, and those that it does not: refused with a sentence, and the connection ends."""

from __future__ import annotations

import gzip
import json
import re
import socket
import zlib
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batches.emulator import Emulator
from tests.unit.emulator.client import answers, dial, everything, head, lines
from tests.unit.emulator.conftest import Start

BATCHES = "/v1/messages/batches"
CHUNKED = head("POST", BATCHES, "transfer-encoding: chunked")
KEY = b"x-api-key: sk-ant-emulator\r\nanthropic-version: 2023-06-01\r\n"


def answered(emulator: Emulator, sent: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Return the status line, the header lines and the body of the answer to a client that then sends no more."""
    with dial(emulator) as sock:
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        top, _, body = everything(sock).partition(b"\r\n\r\n")
    status, *found = top.split(b"\r\n")
    return status, found, body


@given(cuts=st.lists(st.integers(1, 400), max_size=20), extended=st.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_chunked_body_arrives_whole_wherever_it_is_cut(cuts: list[int], extended: bool, emulator: Emulator) -> None:
    body = json.dumps({"requests": lines(4)}).encode()
    chunks = []
    for cut in cuts:
        if body:
            chunks.append(body[:cut])
            body = body[cut:]
    chunks += [body] if body else []
    extension = b";name=value" if extended else b""
    wire = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    with dial(emulator) as sock:
        sock.sendall(head("POST", BATCHES, "transfer-encoding: chunked"))
        for start in range(0, len(wire), 97):
            sock.sendall(wire[start : start + 97])
        sock.sendall(b"0\r\ntrailer: value\r\n\r\n" + head("GET", BATCHES))
        created, listed = answers(sock, 2)
    assert json.loads(created.split(b"\r\n")[-1])["request_counts"]["succeeded"] == 4
    assert listed.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("sent", "status", "text"),
    [
        (b"nonsense\r\n\r\n", 400, b"illegal request line"),
        (b"GET /\r\n\r\n", 400, b"illegal request line"),
        (b"GET / HTTP/2.0\r\nhost: x\r\n\r\n", 505, b"The HTTP version must be 1.1 or 1.0."),
        (b"GET //[ HTTP/1.1\r\nhost: x\r\n\r\n", 400, b"'//[' is not the target of a request."),
        (b"GET / HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n", 400, b"illegal header line"),
        (b"GET / HTTP/1.1\r\nhost : x\r\n\r\n", 400, b"illegal header line"),
        (b"GET / HTTP/1.1\r\n folded: x\r\n\r\n", 400, b"continuation line"),
        (b"GET / HTTP/1.1\r\n" + KEY + b"\r\n", 400, b"Missing mandatory Host: header"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n", 400, b"Found multiple Host: headers"),
        (head("GET", BATCHES).replace(b"\r\n", b"\n"), 400, b"ends with LF, not with CR LF."),
        (head("GET", BATCHES).replace(b"\r\n", b"\n", 1), 400, b"ends with LF, not with CR LF."),
        (head("POST", BATCHES, "content-length: -5"), 400, b"bad Content-Length"),
        (head("POST", BATCHES, "content-length: 5", "content-length: 6"), 400, b"conflicting Content-Length"),
        (head("POST", BATCHES, "transfer-encoding: gzip, chunked"), 501, b"Only Transfer-Encoding: chunked"),
        (CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", 400, b"illegal chunk header"),
        (CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", 400, b"illegal chunk header"),
        (CHUNKED + b"1_0\r\n", 400, b"illegal chunk header"),
        (CHUNKED + b"zz\r\n", 400, b"illegal chunk header"),
        (CHUNKED + b"5\r\nhello\n0\r\n\r\n", 400, b"malformed chunk footer"),
        (CHUNKED + b"5;" + b"x" * 70_000, 431, b"too long"),
        (b"GET /" + b"x" * 70_000, 431, b"too long"),
    ],
    ids=range(21),
)
def test_a_request_that_is_not_http_is_refused(sent: bytes, status: int, text: bytes, emulator: Emulator) -> None:
    line, headers, body = answered(emulator, sent)
    assert line.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in headers
    assert text in body
    assert emulator.batches() == []
    with dial(emulator) as sock:
        sock.sendall(head("GET", BATCHES))
        assert answers(sock, 1)[0].startswith(b"HTTP/1.1 200 OK")


PIECES: Final = (
    b"GET ", b"POST ", b"/", BATCHES.encode(), b" HTTP/1.1", b"\r\n", b"\n", b"host: x\r\n", b":", b"\0",
    b"content-length: 3\r\n", b"transfer-encoding: chunked\r\n", b"3\r\n", b"0\r\n\r\n", b"expect: 100-continue\r\n",
)  # fmt: skip
"""Parts of requests, for sequences that are nearly HTTP."""


@given(sent=st.lists(st.sampled_from(PIECES) | st.binary(max_size=6), max_size=20).map(b"".join))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_answered_as_http_or_not_at_all(sent: bytes, emulator: Emulator) -> None:
    with dial(emulator) as sock:
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        received = everything(sock)
    assert received == b"" or re.match(rb"HTTP/1\.1 (100|4\d\d|50[15]) ", received), received
    assert b"The emulator failed" not in received


def test_a_bare_lf_is_refused_when_the_call_before_it_was_fine(emulator: Emulator) -> None:
    with dial(emulator) as sock:
        sock.sendall(head("GET", BATCHES) + head("GET", BATCHES).replace(b"\r\n", b"\n"))
        received = everything(sock)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1 400 Bad Request\r\n" in received


def test_a_client_of_http_1_0_gets_no_chunks_and_the_connection_ends(start: Start) -> None:
    emulator, client = start()
    batch = client.made(lines(3))
    results = client.results(batch).content
    for extra in ((), ("connection: keep-alive",)):
        request = head("GET", f"{BATCHES}/{batch}/results", *extra).replace(b"HTTP/1.1", b"HTTP/1.0")
        status, headers, body = answered(emulator, request)
        assert status == b"HTTP/1.1 200 OK"
        assert b"connection: close" in headers
        assert not [line for line in headers if line.startswith(b"transfer-encoding")]
        assert sorted(body.split(b"\n")) == sorted(results.split(b"\n"))


def test_a_create_over_http_1_0_makes_a_batch(emulator: Emulator) -> None:
    body = json.dumps({"requests": lines(2)}).encode()
    sent = head("POST", BATCHES, f"content-length: {len(body)}").replace(b"HTTP/1.1", b"HTTP/1.0") + body
    assert json.loads(answered(emulator, sent)[2])["request_counts"]["succeeded"] == 2


def test_a_client_of_http_1_0_that_names_no_host_is_pointed_to_the_address_it_dialled(start: Start) -> None:
    emulator, client = start()
    client.made(lines(1))
    _, _, body = answered(emulator, b"GET /v1/messages/batches HTTP/1.0\r\n" + KEY + b"\r\n")
    assert f'"results_url":"{emulator.url}/v1/messages/batches/'.encode() in body


def test_a_request_for_another_protocol_is_answered_over_this_one(emulator: Emulator) -> None:
    with dial(emulator) as sock:
        sock.sendall(head("GET", BATCHES, "connection: upgrade", "upgrade: h2c") + head("GET", BATCHES))
        assert all(answer.startswith(b"HTTP/1.1 200 OK") for answer in answers(sock, 2))


def test_a_target_may_be_a_whole_url(emulator: Emulator) -> None:
    with dial(emulator) as sock:
        sock.sendall(head("GET", f"{emulator.url}{BATCHES}?limit=1"))
        assert answers(sock, 1)[0].startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("members", [1, 2, 40])
def test_a_gzip_body_may_have_several_members(members: int, start: Start) -> None:
    _, client = start()
    body = json.dumps({"requests": lines(200)}).encode()
    size = -(-len(body) // members)
    packed = b"".join(gzip.compress(body[at : at + size]) for at in range(0, len(body), size))
    created = client.send(packed, **{"content-encoding": "gzip"})
    assert created.json()["request_counts"]["succeeded"] == 200


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b"{}") + b"trailing"),
        ("gzip", gzip.compress(b"{}") + gzip.compress(b"{}")[:-3]),
        ("deflate", zlib.compress(b"{}") + zlib.compress(b"{}")),
        ("deflate", gzip.compress(b"{}")),
        ("gzip", zlib.compress(b"{}")),
    ],
    ids=range(5),
)
def test_a_body_that_cannot_be_decoded_to_its_end_is_refused(encoding: str, packed: bytes, start: Start) -> None:
    _, client = start()
    refused = client.send(packed, **{"content-encoding": encoding})
    assert refused.status_code == 400
    assert refused.json()["error"]["details"] == {"error_code": "request_body_encoding_invalid"}
