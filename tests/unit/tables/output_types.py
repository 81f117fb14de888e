"""Strategies: output types of all pieces that are supported, with valid answers, their columns, and broken answers."""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, NamedTuple

from hypothesis import strategies as st
from pydantic import Field, create_model


class Answer(NamedTuple):
    """An answer's JSON, and what its column holds."""

    json: Any
    value: Any


@dataclass(frozen=True)
class Piece:
    """A type, its valid answers, and JSON that is not of the type."""

    type: Any
    answers: st.SearchStrategy[Answer]
    broken: st.SearchStrategy[Any]


class Topic(enum.Enum):
    BILL = "bill"
    OTHER = "something else"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INT64: Final = st.integers(-(2**63), 2**63 - 1)
ZONES: Final = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))
TIMES: Final = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=ZONES)  # noqa: DTZ001
CENTS: Final = st.integers(-(10**9), 10**9).map(lambda cents: Decimal(cents) / 100)


def same(value: Any) -> Answer:
    return Answer(value, value)


SCALARS: Final = (
    Piece(str, TEXTS.map(same), st.just(5)),
    Piece(int, INT64.map(same), st.sampled_from(["many", 2**63, 1.5, [1]])),
    Piece(float, st.floats(allow_nan=False, allow_infinity=False).map(same), st.just("much")),
    Piece(int | float, st.integers(-(2**53), 2**53).map(same), st.just("much")),
    Piece(bool, st.booleans().map(same), st.just("perhaps")),
    Piece(date, st.dates().map(lambda day: Answer(day.isoformat(), day)), st.just("tomorrow")),
    Piece(datetime, TIMES.map(lambda time: Answer(time.isoformat(), time.astimezone(UTC))), st.just("later")),
    Piece(Literal["a", "b"], st.sampled_from("ab").map(same), st.just("c")),
    Piece(Topic, st.sampled_from([topic.value for topic in Topic]).map(same), st.just("letter")),
    Piece(Level, st.sampled_from([1, 2]).map(same), st.just(3)),
    Piece(
        Annotated[Decimal, Field(max_digits=12, decimal_places=2)],
        CENTS.map(lambda amount: Answer(str(amount), amount)),
        st.sampled_from(["cheap", "0.001"]),
    ),
    Piece(Annotated[str, Field(max_length=8)], TEXTS.map(same), st.just("nine signs")),
    Piece(Annotated[int, Field(ge=1, le=5)], st.integers(1, 5).map(same), st.just(6)),
)


def listed(piece: Piece) -> Piece:
    several = st.lists(piece.answers, max_size=3)
    return Piece(
        list[piece.type],  # type: ignore[name-defined]
        several.map(lambda answers: Answer([each.json for each in answers], [each.value for each in answers])),
        st.one_of(st.just("no list"), piece.broken.map(lambda each: [each])),
    )


def optional(piece: Piece) -> Piece:
    return Piece(piece.type | None, st.one_of(st.just(Answer(None, None)), piece.answers), piece.broken)


def model(pieces: Sequence[Piece]) -> Piece:
    """A model whose members have names that Python does not allow."""
    names = [f"member {number}/~" for number in range(len(pieces))]
    fields: dict[str, Any] = {
        f"m{number}": (piece.type, Field(alias=name))
        for number, (piece, name) in enumerate(zip(pieces, names, strict=True))
    }
    answers = st.tuples(*(piece.answers for piece in pieces)).map(
        lambda each: Answer(
            dict(zip(names, (answer.json for answer in each), strict=True)),
            dict(zip(names, (answer.value for answer in each), strict=True)),
        )
    )

    @st.composite
    def broken(draw: st.DrawFn) -> Any:
        answer = dict(draw(answers).json)
        place = draw(st.integers(0, len(pieces) - 1))
        if draw(st.booleans()):
            del answer[names[place]]
        else:
            answer[names[place]] = draw(pieces[place].broken)
        return answer

    return Piece(create_model("Model", **fields), answers, broken())


MODELS: Final = st.recursive(
    st.sampled_from(SCALARS),
    lambda pieces: st.one_of(
        pieces.map(listed), pieces.map(optional), st.lists(pieces, min_size=1, max_size=4).map(model)
    ),
    max_leaves=8,
)
"""Pieces of any shape, scalars and lists at the top included."""


def encoded(value: Any) -> str:
    return json.dumps(value)
