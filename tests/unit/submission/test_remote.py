"""An object of many parts is read as one file, from anywhere on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_batches.submission.remote import PART_BYTES, open_object
from tests.servers import s3_server

DATA = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(4 * PART_BYTES // 32 - 100))


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[Any, Path]]:
    import s3fs  # type: ignore[import-untyped]

    with s3_server() as server:
        folder = server.make_bucket("data")
        yield s3fs.S3FileSystem(skip_instance_cache=True, **server.storage_options), folder


@pytest.mark.parametrize("start", [0, 1, PART_BYTES, len(DATA) - 1, len(DATA)])
def test_an_object_of_many_parts_is_read_from_anywhere_on(bucket: tuple[Any, Path], start: int) -> None:
    fs, folder = bucket
    (folder / "many").write_bytes(DATA)
    with open_object(fs, "data/many") as stream:
        stream.seek(start)
        blocks = [*iter(lambda: stream.read(1_000_003), b"")]
    assert b"".join(blocks) == DATA[start:]


def test_an_object_that_is_not_there_is_not_opened(bucket: tuple[Any, Path]) -> None:
    fs, _ = bucket
    with pytest.raises(FileNotFoundError):
        open_object(fs, "data/missing")
