"""Read blocks in a thread, one ahead of the consumer.

Reading overlaps with scanning and hashing where one of them waits or releases the GIL. At most two blocks are held.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor


def ahead(blocks: Iterator[bytes]) -> Generator[bytes, None, None]:
    """Yield the same blocks and raise the same errors. Reading stops when the consumer stops."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as thread:
        coming = thread.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = thread.submit(next, blocks, None)
            yield block
