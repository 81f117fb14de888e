"""Any results, in any order, in any chunks, cut anywhere: the same object or none."""

from __future__ import annotations

import gzip
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batches.api import BatchesClient, RetryPolicy, StreamInterrupted, TransportError
from airflow_batches.landing import LandingError, LandingMismatch, land
from airflow_batches.landing.blocks import whole_lines
from tests.unit.landing.support import ONCE, names_in

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
results = st.fixed_dictionaries(
    {"type": st.sampled_from(["succeeded", "errored", "canceled", "expired", "from_the_future"])},
    optional={"message": values, "error": values},
)


@st.composite
def batches(draw: st.DrawFn) -> list[bytes]:
    """Result lines with distinct ids, as JSON with and without escapes."""
    found = []
    for number, result in enumerate(draw(st.lists(results, min_size=1, max_size=12))):
        line = json.dumps({"custom_id": f"r-{number}", "result": result}, ensure_ascii=draw(st.booleans()))
        found.append(line.encode())
    return found


@st.composite
def attempts(draw: st.DrawFn, lines: list[bytes]) -> list[tuple[list[bytes], bool]]:
    """Bodies of some attempts: shuffled, with too many or too few newlines, cut, in chunks; and whether they end."""
    found = []
    for _ in range(draw(st.integers(0, 4))):
        body = draw(bodies(lines))
        cut = draw(st.integers(0, len(body)))
        found.append((draw(chunks(body[:cut])), draw(st.booleans())))
    return [*found, (draw(chunks(draw(bodies(lines)))), True)]


@st.composite
def bodies(draw: st.DrawFn, lines: list[bytes]) -> bytes:
    ends = [draw(st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n \n", b""])) for _ in lines]
    shuffled = draw(st.permutations(lines))
    body = b"".join(line + end for line, end in zip(shuffled, ends, strict=True))
    return body if draw(st.booleans()) else body.rstrip(b"\r\n ")


@st.composite
def chunks(draw: st.DrawFn, body: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=6)))
    return [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True) if start < end]


@contextmanager
def serving(
    counts: dict[str, int], bodies: list[tuple[list[bytes], bool]], encoding: str = "identity"
) -> Iterator[str]:
    """A server of one batch: each GET of its results gives the next body, and the last one again and again."""
    left = [*bodies]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if not self.path.endswith("/results"):
                return self._send("identity", [json.dumps(batch(counts)).encode()], True)
            return self._send(encoding, *(left.pop(0) if len(left) > 1 else left[0]))

        def _send(self, encoding: str, parts: list[bytes], properly: bool) -> None:
            self.send_response(200)
            self.send_header("transfer-encoding", "chunked")
            self.send_header("content-encoding", encoding)
            self.end_headers()
            for part in parts:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            if properly:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = not properly

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class calls it so
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(30)


def batch(counts: dict[str, int]) -> dict[str, Any]:
    return {"id": "msgbatch_01", "processing_status": "ended", "request_counts": counts, "results_url": "/"}


def counted(lines: list[bytes]) -> dict[str, int]:
    """The API's counts, which have no field for an unknown type."""
    types = Counter(json.loads(line)["result"]["type"] for line in lines)
    types["errored"] += types.pop("from_the_future", 0)
    return {"processing": 0, **{name: types[name] for name in ("succeeded", "errored", "canceled", "expired")}}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_body_in_any_chunks_with_any_cuts_lands_every_line_once(data: st.DataObject) -> None:
    lines = data.draw(batches())
    with tempfile.TemporaryDirectory() as folder, serving(counted(lines), data.draw(attempts(lines))) as url:
        with BatchesClient("key", base_url=url, retry=ONCE) as client:
            manifest = land(client, "msgbatch_01", f"file://{folder}/out", retry=RetryPolicy(attempts=6, base=0))
        landed = (Path(folder) / "out").read_bytes()
        assert sorted(line.strip() for line in landed.split(b"\n") if line.strip()) == sorted(lines)
        assert manifest.lines == manifest.results.lines == len(lines)
        assert manifest.verified
        assert names_in(Path(folder)) == {"out", "out.manifest.json"}


