"""What a user gives as an answer, in a rule, a file of answers, or as the return value of a function.

    text                            the text of the answer
    a list of content blocks        the content, nothing before it
    a mapping of type `message`     members of the message; those left out are as usual
    a mapping of type `error`       the API's error object: the request fails with it
    any other mapping               JSON: the text, or the input of the tool that `tool_choice` forces
    None                            the usual answer

So a message or an error that was recorded can be given as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

Request = Mapping[str, Any]
"""A request of a batch, as it was sent: `custom_id` (empty outside a batch) and `params`."""
Block = Mapping[str, Any]
Given = str | Sequence[Block] | Mapping[str, Any]
"""An answer, as the table has it."""
AnswerFunction = Callable[[Request], Given | None]

_EXPECTED: Final = "text, a list of content blocks, a message, an error, or an object to answer with as JSON"


def answer_fault(given: Any) -> str | None:
    """Return why a value is no answer, or None."""
    if isinstance(given, str):
        return None
    fine = _is_object(given) if isinstance(given, Mapping) else is_blocks(given)
    return None if fine else f"{_EXPECTED}, not {str(given)[:80]}"


def is_message(given: Any) -> bool:
    return isinstance(given, Mapping) and given.get("type") == "message"


def error_of(given: Any) -> Mapping[str, Any] | None:
    """Return the error that is given instead of an answer, or None."""
    if isinstance(given, Mapping) and given.get("type") == "error":
        error: Mapping[str, Any] = given["error"]
        return error
    return None


def is_blocks(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_block, value))


def _is_block(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("type"), str) and _is_json(value)


def _is_object(given: Mapping[str, Any]) -> bool:
    if is_message(given):
        content = given.get("content", "")
        return isinstance(content, str) or is_blocks(content)
    if given.get("type") == "error":
        return isinstance(given.get("error"), Mapping) and _is_error(given["error"])
    return _is_json(given)


def _is_error(error: Mapping[str, Any]) -> bool:
    return isinstance(error.get("type"), str) and isinstance(error.get("message", ""), str) and _is_json(error)


def _is_json(value: Mapping[str, Any]) -> bool:
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError):  # a value that JSON does not have, or one that holds itself
        return False
    return True
