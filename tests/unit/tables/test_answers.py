"""Answers that are kept by the number of their request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api import DecodeError
from airflow_batches.tables.answers import BLOCK_BYTES, AnswerSpool
from airflow_batches.tables.block_file import RESIDENT_BYTES, BlockFile
from airflow_batches.tables.errors import AnswersMissing
from tests.unit.tables.lines import JOB, Landed, errored, line, succeeded


def numbers(*asked: int | None) -> pa.Int64Array:
    return pa.array(asked, pa.int64())


def taken(spool: AnswerSpool, *asked: int | None) -> list[Any]:
    """The answers of these requests, or their status where there is none."""
    return [row["answer"] or row["_status"] for row in spool.take(numbers(*asked)).to_pylist()]


@pytest.fixture
def spool() -> Iterator[AnswerSpool]:
    with AnswerSpool(5) as made:
        yield made


def test_answers_are_taken_in_any_order_and_as_often_as_they_are_needed(spool: AnswerSpool) -> None:
    spool.add([3, 1], [succeeded(3, "three"), succeeded(1, "one")])
    spool.add([2], [succeeded(2, "two")])
    assert taken(spool, 1, 2, 3, 1, 1) == ["one", "two", "three", "one", "one"]


def test_a_row_without_a_request_is_skipped(spool: AnswerSpool) -> None:
    spool.add([1], [succeeded(1, "one")])
    assert taken(spool, None, 1, None) == ["skipped", "one", "skipped"]
    (skipped,) = spool.take(numbers(None)).to_pylist()
    assert {name for name, value in skipped.items() if value is not None} == {"_status"}


def test_a_later_answer_replaces_an_earlier_one(spool: AnswerSpool) -> None:
    spool.add([1, 2], [errored(1), succeeded(2, "two")])
    assert taken(spool, 1, 2) == ["errored", "two"]
    spool.add([1], [succeeded(1, "one at last")])
    assert taken(spool, 2, 1) == ["two", "one at last"]


def test_an_outcome_has_its_columns(spool: AnswerSpool) -> None:
    spool.add([1, 2, 3, 4], [succeeded(1, "x"), errored(2), line(3, {"type": "expired"}), line(4, {"type": "new"})])
    rows = spool.take(numbers(1, 2, 3, 4)).to_pylist()
    assert rows[0] == {
        "answer": "x", "_status": "succeeded", "_error": None, "_stop_reason": "end_turn",
        "_model": "claude-haiku-4-5", "_input_tokens": 1, "_output_tokens": 1,
        "_cache_creation_input_tokens": None, "_cache_read_input_tokens": None,
    }  # fmt: skip
    assert rows[1]["_error"] == "overloaded_error: Overloaded"
    assert [row["_status"] for row in rows] == ["succeeded", "errored", "expired", "new"]


def test_landed_objects_name_the_requests_by_their_custom_ids(spool: AnswerSpool) -> None:
    spool.add_landed(Landed([succeeded(2, "two"), errored(1)]), JOB)
    spool.add_landed(Landed([]), JOB)
    spool.add_landed(Landed([succeeded(1, "one")]), JOB)
    assert taken(spool, 1, 2) == ["one", "two"]


def test_large_landed_objects_keep_the_order_of_their_lines() -> None:
    text = "x" * (BLOCK_BYTES // 10)
    lines = [succeeded(number % 20 + 1, f"{number} {text}") for number in range(50)]
    with AnswerSpool(20) as spool:
        spool.add_landed(Landed(lines), JOB)
        last = [answer.split()[0] for answer in taken(spool, *range(1, 21))]
    assert last == [str(number) for number in [*range(40, 50), *range(30, 40)]]


@pytest.mark.parametrize("place", [0, 25, 49])
def test_a_broken_line_anywhere_in_a_large_landed_object_is_an_error(place: int) -> None:
    lines = [succeeded(1, "x" * (BLOCK_BYTES // 10))] * 50
    lines[place] = b'{"custom_id":"a"}'
    with AnswerSpool(1) as spool, pytest.raises(DecodeError):
        spool.add_landed(Landed(lines), JOB)


@pytest.mark.parametrize("job", ["job-2", "job", "job-1-"])
def test_lines_of_another_job_are_an_error(spool: AnswerSpool, job: str) -> None:
    with pytest.raises(AnswersMissing, match=f"not of job {job}"):
        spool.add_landed(Landed([succeeded(2, "two")]), job)


@pytest.mark.parametrize("number", [0, 6, -1])
def test_a_line_of_a_request_that_was_not_sent_is_an_error(spool: AnswerSpool, number: int) -> None:
    with pytest.raises(AnswersMissing, match="other requests than the 5 of the job"):
        spool.add([number], [succeeded(number, "x")])


def test_a_request_without_an_answer_is_an_error(spool: AnswerSpool) -> None:
    spool.add([1], [succeeded(1, "one")])
    with pytest.raises(AnswersMissing, match="no result line of request 4 has landed"):
        spool.take(numbers(1, 4))


def test_a_line_that_is_no_result_is_an_error(spool: AnswerSpool) -> None:
    with pytest.raises(DecodeError):
        spool.add([1], [b"{}"])


def test_numbers_are_cut_into_ranges_whose_answers_fit_in_memory(spool: AnswerSpool) -> None:
    spool.add([1, 2, 3], [succeeded(1, "x" * 1_000), succeeded(2, "x" * 1_000), succeeded(3, "x" * 10_000)])
    asked = numbers(None, 1, 2, 1, 3, 1, None, None)
    ranges = [(step.start, step.stop) for step in spool.steps(asked, max_rows=3, max_bytes=3_000)]
    assert ranges == [(0, 3), (3, 4), (4, 5), (5, 8)]
    assert [*spool.steps(numbers(), 3, 3_000)] == []


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    with AnswerSpool(1, directory=tmp_path) as spool:
        spool.add([1], [succeeded(1, "one")])
        assert taken(spool, 1) == ["one"]
        assert not [*tmp_path.iterdir()]


def test_answers_of_many_blocks_are_taken_in_any_order() -> None:
    order = [number * 7 % 10_000 + 1 for number in range(10_000)]  # each of 1 to 10,000 once
    with AnswerSpool(10_000) as spool:
        for start in range(0, 10_000, 2_500):
            some = order[start : start + 2_500]
            spool.add(some, [succeeded(number, f"answer {number}") for number in some])
        assert taken(spool, *range(10_000, 0, -1)) == [f"answer {number}" for number in range(10_000, 0, -1)]


def test_rows_are_read_again_after_their_memory_was_given_back() -> None:
    blocks = RESIDENT_BYTES // 2**23 + 3
    file = BlockFile()
    for number in range(blocks):
        file.append(pa.record_batch({"text": [str(number) * 2**23, f"{number}"]}))
    for _ in range(2):
        rows = file.take(np.arange(2 * blocks)[::-1])
        assert [text[:2] for text in rows["text"].to_pylist()[::2]] == [f"{number}" for number in range(blocks)][::-1]
    assert file.take(np.array([], np.int64)).num_rows == 0
    file.close()


adds = st.lists(st.lists(st.tuples(st.integers(1, 8), st.text(max_size=5)), max_size=6), max_size=5)


@given(adds, st.data())
def test_every_request_has_its_last_answer(rounds: list[list[tuple[int, str]]], data: st.DataObject) -> None:
    last = {number: text for some in rounds for number, text in some}
    asked = data.draw(st.lists(st.sampled_from([None, *last]), min_size=1, max_size=20))
    with AnswerSpool(8) as spool:
        for some in rounds:
            spool.add([number for number, _ in some], [succeeded(number, text) for number, text in some])
        assert spool.take(numbers(*asked))["answer"].to_pylist() == [last.get(number or 0) for number in asked]
