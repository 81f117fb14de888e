"""Python objects in requests: taken in one documented way, or refused by name, never changed silently."""

from __future__ import annotations

import json
from collections import OrderedDict, UserDict, UserList, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import anthropic.types
import msgspec
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pydantic
import pytest

from airflow_batches.api import InvalidRequest
from airflow_batches.emulator import Emulator
from airflow_batches.submission import open_source
from airflow_batches.submission.encode import encode_requests
from tests.samples import some_requests
from tests.unit.submission.helpers import Task


class Color(Enum):
    RED = "red"


class Name(str):
    __slots__ = ()


class Config(pydantic.BaseModel):
    type: str = pydantic.Field(alias="kind")
    effort: str | None = None


@dataclass
class Point:
    x: float
    y: int = 2


class Place(msgspec.Struct):
    x: float


def kind_of(value: Any) -> str:
    """A test's name: the same in every process, as the text of a set or an object is not."""
    return type(value).__name__


def holding(value: Any) -> list[dict[str, Any]]:
    return [*some_requests(2), {"custom_id": "odd", "params": {"metadata": {"value": [value]}}}]


def encoded(value: Any) -> Any:
    lines = b"".join(encode_requests(holding(value))).splitlines()
    return json.loads(lines[2], parse_float=Decimal)["params"]["metadata"]["value"][0]


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (Name("x"), "x"),
        (Color.RED, "red"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (date(2026, 11, 29), "2026-11-29"),
        (datetime(2026, 11, 29, 1, 2, 3, tzinfo=UTC), "2026-11-29T01:02:03Z"),
        (Decimal("1.50"), Decimal("1.50")),
        (Decimal("123456789012345678901234567890.1"), Decimal("123456789012345678901234567890.1")),
        (Point(1.5), {"x": Decimal("1.5"), "y": 2}),
        (Place(2.5), {"x": Decimal("2.5")}),
        (Config(kind="json"), {"kind": "json"}),
        (Config(kind="json", effort=None), {"kind": "json", "effort": None}),
        (anthropic.types.TextBlock(type="text", text="Hello"), {"type": "text", "text": "Hello"}),
        (OrderedDict(a=1), {"a": 1}),
        (UserDict(a=np.int8(1)), {"a": 1}),
        (UserList([1, 2]), [1, 2]),
        (deque([1]), [1]),
        ({"a": 1}.values(), [1]),
        ((1, 2), [1, 2]),
        (np.int64(5), 5),
        (np.float32(0.5), Decimal("0.5")),
        (np.float64(0.25), Decimal("0.25")),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (pd.Timestamp("2026-11-29T01:02:03"), "2026-11-29T01:02:03"),
        (pd.Series([7]).iloc[0], 7),
    ],
    ids=kind_of,
)
def test_is_taken_as(value: Any, sent: Any) -> None:
    assert encoded(value) == sent


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "nan has no JSON form"),
        (float("-inf"), "-inf has no JSON form"),
        (Decimal("NaN"), "NaN has no JSON form"),
        (np.float32("nan"), "nan has no JSON form"),
        (np.float64("inf"), "inf has no JSON form"),
        (pd.NaT, "NaTType has no JSON form"),
        (pd.NA, "NAType has no JSON form"),
        (b"Hello", "bytes is not text: decode it, or encode it as base64"),
        (bytearray(b"x"), "bytearray is not text: decode it, or encode it as base64"),
        ({"a", "b"}, "a set has no order: give a list"),
        (frozenset("a"), "a frozenset has no order: give a list"),
        ((n for n in [1]), "generator has no JSON form"),
        (np.array([1, 2]), "numpy.ndarray has no JSON form"),
        (np.datetime64("2026-11-29"), "numpy.datetime64 has no JSON form"),
        (1j, "complex has no JSON form"),
        (object(), "object has no JSON form"),
        (Point, "type has no JSON form"),
    ],
    ids=kind_of,
)
def test_is_refused_by_name_with_request_and_place(value: Any, why: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        [*encode_requests(holding(value))]
    said = str(error.value)
    assert said.startswith("request 3, 'odd', cannot be written as JSON: params.metadata.value.0: ")
    assert said.endswith(why)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (Point(float("nan")), "0.x: nan"),
        (Place(float("nan")), "0.x: nan"),
        ({"deep": [[float("nan")]]}, "0.deep.0.0: nan"),
        (OrderedDict(a=float("nan")), "0.a: nan"),
        (UserList([b"x"]), "0.0: bytes"),
    ],
    ids=kind_of,
)
def test_what_json_cannot_hold_is_found_within_other_objects(value: Any, where: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"params\.metadata\.value\.{where}"):
        [*encode_requests(holding(value))]


@pytest.mark.parametrize("text", ["\ud800", "a" * 3 + "\udfff"])
def test_text_that_is_no_unicode_is_refused_with_its_request(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"request 3, 'odd', cannot be written as JSON: .*surrogates"):
        [*encode_requests(holding(text))]


def test_objects_that_hold_themselves_are_refused_with_their_request() -> None:
    within: list[Any] = []
    within.append(within)
    with pytest.raises(InvalidRequest, match=r"request 3, 'odd', cannot be written as JSON: .*recursion"):
        [*encode_requests(holding(within))]


@pytest.mark.parametrize("once", [False, True])
def test_a_nan_sends_nothing_from_a_list_or_an_iterable(emulator: Emulator, once: bool) -> None:
    requests = some_requests(50)
    requests[40]["params"]["temperature"] = float("nan")
    given: Iterator[Any] | list[Any] = iter(requests) if once else requests
    with pytest.raises(
        InvalidRequest, match=r"request 41, 'r-40', cannot be written as JSON: params\.temperature: nan"
    ):
        Task(emulator).try_(given, preflight="off")
    assert emulator.counters["create"] == 0


def test_the_conversation_of_an_sdk_answer_is_sent_as_the_sdk_sends_it(emulator: Emulator) -> None:
    answer = anthropic.types.Message.model_validate(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-4-5",
            "content": [{"type": "text", "text": "Hi."}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
    )
    turns = [
        {"role": "user", "content": "Hello"},
        {"role": answer.role, "content": answer.content},
        {"role": "user", "content": Name("Again")},
    ]
    Task(emulator).try_(some_requests(1, messages=turns, max_tokens=np.int32(10)))
    assert emulator.batches()[0]["request_counts"]["succeeded"] == 1


def test_a_list_is_encoded_alike_at_each_reading() -> None:
    with open_source(holding(Decimal("0.10"))) as source:
        assert b"".join(source.blocks()) == b"".join(source.blocks())
