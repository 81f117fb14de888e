"""Constraints that stand in the description of a schema, because the API does not take them as keywords.

A model reads them and mostly keeps to them, so the emulator's answers do, too. Two ways of writing them are known:

| who writes                             | for example                                 |
|----------------------------------------|---------------------------------------------|
| the official SDK (`transform_schema`)  | `{minimum: 1, maximum: 5}`                  |
| `tables.OutputType`                    | `Must be at least 1, at most 5.`            |

Other words are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_NUMBER: Final = r"(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
_IN_WORDS: Final[Mapping[str, re.Pattern[str]]] = {
    keyword: re.compile(rf"\b{words.replace('N', _NUMBER)}(?=[,.\s])")
    for keyword, words in {
        "minimum": "at least N",
        "maximum": "at most N",
        "exclusiveMinimum": "more than N",
        "exclusiveMaximum": "less than N",
        "multipleOf": "a multiple of N",
        "minLength": "of N or more characters",
        "maxLength": "of N or fewer characters",
        "minItems": "of N or more items",
        "maxItems": "of N or fewer items",
        "minProperties": "of N or more members",
        "decimal_places": "exact to N decimal places",
    }.items()
}
_SENTENCE: Final = re.compile(r"^Must be (.*)$", re.MULTILINE)
_PATTERN: Final = re.compile(r"a match of the regular expression (.+?)(?:, (?:in the format|for example) .*)?\.$")
_FORMAT: Final = re.compile(r"in the format ([\w -]+)")
_OF_THE_SDK: Final = re.compile(r"^\{(.+)\}$", re.MULTILINE)
_PAIR: Final = re.compile(r"(?:^|, )([a-zA-Z]+): ")


def with_described(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema with the constraints of its description as keywords."""
    description = schema.get("description")
    return {**schema, **dict(_constraints(description))} if isinstance(description, str) else schema


def _constraints(description: str) -> Iterator[tuple[str, Any]]:
    for block in _OF_THE_SDK.findall(description):
        names_and_values = _PAIR.split(block)[1:]
        yield from zip(names_and_values[::2], map(_value, names_and_values[1::2]), strict=True)
    for line in _SENTENCE.findall(description):
        for keyword, words in _IN_WORDS.items():
            if found := words.search(line):
                yield keyword, _value(found[1])
        for keyword, words in (("pattern", _PATTERN), ("format", _FORMAT)):
            if found := words.search(line):
                yield keyword, found[1]


def _value(text: str) -> Any:
    """Return a number, if the text is one."""
    if not re.fullmatch(_NUMBER, text):
        return text
    return float(text) if re.search(r"[.eE]", text) else int(text)
