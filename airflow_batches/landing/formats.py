"""Encode result lines as the bytes of an object: unchanged, compressed, or as a table.

Rules: the suffix decides (`.gz`, `.zst`, `.parquet`), unless a format is named. The same lines in the same order give
the same bytes.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from airflow_batches.landing.errors import LandingRefused
from airflow_batches.landing.location import ANY_VERSION, Location, ObjectVersion
from airflow_batches.landing.manifest import LandedObject
from airflow_batches.landing.writer import create

FORMATS: Final = ("jsonl", "parquet")


class Encoder(Protocol):
    """An encoder from whole lines to the bytes of an object, which it may return later."""

    def encode(self, lines: bytes) -> bytes: ...
    def finish(self) -> bytes: ...


class Verbatim:
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


class Output:
    """One object being written: lines are encoded and counted, stored bytes are hashed."""

    def __init__(self, location: Location, format_name: str, encoder: Encoder) -> None:
        self.location = location
        self._format = format_name
        self._encoder = encoder
        self._hash = hashlib.sha256()
        self._lines = 0
        self._bytes = 0
        self._file = create(location)

    def write(self, lines: bytes, count: int) -> None:
        """Append `count` lines."""
        self._lines += count
        self._put(self._encoder.encode(lines))

    def finish(self) -> LandedObject:
        """Write what the encoder still holds.

        Then the object is stored in full and not yet visible.
        """
        self._put(self._encoder.finish())
        self._file.finish()
        return LandedObject(
            uri=self.location.uri,
            format=self._format,
            lines=self._lines,
            bytes=self._bytes,
            sha256=self._hash.hexdigest(),
        )

    def commit(self, replaces: ObjectVersion | None = ANY_VERSION) -> ObjectVersion:
        """Publish the object, if its name still has the version to replace."""
        return self._file.commit(replaces)

    @property
    def published(self) -> ObjectVersion | None:
        """The version that was published, None before that."""
        return self._file.published

    def discard(self) -> None:
        """Remove what was written, unless it has been published."""
        if not self.published:
            self._file.discard()

    def _put(self, data: bytes) -> None:
        if data:
            self._hash.update(data)
            self._bytes += len(data)
            self._file.write(data)


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
    "jsonl": Verbatim,
    "jsonl.gz": _gzip,
    "jsonl.zst": _zstd,
    "parquet": _parquet,
}
