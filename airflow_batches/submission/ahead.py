"""Blocks made in a thread, one ahead of their reader: reading, scanning and hashing overlap, as far as each waits or
lets go of the interpreter. Two blocks are held, not more.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor


def ahead(blocks: Iterator[bytes]) -> Generator[bytes, None, None]:
    """The same blocks. What they raise is raised here; they are read no further when the reader stops."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as thread:
        coming = thread.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = thread.submit(next, blocks, None)
            yield block
