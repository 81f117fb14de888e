"""A text that a regular expression matches, for the patterns that schemas use in practice.

The expression is read with the parser of Python's `re`. What has no rule here (look-around, back references) gives
None, as does a text that does not match in the end.
"""

from __future__ import annotations

import re
from typing import Any, Final

_MOST: Final = 1_000
"""Repeats of a part, and with ten times that the characters of a repeated part; chosen: a pattern like `a{100000000}`
must not use all memory."""
_CATEGORIES: Final[dict[str, str]] = {
    "CATEGORY_DIGIT": "7",
    "CATEGORY_NOT_DIGIT": "a",
    "CATEGORY_WORD": "a",
    "CATEGORY_NOT_WORD": "-",
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_SPACE": "a",
}
_OTHERS: Final = "aZ7-_ .\u00e9"
"""Characters that are tried for a negated class."""


def matching_text(pattern: str, pick: int) -> str | None:
    """Return a text that holds a match of the pattern.

    :param pick: chooses among the characters of classes and among alternatives.
    :return: None if the pattern is not a regular expression, or is not understood.
    """
    try:
        text = "".join(_part(item, pick) for item in _parsed(pattern))
        return text if re.search(pattern, text) else None
    except (re.error, LookupError, OverflowError, RecursionError, TypeError, ValueError):
        return None


def _parsed(pattern: str) -> Any:
    parser: Any = getattr(re, "_parser")  # noqa: B009  # private, so types and linters do not know it
    return parser.parse(pattern)


def _part(item: tuple[Any, Any], pick: int) -> str:
    """Return a text for one part of a parsed pattern. Raises LookupError for a part without a rule."""
    return str(_PARTS[str(item[0])](item[1], pick))


def _joined(items: Any, pick: int) -> str:
    return "".join(_part(item, pick) for item in items)


def _class(items: list[tuple[Any, Any]], pick: int) -> str:
    if str(items[0][0]) == "NEGATE":
        return next(c for c in _OTHERS if not any(_holds(item, c) for item in items[1:]))
    return _member(items[pick % len(items)], pick)


def _member(item: tuple[Any, Any], pick: int) -> str:
    kind, value = str(item[0]), item[1]
    if kind == "RANGE":
        return chr(value[0] + pick % (value[1] - value[0] + 1))
    return chr(value) if kind == "LITERAL" else _CATEGORIES[str(value)]


def _holds(item: tuple[Any, Any], character: str) -> bool:
    kind, value = str(item[0]), item[1]
    if kind == "RANGE":
        return bool(value[0] <= ord(character) <= value[1])
    return character == (chr(value) if kind == "LITERAL" else _CATEGORIES[str(value)])


def _repeated(value: tuple[int, Any, Any], pick: int) -> str:
    least, most, items = value
    count = max(least, min(int(most), 1))
    if count > _MOST:
        raise OverflowError
    text = "".join(_joined(items, pick + place) for place in range(count))
    if len(text) > 10 * _MOST:
        raise OverflowError
    return text


_PARTS: Final[dict[str, Any]] = {
    "LITERAL": lambda code, _: chr(code),
    "NOT_LITERAL": lambda code, _: next(c for c in _OTHERS if ord(c) != code),
    "ANY": lambda _, pick: chr(ord("a") + pick % 26),
    "IN": _class,
    "CATEGORY": lambda value, _: _CATEGORIES[str(value)],
    "AT": lambda *_: "",
    "BRANCH": lambda value, pick: _joined(value[1][pick % len(value[1])], pick),
    "SUBPATTERN": lambda value, pick: _joined(value[3], pick),
    "MAX_REPEAT": _repeated,
    "MIN_REPEAT": _repeated,
    "POSSESSIVE_REPEAT": _repeated,
}
