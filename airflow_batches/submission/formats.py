"""Recognize sources that are not JSONL from their first bytes, before any line is read.

| begins with                                        | reported as                                   |
|----------------------------------------------------|-----------------------------------------------|
| the magic bytes of a compression or a table format | gzip, zstd, bzip2, xz, ZIP; Parquet, Avro, … |
| the byte order mark of UTF-16 or -32, zero bytes   | UTF-16, UTF-32                                |
| `{"requests": [`                                   | the body of a create call                     |
| `[`                                                | a JSON array                                  |
| `{` and a line that ends within the object         | pretty-printed JSON                           |
| `<`                                                | HTML or XML                                   |
| two lines that are not objects, with delimiters    | CSV                                           |
| two lines that are not objects                     | not JSON                                      |

The byte order mark of UTF-8 is dropped (`lines`). A single wrong line is not a format; it is reported as a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final

from airflow_batches.submission.errors import PreflightError

HEAD_BYTES: Final = 1 << 16
"""Bytes. Chosen: two lines of most sources fit, and it is a small part of one read."""
UTF8_MARK: Final = b"\xef\xbb\xbf"

_COMPRESSED: Final[Mapping[bytes, tuple[str, str]]] = {
    b"\x1f\x8b": ("gzip", ".gz"),
    b"\x28\xb5\x2f\xfd": ("zstd", ".zst"),
}
"""Magic bytes of the supported compressions, with the suffix that a name must have."""
_FOREIGN: Final[Mapping[bytes, str]] = {
    b"PK\x03\x04": "a ZIP archive",
    b"BZh": "bzip2 data",
    b"\xfd7zXZ\x00": "xz data",
    b"PAR1": "a Parquet file",
    b"Obj\x01": "an Avro file",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "an SQLite database",
}
_TEXT_MARKS: Final[Mapping[bytes, str]] = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
"""Byte order marks, the longer ones first: UTF-32's begins with UTF-16's."""
_CREATE_BODY: Final = re.compile(rb'\{\s*"requests"\s*:\s*\[')
_DELIMITERS: Final = (b",", b";", b"\t", b"|")


def checked(blocks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Yield the same blocks.

    :param blocks: a source's bytes.
    :param name: the source, for the message.
    :raises PreflightError: before the first block, when they are not JSONL.
    """
    blocks = iter(blocks)
    head: list[bytes] = []
    size = 0
    for block in blocks:
        head.append(block)
        size += len(block)
        if size >= HEAD_BYTES:
            break
    if reason := foreign_format(b"".join(head)[:HEAD_BYTES]):
        raise PreflightError(f"{name} {reason}")
    yield from chain(head, blocks)


def foreign_format(head: bytes) -> str | None:
    """Say which format the first bytes of a source have, and what to do.

    None if it may be JSONL.
    """
    return _binary(head) or _encoded(head) or _text(head.removeprefix(UTF8_MARK).lstrip())


def wrong_suffix(head: bytes, suffix: str) -> str | None:
    """Say why the first bytes of an object do not match its suffix.

    None if they do, or if it is empty.
    """
    wanted = {end: magic for magic, (_, end) in _COMPRESSED.items()}
    magic = wanted[suffix]
    if not head or head.startswith(magic):
        return None
    found = next((f"; it is {kind}" for other, (kind, _) in _COMPRESSED.items() if head.startswith(other)), "")
    return f"does not hold {_COMPRESSED[magic][0]} data, although its name ends in {suffix}{found}; rename it"


def _binary(head: bytes) -> str | None:
    for magic, (kind, suffix) in _COMPRESSED.items():
        if head.startswith(magic):
            return f"holds {kind} data where JSONL is expected: give its name the suffix {suffix}, or decompress it"
    for magic, kind in _FOREIGN.items():
        if head.startswith(magic):
            return f"is {kind}; write JSONL, one request per line, or give a callable that yields requests"
    return None


def _encoded(head: bytes) -> str | None:
    mark = next((name for mark, name in _TEXT_MARKS.items() if head.startswith(mark)), None)
    if mark is None and b"\x00" in head[:4]:
        # In UTF-16, every second byte of ASCII text is zero; in UTF-32, three of four.
        mark = "UTF-32" if head[:4].count(b"\x00") > 2 else "UTF-16"
    return f"is {mark} text; write UTF-8: iconv -f {mark} -t UTF-8 …" if mark else None


def _text(head: bytes) -> str | None:
    if _CREATE_BODY.match(head):
        return "is the body of a create call, one JSON object; write one request per line: jq -c '.requests[]' …"
    if head.startswith(b"["):
        return "is a JSON array, not JSONL; write one request per line: jq -c '.[]' …"
    if head.startswith(b"<"):
        return "is HTML or XML, perhaps the page of a login or an error; JSONL is expected"
    lines = [line.strip() for line in head.split(b"\n", 3)[:3] if line.strip()]
    if head.startswith(b"{"):
        broken = len(lines) > 1 and lines[0].endswith((b"{", b"[", b","))
        return "is pretty-printed JSON; write one request per line: jq -c . …" if broken else None
    return _no_objects(lines[:2])


def _no_objects(lines: list[bytes]) -> str | None:
    """Report two lines that are not objects. One alone may be a single wrong line."""
    if len(lines) < 2 or lines[1].startswith(b"{"):
        return None
    if any(delimiter in lines[0] and delimiter in lines[1] for delimiter in _DELIMITERS):
        return "looks like CSV; write JSONL, one request per line, or give a callable that yields requests"
    return (
        'is not JSONL: its lines are not JSON objects; write one request per line: {"custom_id": …, "params": …}, or '
        'for a job {"prompt": "the text"}'
    )