def test_results_that_share_a_line_get_one_each_even_when_a_blank_line_makes_the_count_right(tmp_path: Path) -> None:
    lines = [b'{"custom_id":"%b","result":{"type":"canceled"}}' % name for name in (b"a", b"b", b"c")]
    first, second, third = lines
    whole = first + b"\n\n" + second + third + b"\n"
    with serving(counted(lines), [([whole], True)]) as url, BatchesClient("key", base_url=url) as client:
        land(client, "msgbatch_01", f"file://{tmp_path}/out")
    assert (tmp_path / "out").read_bytes() == b"".join(line + b"\n" for line in lines)


@pytest.mark.parametrize("body", [b"\n\n%b\n%b\n", b"%b\n \n%b\n\n"])
def test_blank_lines_do_not_land(tmp_path: Path, body: bytes) -> None:
    lines = [b'{"custom_id":"%b","result":{"type":"canceled"}}' % name for name in (b"a", b"b")]
    with serving(counted(lines), [([body % tuple(lines)], True)]) as url:  # noqa: SIM117
        with BatchesClient("key", base_url=url) as client:
            land(client, "msgbatch_01", f"file://{tmp_path}/out")
    assert (tmp_path / "out").read_bytes() == b"".join(line + b"\n" for line in lines)


def test_a_body_that_does_not_decompress_lands_nothing(tmp_path: Path) -> None:
    lines = [b'{"custom_id":"%b","result":{"type":"canceled"}}' % name for name in (b"a", b"b")]
    packed = gzip.compress(b"\n".join(lines))
    wrong_checksum = bytes(byte ^ 1 for byte in packed[-8:-4]) + packed[-4:]
    with (
        serving(counted(lines), [([packed[:-8], wrong_checksum], True)], "gzip") as url,
        BatchesClient("key", base_url=url) as client,
        pytest.raises(LandingError, match="the results of msgbatch_01 are damaged"),
    ):
        land(client, "msgbatch_01", f"file://{tmp_path}/out")
    assert not names_in(tmp_path)


def test_a_result_split_over_two_lines_is_not_a_result(tmp_path: Path) -> None:
    lines = [b'{"custom_id":"%b","result":{"type":"canceled"}}' % name for name in (b"a", b"b")]
    spread = lines[0].replace(b",", b",\n") + b"\n" + lines[1] + b"\n"
    with serving(counted(lines), [([spread], True)]) as url:  # noqa: SIM117
        with BatchesClient("key", base_url=url, retry=ONCE) as client, pytest.raises(LandingMismatch):
            land(client, "msgbatch_01", f"file://{tmp_path}/out", retry=RetryPolicy(attempts=2, base=0))
    assert not names_in(tmp_path)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_with_a_line_that_is_always_cut_nothing_lands(data: st.DataObject) -> None:
    lines = data.draw(batches())
    body = b"\n".join(lines)
    short = body[: data.draw(st.integers(0, len(body) - 1))]
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(counted(lines), [(data.draw(chunks(short)), data.draw(st.booleans()))]) as url,
        BatchesClient("key", base_url=url, retry=ONCE) as client,
    ):
        with pytest.raises((LandingMismatch, StreamInterrupted, TransportError)):
            land(client, "msgbatch_01", f"file://{folder}/out", retry=RetryPolicy(attempts=2, base=0))
        assert names_in(Path(folder)) == set()


@given(st.lists(st.binary(max_size=12)), st.integers(1, 30), st.randoms(use_true_random=False))
def test_lines_do_not_depend_on_how_bytes_arrive(lines: list[bytes], size: int, rng: random.Random) -> None:
    body = b"\n".join(lines)
    arrivals, at = [], 0
    while at < len(body):
        step = rng.randint(1, 9)
        arrivals.append(body[at : at + step])
        at += step
    found = [*whole_lines(arrivals, size, max_delay_s=60)]
    whole = body if not body or body.endswith(b"\n") else body + b"\n"
    assert b"".join(found) == whole
    assert all(bytes(block).endswith(b"\n") for block in found)
    assert all(len(block) >= size for block in found[:-1])


def test_late_lines_are_passed_on_in_a_smaller_block() -> None:
    assert [*whole_lines([b"a\nb\nc", b"d", b"\ne\n"], max_delay_s=0)] == [b"a\nb\n", b"cd\ne\n"]
