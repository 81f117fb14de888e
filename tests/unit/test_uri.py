"""A place as a user gives it becomes one URI, and is shown without secrets."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from airflow_batches._uri import conn_id_for, is_path, path_text, redact_uri, to_uri
from airflow_batches.api import InvalidRequest


@pytest.mark.parametrize(
    ("place", "uri"),
    [
        ("s3://bucket/key", "s3://bucket/key"),
        ("s3://conn@bucket/a?b#c", "s3://conn@bucket/a?b#c"),
        ("file:///data/x", "file:///data/x"),
        ("file:///data/a%20b?c#d", "file:///data/a%20b?c#d"),
        ("file://localhost/data/x", "file:///data/x"),
        ("local:///data/x", "file:///data/x"),
        (Path("/data/x"), "file:///data/x"),
        (PurePosixPath("/data/a b"), "file:///data/a b"),
        (ObjectStoragePath("file:///data/x"), "file:///data/x"),
        (ObjectStoragePath("/data/x"), "file:///data/x"),
    ],
    ids=repr,
)
def test_becomes(place: Any, uri: str) -> None:
    assert to_uri(place) == uri


@pytest.mark.parametrize(
    ("place", "advice"),
    [
        ("/tmp/x", "write file:///tmp/x or"),
        ("x.jsonl", "write file:///folder/x.jsonl or"),
        ("./data/x", "write file:///folder/./data/x or"),
        (Path("data/x"), "write file:///folder/data/x or"),
        ("file:/tmp/x", "write file:///tmp/x or"),
        ("file:x", "write file:///folder/x or"),
        ("file://", "write file:///folder/name or"),
        ("file://data/x", "write file:///data/x$"),
        ("file://x", "write file:///x$"),
        ("s3:/bucket/key", "write s3://bucket/key or"),
        ("", "write file:///folder/name or"),
        (None, "write file:///folder/name or"),
        (b"s3://bucket/key", "write file:///folder/name or"),
    ],
    ids=repr,
)
def test_is_refused_with_the_right_text(place: Any, advice: str) -> None:
    with pytest.raises(InvalidRequest, match=advice):
        to_uri(place)


def test_an_object_storage_path_keeps_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "aws"}))
    assert to_uri(ObjectStoragePath("s3://bucket/key", conn_id="lake")) == "s3://lake@bucket/key"
    assert conn_id_for("s3://lake@bucket/key", "other") is None
    assert conn_id_for("s3://bucket/a@b", "other") == "other"


def test_a_path_object_is_text_before_airflow_renders_it() -> None:
    assert path_text(Path("/data/{{ ds }}.jsonl")) == "file:///data/{{ ds }}.jsonl"
    assert path_text(Path("data/{{ ds }}.jsonl")) == "data/{{ ds }}.jsonl"
    for other in ("s3://bucket/key", None, [1], {"uri": "x"}, object()):
        assert path_text(other) is other
        assert not is_path(other)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://conn@bucket/a?b.jsonl", "s3://bucket/a?b.jsonl"),
        ("s3://key:secret@bucket/x", "s3://bucket/x"),
        ("https://user:secret@host/x?signature=abc#part", "https://host/x"),
        ("https://token@host/x", "https://host/x"),
        ("abfs://container@account.dfs.core.windows.net/x?sas=abc", "abfs://container@account.dfs.core.windows.net/x"),
        ("memory://user:secret@bucket/out?token=secret", "memory://bucket/out"),
        ("file:///tmp/a#b?c@d:e", "file:///tmp/a#b?c@d:e"),
    ],
)
def test_is_shown_without_what_may_be_secret(uri: str, shown: str) -> None:
    assert redact_uri(uri) == shown
