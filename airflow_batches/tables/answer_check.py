"""Check one answer: pydantic for Python types, jsonschema for JSON schemas.

Both read the text of an answer and return its value in JSON, or raise `InvalidAnswer` with a reason. A reason names the
member and what is wrong with it; the answer itself stands in the results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import jsonschema  # type: ignore[import-untyped]
from jsonschema.exceptions import best_match  # type: ignore[import-untyped]
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json
from referencing import Registry

from airflow_batches.tables.constraints import phrase, shortened
from airflow_batches.tables.quick_check import quick_validator
from airflow_batches.tables.subschemas import Schema

REASONS: Final = 2
"""Problems of one answer that its reason names. Chosen: mostly there is one, and a column of reasons stays readable."""
LONGEST_NAME: Final = 60
"""Characters of a member's name in a reason. Chosen: the names of unexpected members are the model's."""
FORMATS: Final = ("date", "email", "ipv4", "ipv6", "uuid")
"""Formats that jsonschema checks without other packages, so that all machines judge alike. Whether a `date-time` is one
shows when it becomes a column."""
NAMED_ANYWAY: Final = frozenset({"required", "additionalProperties"})
"""Keywords whose messages in jsonschema hold only names of members."""


class InvalidAnswer(ValueError):
    """An answer does not match its type.

    Example::

        raise InvalidAnswer("score: must be at least 1")
    """


def decoded(text: str) -> Any:
    """Return the value of a JSON text.

    :raises InvalidAnswer: it is no JSON.
    """
    try:
        return from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError) as exc:  # TypeError: half a surrogate pair
        raise InvalidAnswer(f"Invalid JSON: {exc}") from None


class AnswerCheck(Protocol):
    """Reads answers of one type."""

    def read(self, text: str) -> Any:
        """Return the answer's value as JSON has it.

        :raises InvalidAnswer: it does not match the type.
        """


class TypeCheck:
    """Reads answers with pydantic; values are what the type's serialization makes of them."""

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        self._validate = adapter.validator.validate_json
        self._dump = adapter.serializer.to_python

    def read(self, text: str) -> Any:
        try:
            value = self._validate(text)
        except ValidationError as exc:
            raise InvalidAnswer(_reason(exc.errors(include_url=False, include_input=False))) from None
        return self._dump(value, mode="json", by_alias=True, warnings=False)


class SchemaCheck:
    """Reads answers with jsonschema. It fetches nothing, whatever a schema refers to.

    jsonschema is slow (measured: 60 times slower than pydantic for an object of six members), so an answer that the
    `quick_check` accepts is not shown to it.
    """

    def __init__(self, closed: Schema) -> None:
        self._formats = jsonschema.FormatChecker(FORMATS)
        self._validator = jsonschema.Draft202012Validator(closed, registry=Registry(), format_checker=self._formats)
        self._quick = quick_validator(closed, self._formats.conforms)

    def read(self, text: str) -> Any:
        if self._quick is not None:
            try:
                return self._quick.validate_json(text)
            except ValidationError:
                pass  # jsonschema decides, and names the reason
        return self._slow(text)

    def _slow(self, text: str) -> Any:
        value = decoded(text)
        if not self._validator.is_valid(value):
            raise InvalidAnswer(_described(best_match(self._validator.iter_errors(value))))
        return value


def _reason(errors: Sequence[ErrorDetails]) -> str:
    named = [_placed(_path(error["loc"]), error["msg"]) for error in errors[:REASONS]]
    more = [f"and {len(errors) - REASONS} more"] if len(errors) > REASONS else []
    return "; ".join([*named, *more])


def _described(error: Any) -> str:
    """Return a reason in our words: those of jsonschema hold the whole value."""
    keyword, demanded = error.validator, error.validator_value
    message = error.message if keyword in NAMED_ANYWAY else f"must be {phrase(keyword, demanded)}"
    return _placed(_path(error.absolute_path), message)


def _placed(path: str, message: str) -> str:
    return shortened(f"{path}: {message}" if path else message)


def _path(parts: Sequence[str | int]) -> str:
    """Return a member's place, as in `lines[2].price`."""
    named = (f"[{part}]" if isinstance(part, int) else f".{part[:LONGEST_NAME]}" for part in parts)
    return "".join(named).removeprefix(".")
