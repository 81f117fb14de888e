"""Constraints of JSON schema in words: for the model, which reads them in a description, and for reasons.

Pure. "must be" stands before each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

LONGEST: Final = 200
"""Characters of a constraint in a reason. Chosen: enough for what a person writes, and a log line stays one line."""
PHRASES: Final[Mapping[str, str]] = {
    "type": "of type {}",
    "const": "{}",
    "enum": "one of {}",
    "anyOf": "one of the alternatives",
    "oneOf": "exactly one of the alternatives",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "of {} or more characters",
    "maxLength": "of {} or fewer characters",
    "pattern": "a match of the regular expression {}",
    "format": "in the format {}",
    "minItems": "of {} or more items",
    "maxItems": "of {} or fewer items",
    "uniqueItems": "without equal items",
    "minProperties": "of {} or more members",
    "maxProperties": "of {} or fewer members",
    "not": "no match of {}",
    "max_digits": "of {} or fewer digits",
    "decimal_places": "exact to {} decimal places",
    "examples": "for example {}",
}
"""Keyword of JSON schema -> what its value demands. Those of digits are ours, for decimal numbers (`type_schemas`)."""


def phrase(keyword: str, value: Any) -> str:
    """Return what a keyword demands, to stand after "must be"."""
    return PHRASES.get(keyword, f"valid under {keyword}: {{}}").replace("{}", _shown(value))


def sentences(keywords: Mapping[str, Any]) -> str:
    """Return what keywords demand, in the order of `PHRASES`, then the others as they stand."""
    known = [phrase(keyword, keywords[keyword]) for keyword in PHRASES if keyword in keywords]
    others = [f"{keyword}: {_shown(value)}." for keyword, value in keywords.items() if keyword not in PHRASES]
    return " ".join([f"Must be {', '.join(known)}."] * bool(known) + others)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def shortened(text: str) -> str:
    """Return a text in one line, cut if it is long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 2] + " …"
