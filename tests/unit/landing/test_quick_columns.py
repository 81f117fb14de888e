"""Blocks of result lines, decoded with Arrow's reader."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api import DecodeError
from airflow_batches.emulator import Emulator
from airflow_batches.landing.columns import result_columns
from airflow_batches.landing.quick_columns import block_columns, lines_of
from tests.unit.landing.support import client_of, ended_batch
from tests.unit.landing.test_columns import result_lines

USUAL: Final = b'{"custom_id":"a","result":{"type":"succeeded","message":{"content":[{"type":"text","text":"yes"}]}}}'

TEXT: Final = {"type": "text", "text": "two é"}


def block_of(*lines: bytes) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def line_of(**result: Any) -> bytes:
    return json.dumps({"custom_id": "a", "result": result}).encode()


@given(st.lists(result_lines(), min_size=1, max_size=4))
def test_a_block_gives_the_columns_of_its_lines(lines: list[bytes]) -> None:
    assert block_columns(block_of(*lines)).equals(result_columns(lines))


def test_lines_of_the_api_give_the_columns_of_the_lines(emulator: Emulator) -> None:
    emulator.configure(errored_share=0.3)
    with client_of(emulator) as client, client.open_results(ended_batch(client, 300)) as response:
        block = response.content
    columns = block_columns(block)
    assert columns.equals(result_columns(lines_of(block)))
    assert (columns.num_rows, columns["text"].null_count) == (300, columns["error_type"].is_valid().sum().as_py())


@pytest.mark.parametrize(
    "line",
    [
        line_of(type="errored", error={"type": "error", "error": {}, "message": "flat"}),
        line_of(type="errored", error={"type": "invalid_request_error", "message": "flat"}),
        line_of(type="errored", error={"type": "error", "error": {"type": "api_error", "message": "nested"}}),
        line_of(type="succeeded", message={"usage": {"input_tokens": -(2**63)}}),
        line_of(type="succeeded", message={"usage": {"input_tokens": 5.0}}),
        line_of(type="succeeded", message={"content": []}),
        line_of(type="succeeded", message={"content": [TEXT, {"type": "tool_use", "text": "no"}, TEXT]}),
        line_of(type="succeeded", message={"content": [TEXT, {"type": "thinking", "thinking": "no"}, TEXT, TEXT]}),
        line_of(type="succeeded", message={"content": [{"type": "text", "text": "\udc00"}]}),
        line_of(type="succeeded", message={"content": [{"type": "text"}, {"text": "no type"}, None]}),
        b'{"custom_id":"a","custom_id":"b","result":{"type":"expired","type":"canceled"}}',
        b'{"custom_id":"a\xff","result":{"type":"expired"}}',
    ],
)
def test_an_odd_line_gives_the_same_columns_beside_usual_lines(line: bytes) -> None:
    lines = [USUAL, line, USUAL]
    assert block_columns(block_of(*lines)).equals(result_columns(lines))


def test_blank_lines_are_skipped() -> None:
    assert block_columns(block_of(b"", USUAL, b" \r", USUAL)).num_rows == 2
    assert block_columns(b"\n").num_rows == 0


@pytest.mark.parametrize(
    "line",
    [
        USUAL + USUAL,
        b'{"custom_id":"a","result":{"type":"expired","of":{}\n}}' + USUAL,  # as many lines as results
        USUAL[:-3],
        b"[]",
        b'{"custom_id":"a"}',
        b'{"result":{"type":"expired"}}',
    ],
)
def test_a_line_that_is_not_one_result_is_an_error(line: bytes) -> None:
    with pytest.raises(DecodeError):
        block_columns(block_of(USUAL, line))


def test_a_line_longer_than_a_chunk_is_read() -> None:
    long = line_of(type="succeeded", message={"content": [{"type": "text", "text": "x" * 5_000_000}]})
    assert block_columns(block_of(USUAL, long, USUAL))["text"].to_pylist()[1] == "x" * 5_000_000
