"""No body makes the emulator itself fail: creates and single messages get a 200 or an error of the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batches.emulator import Emulator
from tests.unit.emulator.client import Client

EXAMPLES: Final = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS: Final = st.text(max_size=12)
WORDS: Final = st.sampled_from(
    [
        "adaptive", "any", "assistant", "auto", "base64", "budget_tokens", "cache_control", "claude-haiku-4-5",
        "claude-opus-5", "content", "custom", "custom_id", "data", "effort", "enabled", "ephemeral", "format", "id",
        "image", "input", "input_schema", "items", "json_schema", "max_tokens", "media_type", "messages", "model",
        "name", "object", "output_config", "params", "properties", "requests", "role", "schema", "source",
        "stop_sequences", "system", "text", "thinking", "tool", "tool_choice", "tool_result", "tool_use",
        "tool_use_id", "tools", "ttl", "type", "url", "user",
    ]
)  # fmt: skip
SCALARS: Final = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, WORDS)
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.one_of(WORDS, TEXTS), inner, max_size=5)),
    max_leaves=20,
)
PARAMS: Final = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["claude-haiku-4-5", "claude-opus-5", "claude-sonnet-5-5", "claude-none"]),
        "max_tokens": st.one_of(st.integers(0, 3000), VALUES),
        "messages": st.one_of(
            st.lists(
                st.fixed_dictionaries(
                    {"role": st.sampled_from(["user", "assistant", "system"])},
                    optional={"content": st.one_of(TEXTS, st.lists(VALUES, max_size=3), VALUES)},
                ),
                max_size=4,
            ),
            VALUES,
        ),
    },
    optional=dict.fromkeys(
        ("system", "tools", "tool_choice", "thinking", "output_config", "stop_sequences", "metadata", "cache_control",
         "temperature", "stream"),
        VALUES,
    ),
)  # fmt: skip
BODIES: Final = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {
            "requests": st.lists(
                st.fixed_dictionaries({"custom_id": st.one_of(st.just("a"), st.just("b"), VALUES), "params": PARAMS}),
                max_size=3,
            )
        }
    ),
)
SNIPPETS: Final = st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"\\ud800", b"\xff", b"\x00", b" ", b"\n", b"0", b"-",
     b"e9", b"null", b"tru", b'"requests"', b'"custom_id"', b'"params"', b'{"requests":[', b'"a"', b"NaN",
     b"\xef\xbb\xbf"]
)  # fmt: skip
MESSAGE: Final = b'{"model":"claude-haiku-4-5","max_tokens":9,'
BATCH: Final = b'{"requests":[{"custom_id":"a","params":' + MESSAGE
USER: Final = b'"messages":[{"role":"user","content":'


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Emulator() as emulator:
        client = Client(emulator)
        yield client
        client.close()


def send(client: Client, body: bytes, path: str) -> None:
    url = client.url.removesuffix("/batches") + path
    response = client.session.post(url, data=body, timeout=60)
    assert response.status_code in (200, 400, 404), (response.status_code, response.text, body)
    if response.status_code != 200:
        answer = response.json()
        assert (answer["type"], answer["request_id"]) == ("error", response.headers["request-id"])
    elif path == "/batches":
        read(client, response.json())


def read(client: Client, batch: dict[str, Any]) -> None:
    """Check that the batch has a result for each request."""
    results = client.results(batch["id"])
    assert results.status_code == 200
    assert len([json.loads(line) for line in results.content.split(b"\n")]) == sum(batch["request_counts"].values())


PATHS: Final = pytest.mark.parametrize("path", ["/batches", "", "/count_tokens"], ids=["batch", "message", "count"])


@PATHS
@given(body=st.one_of(BODIES, PARAMS))
@EXAMPLES
def test_any_json_is_answered_or_refused(path: str, body: Any, client: Client) -> None:
    send(client, json.dumps(body).encode(), path)


@PATHS
@given(body=st.lists(SNIPPETS, max_size=30).map(b"".join))
@EXAMPLES
def test_any_bytes_are_refused(path: str, body: bytes, client: Client) -> None:
    send(client, body, path)


@PATHS
@given(body=BODIES, cut=st.integers(0, 200), put=st.lists(SNIPPETS, max_size=3).map(b"".join))
@EXAMPLES
def test_a_damaged_body_is_answered_or_refused(path: str, body: Any, cut: int, put: bytes, client: Client) -> None:
    data = json.dumps(body).encode()
    send(client, data[:cut] + put + data[cut:], path)


@PATHS
@given(
    depth=st.integers(1, 3_000),
    opened=st.sampled_from([b"[", b'{"a":', b'{"type":"tool_result","tool_use_id":"t","content":[']),
    before=st.sampled_from(
        [
            b"",
            b'{"requests":',
            BATCH + b'"messages":',
            BATCH + USER,
            MESSAGE + b'"messages":[],"tools":',
            MESSAGE + USER + b'"x"}],"output_config":{"format":{"type":"json_schema","schema":{"items":',
        ]
    ),
)
@EXAMPLES
def test_any_depth_is_answered_or_refused(path: str, before: bytes, opened: bytes, depth: int, client: Client) -> None:
    body = before + opened * depth + b"1"
    closing = {ord("["): b"]", ord("{"): b"}"}
    send(client, body + b"".join(closing[byte] for byte in reversed(body) if byte in closing), path)
