"""Any output type: valid answers come back as they are, others are null with a reason."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_batches.emulator import Emulator
from airflow_batches.submission.shapes import member_problems
from airflow_batches.tables import OutputType
from tests.unit.emulator.client import Client, line
from tests.unit.tables.output_types import SCALARS, TYPES, Piece, encoded, model

SLOW = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@SLOW
@given(piece=TYPES, data=st.data())
def test_valid_answers_come_back_and_broken_ones_are_null_with_a_reason(piece: Piece, data: st.DataObject) -> None:
    output = OutputType.of(piece.type)
    valid = data.draw(st.lists(piece.answers, max_size=3))
    broken = data.draw(st.lists(piece.broken, max_size=3))
    texts = [*(encoded(each.json) for each in valid), *map(encoded, broken)]

    reasons, columns = output.check(texts), output.columns(texts)

    assert reasons[: len(valid)] == [None] * len(valid)
    assert all(reasons[len(valid) :])
    assert columns.type == output.arrow_type
    assert columns.to_pylist() == [*(each.value for each in valid), *([None] * len(broken))]


@SLOW
@given(piece=TYPES, data=st.data())
def test_the_schema_that_is_sent_takes_the_same_answers(piece: Piece, data: st.DataObject) -> None:
    texts = [encoded(each.json) for each in data.draw(st.lists(piece.answers, max_size=3))]
    assert OutputType.of(OutputType.of(piece.type).schema).check(texts) == [None] * len(texts)


@SLOW
@given(piece=TYPES, data=st.data())
def test_a_process_without_the_python_type_sends_and_judges_as_one_with_it(piece: Piece, data: st.DataObject) -> None:
    output = OutputType.of(piece.type)
    stored = OutputType.of(json.loads(json.dumps(output.answer)))
    assert stored.schema == output.schema
    valid = [encoded(each.json) for each in data.draw(st.lists(piece.answers, max_size=3))]
    assert stored.check(valid) == [None] * len(valid)
    assert all(stored.check([encoded(each) for each in data.draw(st.lists(piece.broken, max_size=3))]))


@SLOW
@given(piece=TYPES, data=st.data())
def test_an_answer_that_is_cut_anywhere_is_null(piece: Piece, data: st.DataObject) -> None:
    text = encoded(data.draw(piece.answers).json)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    if not (cut and text[0] in "-0123456789"):  # the beginning of a number is a number
        output = OutputType.of(piece.type)
        assert output.check([cut])[0]
        assert output.columns([cut]).to_pylist() == [None]


@SLOW
@given(piece=TYPES, data=st.data())
def test_parquet_holds_the_columns(piece: Piece, data: st.DataObject) -> None:
    answers = data.draw(st.lists(piece.answers, min_size=1, max_size=3))
    array = OutputType.of(piece.type).columns([*(encoded(each.json) for each in answers), None])
    stored = BytesIO()
    pq.write_table(pa.table({"answer": array}), stored)
    stored.seek(0)
    assert pq.read_table(stored)["answer"].to_pylist() == [*(each.value for each in answers), None]


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(piece=TYPES.map(lambda piece: model([piece])))
def test_the_emulator_takes_every_schema_that_is_sent_and_keeps_to_it(client: Client, piece: Piece) -> None:
    output = OutputType.of(piece.type)
    config = {"format": output.format()}

    results = client.outcome([line(f"row-{number}", output_config=config) for number in range(5)])

    assert member_problems("output_config", json.dumps(config).encode()) == ()
    assert OutputType.of(output.schema).check([text_of(result) for result in results.values()]) == [None] * 5


@pytest.mark.parametrize("piece", SCALARS, ids=lambda piece: str(piece.type))
def test_the_emulator_takes_each_kind_of_value_as_the_whole_answer(client: Client, piece: Piece) -> None:
    output = OutputType.of(piece.type)
    result = client.outcome([line("only", output_config={"format": output.format()})])["only"]
    assert OutputType.of(output.schema).check([text_of(result)]) == [None]


@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(piece=TYPES.map(lambda piece: model([piece])))
def test_the_invalid_answers_of_the_emulator_are_found(careless: Client, piece: Piece) -> None:
    output = OutputType.of(piece.type)
    results = careless.outcome(
        [line(f"row-{number}", output_config={"format": output.format()}) for number in range(3)]
    )
    assert all(output.check([text_of(result) for result in results.values()]))


@pytest.fixture(scope="module")
def careless() -> Any:
    """A client of an emulator whose answers do not match their schema."""
    with Emulator(invalid_output_share=1.0) as emulator:
        client = Client(emulator)
        yield client
        client.close()


@pytest.fixture(scope="module")
def client() -> Any:
    with Emulator() as emulator:
        client = Client(emulator)
        yield client
        client.close()


def text_of(result: dict[str, Any]) -> str:
    assert result["type"] == "succeeded", result
    return str(result["message"]["content"][0]["text"])
