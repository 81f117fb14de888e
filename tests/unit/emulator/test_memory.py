"""The largest batch passes through: only what its results and the journal need stays in memory."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest

from airflow_batches.emulator.settings import Settings
from tests.unit.emulator.client import Client, line
from tests.unit.emulator.processes import Program

MB: Final = 1_000_000
LIMIT: Final = Settings().max_body_bytes


class Largest:
    """A create body with `count` requests and of exactly the API's limit in bytes, made while it is sent."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return LIMIT

    def __iter__(self) -> Iterator[bytes]:
        text, left, opening = "x" * (LIMIT // self._count - 200), LIMIT, b'{"requests":['
        for number in range(self._count):
            request = json.dumps(line(f"row-{number}", messages=[{"role": "user", "content": text}])).encode()
            left -= len(opening) + len(request)
            yield opening + request
            opening = b","
        yield b" " * (left - 2) + b"]}"


def anonymous(program: Program) -> int:
    """Return the bytes of the process's memory that are not mapped from a file."""
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    (size,) = [text.split()[1] for text in status.splitlines() if text.startswith("RssAnon:")]
    return int(size) * 1024


@contextmanager
def watched(program: Program) -> Iterator[SimpleNamespace]:
    """Yield an object whose `most` is the highest memory of the process during the block."""
    seen, over = SimpleNamespace(most=0), threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            seen.most = max(seen.most, anonymous(program))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.parametrize(("count", "bound"), [(1_000, 32 * MB), (100_000, 80 * MB)])
def test_a_create_of_256_mb_and_its_results_pass_through(count: int, bound: int) -> None:
    with Program("--answer-chars", str(LIMIT // count)) as program:
        client = Client(program)
        client.list()
        before = anonymous(program)
        with watched(program) as seen:
            batch = client.send(Largest(count)).json()
            assert batch["request_counts"]["succeeded"] == count
            response = client.results(batch["id"], stream=True)
            size = sum(len(part) for part in response.iter_content(MB))
        client.close()
    assert (LIMIT, size > LIMIT) == (256 * MB, True)
    assert before < seen.most < before + bound
