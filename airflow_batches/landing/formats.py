"""Encode result lines as the bytes of an object: unchanged, compressed, or as a table.

Rules: the suffix decides (`.gz`, `.zst`, `.parquet`), unless a format is named. The same lines in the same order give
the same bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from airflow_batches.landing.errors import LandingRefused

FORMATS: Final = ("jsonl", "parquet")


class Encoder(Protocol):
    """An encoder from whole lines to the bytes of an object, which it may return later."""

    def encode(self, lines: bytes) -> bytes: ...
    def finish(self) -> bytes: ...


class Uncompressed:
    """An encoder that leaves lines unchanged."""

    def encode(self, lines: bytes) -> bytes:
        """Return the lines."""
        return lines

    def finish(self) -> bytes:
        """Return nothing: there is no buffer."""
        return b""


class Compressed:
    """An encoder of a compressor's `compress` and `flush`."""

    def __init__(self, compress: Callable[[bytes], bytes], flush: Callable[[], bytes]) -> None:
        self.encode = compress
        self.finish = flush


def format_of(path: str, named: str | None) -> str:
    """Return the name of a path's format: `jsonl`, `jsonl.gz`, `jsonl.zst` or `parquet`.

    :param path: decides by its suffix.
    :param named: one of `FORMATS`, or None to let the suffix decide; it never decides on compression.
    :raises LandingRefused: the named format is unknown.
    """
    if named not in {None, *FORMATS}:
        raise LandingRefused(f"format must be one of {', '.join(FORMATS)}, not {named!r}")
    name = path.lower()
    if named == "parquet" or (named is None and name.endswith(".parquet")):
        return "parquet"
    return next((f"jsonl{suffix}" for suffix in (".gz", ".zst") if name.endswith(suffix)), "jsonl")


def encoder_for(format_name: str) -> Encoder:
    """Make an encoder.

    :raises LandingRefused: the format's package is not installed.
    """
    return ENCODERS[format_name]()


def _gzip() -> Encoder:
    compressor = zlib.compressobj(wbits=31)  # a gzip header without a timestamp: same lines, same bytes
    return Compressed(compressor.compress, compressor.flush)


def _zstd() -> Encoder:
    try:
        import zstandard
    except ImportError as exc:
        raise LandingRefused("a .zst object needs the package zstandard: pip install 'airflow-batches[zstd]'") from exc
    compressor = zstandard.ZstdCompressor().compressobj()
    return Compressed(compressor.compress, compressor.flush)


def _parquet() -> Encoder:
    try:
        from airflow_batches.landing.parquet import ParquetEncoder
    except ImportError as exc:
        raise LandingRefused("a parquet table needs pyarrow: pip install 'airflow-batches[parquet]'") from exc
    return ParquetEncoder()


ENCODERS: Final[Mapping[str, Callable[[], Encoder]]] = {
    "jsonl": Uncompressed,
    "jsonl.gz": _gzip,
    "jsonl.zst": _zstd,
    "parquet": _parquet,
}
