"""The shape of members of params that most requests of a batch share: tools, thinking, output, stop sequences.

Pure. Each verdict is cached by the member's bytes, because a batch sends the same tools with each of its requests.

| member           | the API refuses                                                                                   |
|------------------|---------------------------------------------------------------------------------------------------|
| `tools`          | two tools of one name; a tool of the user without an `input_schema` of objects                    |
| `tool_choice`    | `any` without tools                                                                               |
| `thinking`       | `budget_tokens` below 1,024 (a beta allows more than `max_tokens`, so that is not checked)        |
| `output_config`  | a schema with an object that may have further properties                                          |
| `stop_sequences` | a blank one                                                                                       |
| `metadata`       | members beside `user_id`                                                                          |

Sources: the API's reference (docs, "Messages", "Structured outputs") and recorded refusals. What is not JSON of the
expected kind is left to the API, which may know more kinds than this file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

LEAST_BUDGET: Final = 1_024
"""Fewest tokens of a thinking budget (docs, API reference, "Messages")."""
VERDICTS: Final = 1_024
"""Members whose verdicts are kept. Chosen: few batches have more different ones, and a verdict is small."""


@lru_cache(maxsize=VERDICTS)
def member_problems(name: str, value: bytes) -> tuple[str, ...]:
    """Return the reasons why the API would refuse a member of params.

    :param name: one of `CHECKS`.
    :param value: its JSON.
    """
    try:
        return tuple(CHECKS[name](msgspec.json.decode(value)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ()  # others check that the line is JSON; a value that is nested too deeply is the API's to judge


def _tools(tools: Any) -> Iterator[str]:
    given = [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    names = [tool["name"] for tool in given if isinstance(tool.get("name"), str)]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        yield f"tools: the names of tools must differ; {', '.join(map(repr, repeated))} occurs more than once"
    for number, tool in enumerate(given):
        if tool.get("type") in {None, "custom"}:
            schema = tool.get("input_schema")
            if not isinstance(schema, dict) or schema.get("type") != "object":
                yield f"tools.{number}: input_schema must be a schema with type 'object'"


def _thinking(thinking: Any) -> Iterator[str]:
    if not isinstance(thinking, dict) or thinking.get("type") != "enabled":
        return
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or budget < LEAST_BUDGET:
        yield f"thinking: budget_tokens must be an integer from {LEAST_BUDGET:,}, not {budget!r}"


def _output_config(config: Any) -> Iterator[str]:
    form = config.get("format") if isinstance(config, dict) else None
    if not isinstance(form, dict) or form.get("type") != "json_schema":
        return
    if any(each.get("type") == "object" and each.get("additionalProperties") is not False for each in _schemas(form)):
        yield "output_config.format.schema: each schema with type 'object' must have additionalProperties: false"


def _schemas(form: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas in a format, without recursion, because schemas may nest deeply."""
    stack = [form.get("schema")]
    while stack:
        found = stack.pop()
        if not isinstance(found, dict):
            continue
        yield found
        for name in ("anyOf", "allOf", "oneOf", "properties", "$defs", "definitions"):
            inner = found.get(name)
            stack += inner.values() if isinstance(inner, dict) else inner if isinstance(inner, list) else ()
        stack.append(found.get("items"))


def _stop_sequences(sequences: Any) -> Iterator[str]:
    for number, sequence in enumerate(sequences if isinstance(sequences, list) else ()):
        if isinstance(sequence, str) and not sequence.strip():
            yield f"stop_sequences.{number}: a stop sequence must not be blank"


def _metadata(metadata: Any) -> Iterator[str]:
    if isinstance(metadata, dict):
        yield from (f"metadata.{name}: not a member that the API takes" for name in metadata if name != "user_id")


CHECKS: Final[Mapping[str, Callable[[Any], Iterator[str]]]] = {
    "metadata": _metadata,
    "output_config": _output_config,
    "stop_sequences": _stop_sequences,
    "thinking": _thinking,
    "tools": _tools,
}
