"""Prompts of rows: texts with columns, and functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_batches.api import InvalidRequest
from airflow_batches.tables.requests import RowRequests
from airflow_batches.tables.row_errors import PromptError
from tests.unit.tables.row_support import parquet, requests_of, texts_of

ROW = {"id": 1, "text": "Great!", "product name": "Lamp", "a.b": "dotted"}


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("${text}", "Great!"),
        ("Is it ${text} or ${text}? (${id})", "Is it Great! or Great!? (1)"),
        ("About ${product name}: ${a.b}", "About Lamp: dotted"),
        ("$$${id} is $$5, $$$$", "$1 is $5, $$"),
        ("{{ ds }} {text} $text $ {% if %} ${ ${} %s ${id}", "{{ ds }} {text} $text $ {% if %} ${ ${} %s 1"),
        ("${id}\n\\n${text}", "1\n\\nGreat!"),
    ],
)
def test_a_text_has_the_values_of_its_columns_and_nothing_else_changes(prompt: str, text: str) -> None:
    assert texts_of(RowRequests([ROW], prompt)) == [text]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_words_and_any_value_come_out_unchanged(words: str, value: str) -> None:
    prompt = words.replace("$", "$$") + "${v}"
    blank = not value.strip()
    assert texts_of(RowRequests([{"v": value}, {"v": "x"}], prompt)) == [
        *([] if blank else [words + value]), *([] if value == "x" else [words + "x"])
    ]  # fmt: skip


def test_a_column_that_does_not_exist_is_named_before_any_row_is_read() -> None:
    with pytest.raises(
        InvalidRequest,
        match=r"the prompt names the column 'txt', which the rows.*It has: 'id', 'text'.*Did you mean 'text'",
    ):
        texts_of(RowRequests([{"id": 1, "text": "x"}], "Translate ${txt}"))


@pytest.mark.parametrize("prompt", ["Say hello", "", "$text {text}"])
def test_a_text_without_a_column_is_refused(prompt: str) -> None:
    with pytest.raises(InvalidRequest, match="names no column"):
        RowRequests([ROW], prompt)


@pytest.mark.parametrize("prompt", [None, 3, ["${text}"]])
def test_what_is_neither_text_nor_function_is_refused(prompt: Any) -> None:
    with pytest.raises(InvalidRequest, match="prompt must be"):
        RowRequests([ROW], prompt)


@pytest.mark.parametrize(
    ("returned", "params"),
    [
        ("Hi", {"messages": [{"role": "user", "content": "Hi"}]}),
        ([{"role": "user", "content": "Hi"}], {"messages": [{"role": "user", "content": "Hi"}]}),
        ({"messages": [], "system": "Be short"}, {"messages": [], "system": "Be short"}),
    ],
)
def test_a_function_returns_a_text_or_messages_or_params(returned: Any, params: Any) -> None:
    (request,) = requests_of(RowRequests([ROW], lambda row: returned))
    assert request == {"custom_id": "job-1", "params": params}


def test_a_function_gets_each_row_as_a_dict() -> None:
    seen: list[dict[str, Any]] = []
    rows = [{"a": 1, "b": [{"c": 0.5}]}, {"a": None, "b": []}]
    requests_of(RowRequests(rows, seen.append))
    assert seen == rows


def test_rows_without_a_prompt_have_no_request() -> None:
    made = RowRequests([{"n": number} for number in range(10)], lambda row: f"{row['n']}" if row["n"] % 2 else None)
    assert texts_of(made) == ["1", "3", "5", "7", "9"]
    assert (made.rows, made.distinct, made.skipped) == (10, 5, 5)


EMPTY: list[Any] = [None, "", "  \n"]


@pytest.mark.parametrize("prompt", ["${text}", "Classify: ${text}", lambda row: row["text"] or ""])
def test_empty_prompts_have_no_request(prompt: Any) -> None:
    made = RowRequests([{"text": text} for text in [*EMPTY, "x"]], prompt)
    assert len(texts_of(made)) == 1
    assert (made.rows, made.skipped) == (4, 3)


@pytest.mark.parametrize("prompt", ["Classify: ${text}", lambda row: row["text"]])
def test_empty_prompts_may_be_an_error(prompt: Any) -> None:
    with pytest.raises(PromptError, match="row 2: the prompt is empty") as caught:
        texts_of(RowRequests([{"text": "x"}, {"text": " "}], prompt, on_empty_prompt="error"))
    assert (caught.value.file, caught.value.row) == (None, 2)


def test_a_missing_value_is_no_empty_prompt_if_another_column_has_one() -> None:
    assert texts_of(RowRequests([{"a": None, "b": "x"}], "${a}|${b}")) == ["|x"]


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (3, "returned int"),
        ([], "returned list"),
        (["Hi"], "returned list"),
        ({"role": "user", "content": "Hi"}, "a single message: return a list"),
        ({"system": "x"}, "an object without messages"),
        ([{"role": "user", "content": b"Hi"}], r"messages\.0\.content: bytes is not text"),
        ({"messages": [], "temperature": float("nan")}, "temperature: nan has no JSON form"),
        ("\ud800", "half a surrogate pair"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "the params cannot be written as JSON"),
    ],
)
def test_what_a_function_returns_wrong_is_named_with_its_row(returned: Any, reason: str) -> None:
    with pytest.raises(PromptError, match=reason) as caught:
        requests_of(RowRequests([{"n": 0}, {"n": 1}], lambda row: returned if row["n"] else "ok"))
    assert caught.value.row == 2


async def later(row: Any) -> str:
    return str(row)


def test_a_coroutine_is_no_prompt() -> None:
    with pytest.raises(PromptError, match="row 1: the prompt function returned coroutine"):
        requests_of(RowRequests([ROW], later))


def test_a_function_that_raises_is_named_with_file_and_row(tmp_path: Path) -> None:
    parquet(tmp_path / "1.parquet", n=range(5000))
    parquet(tmp_path / "2.parquet", n=range(5000, 10_000))

    def prompt(row: dict[str, Any]) -> str:
        if row["n"] == 7000:
            raise OSError("no such glossary")
        return f"{row['n']}"

    blocks: list[bytes] = []
    with pytest.raises(
        PromptError, match=r"/2\.parquet, row 2,001: .*OSError: no such glossary.*Nothing was sent"
    ) as caught:
        blocks.extend(RowRequests(tmp_path, prompt).requests("job"))
    assert (caught.value.file, caught.value.row) == (f"file://{tmp_path}/2.parquet", 2001)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_function_that_asks_for_a_missing_column_is_told_the_columns() -> None:
    with pytest.raises(PromptError, match=r"column 'txt': .*KeyError.*the rows have 'id', 'text'") as caught:
        requests_of(RowRequests([{"id": 1, "text": "x"}], lambda row: row["txt"]))
    assert caught.value.column == "txt"


def test_a_value_without_a_text_is_named_with_file_row_and_column(tmp_path: Path) -> None:
    parquet(tmp_path / "1.parquet", text=[b"x"] * 3000 + [b"\xff"])
    with pytest.raises(PromptError, match=r"/1\.parquet, row 3,001, column 'text': bytes that are not UTF-8"):
        requests_of(RowRequests(tmp_path, "${text}"))
