"""Put requests into the create's body, `{"requests":[…]}`, block by block.

The scan hashes the body with the same functions with which the upload sends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

HEAD: Final = b'{"requests":['
TAIL: Final = b"]}"
ENVELOPE_BYTES: Final = len(HEAD + TAIL)


def body_blocks(runs: Iterable[Sequence[bytes]]) -> Iterator[bytes]:
    """Yield the body of these requests: one block for each run of them, and the end.

    :param runs: lists of requests, each request as JSON.
    """
    lead = HEAD
    for run in runs:
        if run:
            yield lead + b",".join(run)
            lead = b","
    yield (HEAD if lead is HEAD else b"") + TAIL


def plain_blocks(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same body from JSONL whose lines are sent unchanged, without splitting it."""
    held = HEAD
    for block in blocks:
        yield held
        held = block.replace(b"\n", b",")
    yield held.removesuffix(b",") + TAIL
