"""Results as a Parquet table."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api import BatchesClient, DecodeError
from airflow_batches.emulator import Emulator
from airflow_batches.landing import Location, land
from airflow_batches.landing.lines import decode
from airflow_batches.landing.output import Output
from airflow_batches.landing.parquet import ROW_GROUP_BYTES, ParquetEncoder
from tests.unit.landing.support import ended_batch, lines_of_the_api


def rows_of(*lines: bytes) -> list[dict[str, Any]]:
    encoder = ParquetEncoder()
    data = encoder.encode(b"".join(line + b"\n" for line in lines)) + encoder.finish()
    return list(pq.read_table(io.BytesIO(data)).to_pylist())


def row(line: bytes) -> dict[str, Any]:
    (found,) = rows_of(line)
    return found


def test_a_landed_table_holds_every_line(emulator: Emulator, client: BatchesClient, tmp_path: Path) -> None:
    emulator.configure(errored_share=0.3)
    batch_id = ended_batch(client, 50)
    manifest = land(client, batch_id, f"file://{tmp_path}/out.parquet")
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert sorted(line["json"].encode() for line in table) == lines_of_the_api(client, batch_id)
    for line in table:
        value = json.loads(line["json"])
        assert (line["custom_id"], line["type"]) == (value["custom_id"], value["result"]["type"])
        if line["type"] == "succeeded":
            message = value["result"]["message"]
            assert line["text"] == message["content"][0]["text"]
            assert (line["model"], line["stop_reason"]) == (message["model"], message["stop_reason"])
            assert line["output_tokens"] == message["usage"]["output_tokens"]
            assert line["error_type"] is None
        else:
            assert (line["error_type"], line["text"]) == ("api_error", None)
    assert (manifest.results.format, manifest.results.lines) == ("parquet", 50)


def test_failures_may_be_a_table_while_results_are_lines(
    emulator: Emulator, client: BatchesClient, tmp_path: Path
) -> None:
    emulator.configure(errored_share=0.5)
    manifest = land(
        client, ended_batch(client, 40), f"file://{tmp_path}/out.jsonl", failed_path=f"file://{tmp_path}/failed.parquet"
    )
    failed = pq.read_table(tmp_path / "failed.parquet")
    assert failed.num_rows == manifest.counts["errored"] > 0


def test_text_blocks_are_joined_and_other_blocks_left_out() -> None:
    content = [{"type": "text", "text": "one "}, {"type": "tool_use", "text": "no"}, {"type": "text", "text": "two"}]
    line = {"custom_id": "a", "result": {"type": "succeeded", "message": {"content": content}}}
    (found,) = rows_of(json.dumps(line).encode())
    assert found["text"] == "one two"


@pytest.mark.parametrize(
    "line",
    [
        b'{"custom_id":"a","result":{"type":"canceled"}}',
        b'{"custom_id":"a","result":{"type":"from_the_future","message":[1],"error":"x"}}',
        b'{"custom_id":"a","result":{"type":"succeeded","message":{"content":"x","model":5,"usage":{"input_tokens":"x"}}}}',
        b'{"custom_id":"a","result":{"type":"succeeded","message":{"usage":{"input_tokens":99999999999999999999}}}}',
    ],
)
def test_values_of_an_unknown_shape_are_null_and_remain_in_the_json_column(line: bytes) -> None:
    (found,) = rows_of(line)
    assert found["json"] == line.decode()
    known = {"custom_id", "type", "json"}
    assert all(value is None for name, value in found.items() if name not in known)


def test_only_strings_become_text() -> None:
    blocks = [{"type": "text", "text": text} for text in (None, 5, {"a": 1}, "yes")]
    line = json.dumps({"custom_id": "a", "result": {"type": "succeeded", "message": {"content": blocks}}}).encode()
    assert row(line)["text"] == "yes"


def test_a_line_that_python_cannot_parse_is_still_a_row() -> None:
    line = b'{"custom_id":"a","result":{"type":"succeeded","message":{"x":' + b"9" * 5_000 + b"}}}"
    columns = row(line)
    assert (columns["custom_id"], columns["type"], columns["text"]) == ("a", "succeeded", None)
    assert columns["json"] == line.decode()


def test_text_that_is_not_utf8_is_replaced() -> None:
    lone = rb'{"custom_id":"a","result":{"type":"succeeded","message":{"content":[{"type":"text","text":"\ud800!"}]}}}'
    (found,) = rows_of(lone)
    assert found["text"] == "?!"
    assert row(b'{"custom_id":"a","result":{"type":"canceled"},"more":"\xff"}')["json"].count("�") == 1


def test_two_results_on_one_line_are_an_error() -> None:
    with pytest.raises(DecodeError, match="cannot be read: Extra data"):
        rows_of(b'{"custom_id":"a","result":{"type":"expired"}}{"custom_id":"b","result":{"type":"expired"}}')


def test_a_large_table_is_written_in_row_groups(tmp_path: Path) -> None:
    line = json.dumps({"custom_id": "a", "result": {"type": "canceled", "filler": "x" * 10_000}}).encode() + b"\n"
    output = Output(Location.parse(f"file://{tmp_path}/out.parquet"), "parquet", ParquetEncoder())
    for _ in range(3):
        output.write(line * (ROW_GROUP_BYTES // len(line) + 1), ROW_GROUP_BYTES // len(line) + 1)
    output.finish()
    output.commit()
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups == 3


def test_an_empty_table_has_its_columns() -> None:
    table = pq.read_table(io.BytesIO(ParquetEncoder().finish()))
    assert (table.num_rows, table.column_names[:2]) == (0, ["custom_id", "type"])


lines_and_blanks = st.lists(
    st.sampled_from(
        [
            b'{"custom_id":"a","result":{"type":"expired"}}',
            b'{"custom_id":"b","result":{"type":"canceled"},"more":"\xc3\xa9\xff"}',
            b'{"custom_id":"c","result":{"type":"canceled"},"more":NaN}',
            '{"custom_id":"é","result":{"type":"canceled"}}'.encode(),
            b' {"custom_id":"d","result":{"type":"expired"}}\r',
            b"",
            b" \r",
        ]
    )
)


@given(lines_and_blanks, st.data())
def test_rows_do_not_depend_on_how_lines_arrive(lines: list[bytes], data: st.DataObject) -> None:
    encoder, at, table = ParquetEncoder(), 0, b""
    while at < len(lines):
        end = data.draw(st.integers(at + 1, len(lines)))
        table += encoder.encode(b"".join(line + b"\n" for line in lines[at:end]))
        at = end
    table += encoder.finish()
    rows = pq.read_table(io.BytesIO(table)).to_pylist()
    kept = [line for line in lines if line.strip()]
    assert [row["json"] for row in rows] == [line.decode(errors="replace") for line in kept]
    assert [row["custom_id"] for row in rows] == [decode(line).custom_id for line in kept]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "lines",
    [
        b'{"custom_id":"a","result":{"type":"expired"}}{"custom_id":"b","result":{"type":"expired"}}\n\n',
        b'\n{"custom_id":"a","result":{"type":"expired"}}{"custom_id":"b","result":{"type":"expired"}}\n',
        b'{"custom_id":"a","result":\n{"type":"expired"}}{"custom_id":"b","result":{"type":"expired"}}\n',
    ],
)
def test_two_results_on_one_line_are_an_error_even_when_the_count_is_right(lines: bytes) -> None:
    with pytest.raises(DecodeError, match="cannot be read"):
        ParquetEncoder().encode(lines)


def test_a_last_line_without_a_newline_is_a_row() -> None:
    encoder = ParquetEncoder()
    table = encoder.encode(b'{"custom_id":"a","result":{"type":"expired"}}') + encoder.finish()
    assert pq.read_table(io.BytesIO(table)).column("custom_id").to_pylist() == ["a"]
