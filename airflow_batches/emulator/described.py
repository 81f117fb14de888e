"""Constraints that stand in the description of a schema, because the API does not take them as keywords.

A model reads them and mostly keeps to them, so the emulator's answers do, too. Two ways of writing them are known:

| who writes                             | for example                                 |
|----------------------------------------|---------------------------------------------|
| the official SDK (`transform_schema`)  | `{minimum: 1, maximum: 5}`                  |
| `tables.OutputType`                    | `Must be at least 1, at most 5.`            |

Other words are ignored, and what the schema says itself counts, except for `minItems`: the API takes no more than 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_NUMBER: Final = r"(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
_COUNT: Final = r"(\d+)"
_VALUES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), _NUMBER),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "decimal_places"), _COUNT),
    **dict.fromkeys(("pattern", "format"), "(.+)"),
}
"""What the value of a keyword looks like in a description."""
_IN_WORDS: Final[Mapping[str, re.Pattern[str]]] = {
    keyword: re.compile(words.replace("N", _VALUES[keyword]))
    for keyword, words in {
        "minimum": r"\bat least N(?=[,.\s])",
        "maximum": r"\bat most N(?=[,.\s])",
        "exclusiveMinimum": r"\bmore than N(?=[,.\s])",
        "exclusiveMaximum": r"\bless than N(?=[,.\s])",
        "multipleOf": r"\ba multiple of N(?=[,.\s])",
        "minLength": "of N or more characters",
        "maxLength": "of N or fewer characters",
        "minItems": "of N or more items",
        "maxItems": "of N or fewer items",
        "minProperties": "of N or more members",
        "decimal_places": "exact to N decimal places",
    }.items()
} | {
    "pattern": re.compile(r"a match of the regular expression (.+?)(?:, (?:in the format|for example) .*)?\.$"),
    "format": re.compile(r"in the format ([\w -]+)"),
}
_SENTENCE: Final = re.compile(r"^Must be (.*)$", re.MULTILINE)
_OF_THE_SDK: Final = re.compile(r"^\{(.+)\}$", re.MULTILINE)
_PAIR: Final = re.compile(r"(?:^|, )([a-zA-Z]+): ")


def with_described(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema with the constraints of its description as keywords."""
    description = schema.get("description")
    if not isinstance(description, str):
        return schema
    described = {keyword: _value(keyword, text) for keyword, text in _constraints(description)}
    more_items = {"minItems": described["minItems"]} if "minItems" in described else {}
    return {**described, **schema, **more_items}


def _constraints(description: str) -> Iterator[tuple[str, str]]:
    for block in _OF_THE_SDK.findall(description):
        names_and_values = _PAIR.split(block)[1:]
        for keyword, text in zip(names_and_values[::2], names_and_values[1::2], strict=True):
            if keyword in _VALUES and re.fullmatch(_VALUES[keyword], text):
                yield keyword, text
    for line in _SENTENCE.findall(description):
        for keyword, words in _IN_WORDS.items():
            if found := words.search(line):
                yield keyword, found[1]


def _value(keyword: str, text: str) -> Any:
    if _VALUES[keyword] == _NUMBER and re.search(r"[.eE]", text):
        return float(text)
    return text if keyword in {"pattern", "format"} else int(text)
