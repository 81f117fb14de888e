"""Request bodies: small ones in memory, large ones in a mapped temporary file.

A create body may have 256 MB. Mapped pages belong to the page cache, so the process itself grows only by what is
stored of each line.
"""

from __future__ import annotations

import mmap
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Final

from airflow_batches.emulator.errors import EdgeTooLarge, ErrorAnswer
from airflow_batches.emulator.wire import Body

_IN_MEMORY: Final = 1_000_000
"""Bytes of a body that stays in memory; chosen: most bodies of tests are smaller, and need no file."""
_AT_ONCE: Final = 1 << 20
"""Bytes decoded at once, so that a small body that decodes to gigabytes costs no memory; chosen."""
_ZLIB: Final = 15
"""Bits of the window; the default of zlib."""
_GZIP: Final = _ZLIB + 16
"""The same with gzip's header (documented in Python's `zlib.decompressobj`)."""


def spool(body: Body, encoding: str, limit: int) -> bytes | mmap.mmap:
    """Read and decode the body.

    Raises EdgeTooLarge over `limit` bytes, ErrorAnswer for an unknown or broken encoding.
    """
    blocks = _limited(body.blocks(), limit, EdgeTooLarge())
    if encoding not in ("", "identity"):
        blocks = _decoded(blocks, encoding, limit)
    return _gathered(blocks)


def _gathered(blocks: Iterator[bytes]) -> bytes | mmap.mmap:
    start = bytearray()
    for block in blocks:
        start += block
        if len(start) > _IN_MEMORY:
            with tempfile.TemporaryFile() as file:
                return _mapped(file, start, blocks)
    return bytes(start)


def _mapped(file: IO[bytes], start: bytearray, rest: Iterable[bytes]) -> mmap.mmap:
    file.write(start)
    for block in rest:
        file.write(block)
    file.flush()
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _limited(blocks: Iterable[bytes], limit: int, error: Exception) -> Iterator[bytes]:
    for block in blocks:
        limit -= len(block)
        if limit < 0:
            raise error
        yield block


def _decoded(blocks: Iterable[bytes], encoding: str, limit: int) -> Iterator[bytes]:
    """Decode the blocks.

    The error codes are those of the official SDK's table; the messages are not published.
    """
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ErrorAnswer(
            400,
            f"Unsupported content encoding: {encoding}",
            details={"error_code": "request_body_encoding_unsupported"},
        )
    too_large = ErrorAnswer(
        413,
        "Request exceeds the maximum size after decoding",
        details={"error_code": "request_body_too_large_after_decoding"},
    )
    inflated = _inflated(blocks, _ZLIB if encoding == "deflate" else _GZIP)
    yield from _limited(inflated, limit, too_large)


def _inflated(blocks: Iterable[bytes], wbits: int) -> Iterator[bytes]:
    """Decode zlib or gzip; a gzip file may consist of several members (RFC 1952, 2.2)."""
    inflate = zlib.decompressobj(wbits)
    try:
        for block in blocks:
            while block:
                if inflate.eof:
                    if wbits != _GZIP:
                        raise _INVALID
                    inflate = zlib.decompressobj(wbits)
                yield inflate.decompress(block, _AT_ONCE)
                block = inflate.unconsumed_tail or inflate.unused_data
        yield inflate.flush()
    except zlib.error:
        raise _INVALID from None
    if not inflate.eof:
        raise _INVALID


_INVALID: Final = ErrorAnswer(
    400,
    "The request body could not be decoded",
    details={"error_code": "request_body_encoding_invalid"},
)
