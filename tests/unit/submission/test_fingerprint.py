"""What counts as the same requests: a retry with them pays nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.submission.canonical import canonical
from airflow_batches.submission.plain import plain_requests
from airflow_batches.submission.scan import scan
from airflow_batches.submission.source import ListSource, open_source
from tests.samples import some_requests

TOOL = {"name": "t", "description": "d", "input_schema": {"type": "object", "properties": {}}}
REQUESTS = [
    *some_requests(2, prefix="plain"),
    *some_requests(2, prefix="member", metadata={"user_id": "ü", "b": 1}, tools=[TOOL], stop_sequences=["a"]),
    *some_requests(1, prefix="block", system=[{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]),
    *some_requests(1, prefix="unknown", context_management={"edits": [{"type": "x", "keep": 1}]}),
]


def fingerprint(requests: Any, model: str | None = None) -> str:
    with open_source(requests) as source:
        return scan(source, model=model, preflight="off", version="2026-10-21").sent.fingerprint


def turned(value: Any) -> Any:
    """The same value with the members of every object in another order."""
    if isinstance(value, dict):
        return {name: turned(member) for name, member in reversed(value.items())}
    return [turned(item) for item in value] if isinstance(value, list) else value


OTHERWISE: dict[str, Callable[[list[Any]], str]] = {
    "members in another order": lambda requests: "".join(json.dumps(turned(each)) + "\n" for each in requests),
    "rows in another order": lambda requests: "".join(json.dumps(each) + "\n" for each in reversed(requests)),
    "blanks": lambda requests: "".join(json.dumps(each, separators=(" ,  ", " :\t")) + "\n" for each in requests),
    "no escapes": lambda requests: "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in requests),
}


@pytest.mark.parametrize("way", OTHERWISE)
def test_a_list_and_the_json_it_was_written_to_are_the_same_requests(tmp_path: Path, way: str) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(OTHERWISE[way](REQUESTS))
    assert fingerprint(str(path)) == fingerprint(REQUESTS)


@pytest.mark.parametrize("number", range(len(REQUESTS)))
@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": 11},
        {"messages": [{"role": "user", "content": "Goodbye"}]},
        {"system": "Be brief"},
        {"model": "claude-opus-4-6"},
        {"system": [{"type": "text", "text": "x"}]},
        {"metadata": {"user_id": "u"}},
    ],
)
def test_any_change_of_any_request_is_told(number: int, change: dict[str, Any]) -> None:
    changed = [*REQUESTS]
    changed[number] = {**REQUESTS[number], "params": REQUESTS[number]["params"] | change}
    assert fingerprint(changed) != fingerprint(REQUESTS)


def test_the_default_model_counts_as_if_the_request_named_it() -> None:
    bare = [
        {**request, "params": {name: value for name, value in request["params"].items() if name != "model"}}
        for request in REQUESTS
    ]
    assert fingerprint(bare, model="claude-haiku-4-5") == fingerprint(REQUESTS)
    assert fingerprint(bare, model="claude-opus-4-6") != fingerprint(REQUESTS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {"max_tokens": st.integers(1, 99), "messages": st.just([{"role": "user", "content": "é\n\u2028"}])},
        optional={"system": st.text(min_size=1), "metadata": JSON, "tools": JSON, "model": st.just("m")},
    )
)
def test_the_fast_way_gives_the_same_canonical_json(params: dict[str, Any]) -> None:
    (data,) = ListSource([{"params": params, "custom_id": "a"}]).blocks()
    line = data.rstrip(b"\n")
    found = plain_requests(line, [line], "m")
    if found is not None:
        assert found[0].canonical == canonical(found[0].data)
