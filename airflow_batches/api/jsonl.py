"""Split a byte stream into lines.

Rules: only the byte \\n ends a line. JSON text may contain U+2028, U+2029 and U+0085 unescaped, where `str.splitlines`
would break a line in two. A \\r before the \\n is dropped, blank lines are skipped, a last line without \\n is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def split_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a byte stream that arrives in blocks of any size.

    Holds one block and one line.
    """
    pending: list[bytes] = []
    for block in blocks:
        *complete, rest = block.split(b"\n")
        if complete:
            pending.append(complete[0])
            complete[0] = b"".join(pending)
            pending.clear()
            yield from _clean(complete)
        if rest:
            pending.append(rest)
    yield from _clean([b"".join(pending)])


def _clean(lines: list[bytes]) -> Iterator[bytes]:
    for line in lines:
        clean = line.removesuffix(b"\r")
        if clean.strip():
            yield clean
