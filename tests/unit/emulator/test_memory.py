"""A batch of any size passes through: what stays in memory is what its results need."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.unit.emulator.client import Client, line
from tests.unit.emulator.processes import Program

MB = 1_000_000


def anonymous(program: Program) -> int:
    """Bytes of memory of the process that no file stands behind."""
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    (size,) = [text.split()[1] for text in status.splitlines() if text.startswith("RssAnon:")]
    return int(size) * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_a_batch_of_60_mb_costs_a_fraction_of_it_to_take_and_to_answer() -> None:
    text = "x" * 60_000
    body = json.dumps(
        {"requests": [line(f"row-{n}", messages=[{"role": "user", "content": text}]) for n in range(1000)]}
    )
    with Program("--answer-chars", "60000") as program:
        client = Client(program)
        client.list()
        before = anonymous(program)
        batch = client.send(body.encode()).json()
        assert batch["request_counts"]["succeeded"] == 1000
        response = client.results(batch["id"], stream=True)
        size = sum(len(part) for part in response.iter_content(MB))
        assert size > 60 * MB
        assert anonymous(program) - before < 20 * MB
        client.close()
