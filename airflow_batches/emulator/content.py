"""What a model answers: an echo, JSON of the schema, tools, a refusal; thinking before it; cut where the API would.

Nothing here reads the custom_id except to vary structured answers, so that the same line always gets the same answer.
What decides:

    the question holds `REFUSAL_TRIGGER`   refusal, no content (docs: "Streaming refusals" gives the text)
    `tool_choice` forces a tool            that tool, with an input of its schema
    the question names tools on offer      these tools, in one answer unless parallel use is off (an assumption)
    `output_config.format`                 text, an instance of the schema
    anything else                          text, the beginning of the question
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from airflow_batches.emulator import ids
from airflow_batches.emulator.cache import NO_CACHE, CacheUse, Prefix, find_prefixes
from airflow_batches.emulator.checks import forced_tool, output_schema
from airflow_batches.emulator.examples import example
from airflow_batches.emulator.lines import CheckedLine, LineOutcome, Shape
from airflow_batches.emulator.models import Model
from airflow_batches.emulator.tokens import count_answer, tokenizer_factor, version_of

REFUSAL_TRIGGER: Final = (
    "ANTHROPIC_MAGIC_STRING_TRIGGER_REFUSAL_1FAEFB6177B4672DEE07F9D3AFC62588CCD2631EDCF22E8CCC1FB35B501C9C86"
)
"""A prompt that every model refuses, for tests (docs: "Streaming refusals")."""
REFUSED: Final = '{"type":"refusal","category":null,"explanation":null}'
"""`stop_details` of a refusal without a category (SDK types)."""
_ECHOED: Final = 80
"""Characters of the question in an answer; chosen: enough to recognize it in a test or a log."""
_SHORT: Final = 512
"""Characters of a question that is searched for the trigger, which the docs use as the whole prompt; chosen: to search
long questions would make a create slower."""
_ENOUGH: Final = 128
"""Tokens that leave any echo whole; chosen: 1.3 for each of `_ECHOED` characters, and a few around them."""
_CHARS_PER_TOKEN: Final = 4
"""Where `max_tokens` cuts a text; chosen: the usual rule of thumb for English text."""
_THINKS_UNASKED: Final = (5, 0)
"""First version that thinks unless told not to: recorded for Opus 5, docs for 5.5, an assumption for the rest of 5."""
_THINKING_TOKENS: Final = 10
"""Tokens of thinking about a short question; recorded live for Opus 5 (2026-09-02)."""
_THINKING_TOKENS_FOR_JSON: Final = 54
"""The same before a structured answer; recorded live for Opus 5 (2026-09-02)."""
_OMITS_THINKING: Final = (4, 7)
"""First version whose thinking blocks are empty by default (docs: "Extended thinking", `display`)."""
_THOUGHT: Final = "The question is short and complete, so it can be answered at once."
_SIGNATURE: Final = "EroBCkYIBhgCKkBlbXVsYXRvci1zaWduYXR1cmU"
"""Stands for the API's signature, which only the API can read."""


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """The parts of an answer that depend on everything except the messages.

    :param schema: JSON schema of the text, or of the forced tool's input; None: free text.
    :param tools: tools that the model may use, when the question names them.
    :param factor: tokens of the model's tokenizer for one of the estimate.
    :param tokens: estimate of the input tokens without the messages.
    :param prefixes: cached beginnings that end before the messages.
    :param only_echoes: every answer but a refusal is an echo that `max_tokens` leaves whole.
    :param echo_tokens: output tokens of an echo, without those of the question.
    """

    shape: Shape
    schema: Any = None
    tools: Sequence[Mapping[str, Any]] = ()
    parallel: bool = True
    stop_sequences: Sequence[str] = ()
    factor: float = 1.0
    tokens: int = 0
    prefixes: Sequence[Prefix] = ()
    only_echoes: bool = False
    echo_tokens: int = 0


class Prompt(msgspec.Struct, frozen=True, gc=False):
    """A request that the API would run.

    :param tokens: its input tokens.
    :param question: text of the last user turn, and `question_tokens` the estimate for it.
    """

    plan: AnswerPlan
    tokens: int
    question: str
    question_tokens: int
    prefixes: Sequence[Prefix]


def plan_answer(params: Mapping[str, Any], model: Model, tokens: int) -> AnswerPlan:
    """Plan the answers to requests with these params; `tokens` is the estimate without the messages."""
    tool, schema = forced_tool(params), output_schema(params)
    thinking = None if tool else _thinking(params, model.id)
    shape = Shape(
        model=model.id,
        geo="us" if params.get("inference_geo") == "us" else model.inference_geo,
        adaptive=model.adaptive,
        kind="tool" if tool else "echo" if schema is None else "text",
        thinking=thinking,
        thinking_tokens=0 if thinking is None else _THINKING_TOKENS if schema is None else _THINKING_TOKENS_FOR_JSON,
        tool="" if tool is None else str(tool.get("name")),
        stop_reason="end_turn" if tool is None else "tool_use",
        max_tokens=params["max_tokens"],
    )
    choice, sequences = params.get("tool_choice"), params.get("stop_sequences")
    tools = () if tool else _offered(params.get("tools"), choice)
    room = shape.max_tokens - shape.thinking_tokens
    return AnswerPlan(
        shape=shape,
        schema=schema if tool is None else tool.get("input_schema", {"type": "object"}),
        tools=tools,
        parallel=not (isinstance(choice, dict) and choice.get("disable_parallel_tool_use")),
        stop_sequences=[s for s in sequences if isinstance(s, str) and s] if isinstance(sequences, list) else (),
        factor=tokenizer_factor(model.id),
        tokens=tokens,
        prefixes=find_prefixes(params, model.id),
        only_echoes=shape.kind == "echo" and not tools and not sequences and room > _ENOUGH,
        echo_tokens=shape.thinking_tokens + count_answer("Echo: "),
    )


def answer(prompt: Prompt, custom_id: str) -> CheckedLine:
    """Answer a request."""
    plan, question = prompt.plan, prompt.question
    if len(question) < _SHORT and REFUSAL_TRIGGER in question:
        return refusal(prompt, REFUSED)
    if plan.only_echoes:
        return _echo(prompt)
    shape = plan.shape
    if shape.thinking_tokens >= shape.max_tokens:
        return _only_thinking(prompt)
    if shape.kind == "tool":
        text = msgspec.json.encode(example(plan.schema, sum(custom_id.encode())))
        return CheckedLine(shape, text, prompt.tokens, LineOutcome.SUCCEEDED, counted(text.decode(), plan))
    if plan.tools and (used := [tool for tool in plan.tools if str(tool.get("name")) in question]):
        return _tool_uses(prompt, used if plan.parallel else used[:1], custom_id)
    return _text_answer(prompt, custom_id)


def refused_line(shape: Shape) -> CheckedLine:
    """Return the line of a request that the API refuses."""
    return CheckedLine(shape, b"", 0, LineOutcome.ERRORED)


def instance(plan: AnswerPlan, custom_id: str) -> str:
    """Return JSON that matches the plan's schema."""
    return msgspec.json.encode(example(plan.schema, sum(custom_id.encode()))).decode()


def refusal(prompt: Prompt, details: str) -> CheckedLine:
    """Refuse a request; `details` is the JSON of `stop_details`."""
    shape = msgspec.structs.replace(
        prompt.plan.shape,
        kind="content",
        thinking=None,
        thinking_tokens=0,
        stop_reason="refusal",
        stop_details=details,
    )
    return CheckedLine(shape, b"", prompt.tokens, LineOutcome.SUCCEEDED, 0)


def with_cache(line: CheckedLine, cached: CacheUse) -> CheckedLine:
    """Return the line with these tokens written to and read from the cache, which are no input tokens then."""
    if cached == NO_CACHE:
        return line
    shape = msgspec.structs.replace(line.shape, cached=cached)
    return msgspec.structs.replace(line, shape=shape, tokens=max(0, line.tokens - sum(cached)))


def json_text(text: str) -> bytes:
    """Return the text as JSON, without its quotes."""
    return msgspec.json.encode(text)[1:-1]


def thinking_block(text: str) -> bytes:
    """Return a thinking block as JSON."""
    return msgspec.json.encode({"type": "thinking", "thinking": text, "signature": _SIGNATURE})


def _echo(prompt: Prompt) -> CheckedLine:
    """Answer as `_text_answer` does, on the path that most lines of large batches take.

    The output tokens follow from those of the question: a second estimate would make a create a tenth slower.
    """
    plan, question = prompt.plan, prompt.question
    count = prompt.question_tokens
    if len(question) > _ECHOED:
        count = count * _ECHOED // len(question)
        question = question[:_ECHOED]
    text = msgspec.json.encode("Echo: " + question)[1:-1]
    output = plan.echo_tokens + int(count * plan.factor)
    return CheckedLine(plan.shape, text, prompt.tokens, LineOutcome.SUCCEEDED, output)


def _text_answer(prompt: Prompt, custom_id: str) -> CheckedLine:
    plan, shape = prompt.plan, prompt.plan.shape
    text = "Echo: " + prompt.question[:_ECHOED] if plan.schema is None else instance(plan, custom_id)
    if plan.stop_sequences:
        text, shape = _stopped(text, shape, plan.stop_sequences)
    room = (shape.max_tokens - shape.thinking_tokens) * _CHARS_PER_TOKEN
    if len(text) > room:
        text = text[:room]
        shape = msgspec.structs.replace(shape, stop_reason="max_tokens", stop_sequence=None)
        return CheckedLine(shape, json_text(text), prompt.tokens, LineOutcome.SUCCEEDED, shape.max_tokens)
    output = min(counted(text, plan), shape.max_tokens)
    return CheckedLine(shape, json_text(text), prompt.tokens, LineOutcome.SUCCEEDED, output)


def _stopped(text: str, shape: Shape, sequences: Sequence[str]) -> tuple[str, Shape]:
    """End a text before the first of the stop sequences that it holds."""
    found = min(((text.find(s), s) for s in sequences if s in text), default=None)
    if found is None:
        return text, shape
    changes = {"stop_reason": "stop_sequence", "stop_sequence": found[1]}
    return text[: found[0]], msgspec.structs.replace(shape, **changes)


def _only_thinking(prompt: Prompt) -> CheckedLine:
    """Spend all of `max_tokens` on thinking (recorded live: Opus 5 at `max_tokens: 5`)."""
    shape = prompt.plan.shape
    block = thinking_block(shape.thinking or "")
    spent = msgspec.structs.replace(
        shape, kind="content", thinking=None, thinking_tokens=shape.max_tokens, stop_reason="max_tokens"
    )
    return CheckedLine(spent, block, prompt.tokens, LineOutcome.SUCCEEDED, shape.max_tokens)


def _tool_uses(prompt: Prompt, tools: Sequence[Mapping[str, Any]], custom_id: str) -> CheckedLine:
    plan, shape = prompt.plan, prompt.plan.shape
    blocks = [] if shape.thinking is None else [thinking_block(shape.thinking)]
    pick = sum(custom_id.encode())
    blocks += [msgspec.json.encode(_tool_use(tool, pick)) for tool in tools]
    inner = b",".join(blocks)
    used = msgspec.structs.replace(shape, kind="content", thinking=None, stop_reason="tool_use")
    return CheckedLine(used, inner, prompt.tokens, LineOutcome.SUCCEEDED, counted(inner.decode(), plan))


def _tool_use(tool: Mapping[str, Any], pick: int) -> dict[str, Any]:
    """Return a block that uses a tool; its id is stored with the line, so every read gives the same one."""
    made = example(tool.get("input_schema"), pick)
    use = {"type": "tool_use", "id": "toolu_01" + ids.base58(22), "name": str(tool.get("name")), "input": made}
    return use | {"caller": {"type": "direct"}}


def counted(text: str, plan: AnswerPlan) -> int:
    """Estimate the output tokens of a text, those of the thinking before it included."""
    return plan.shape.thinking_tokens + count_answer(text, plan.factor)


def _thinking(params: Mapping[str, Any], model: str) -> str | None:
    """Return the text of the thinking block, which newer models leave empty unless asked; None: no thinking."""
    given = params.get("thinking")
    asked = given if isinstance(given, dict) else {}
    version = version_of(model)
    if asked.get("type", "adaptive" if version >= _THINKS_UNASKED else "disabled") == "disabled":
        return None
    display = asked.get("display", "omitted" if version >= _OMITS_THINKING else "summarized")
    return "" if display == "omitted" else _THOUGHT


def _offered(tools: Any, choice: Any) -> Sequence[Mapping[str, Any]]:
    """Return the tools with a schema that the model may use or not."""
    if not isinstance(tools, list) or (isinstance(choice, dict) and choice.get("type") == "none"):
        return ()
    return [tool for tool in tools if isinstance(tool, dict) and isinstance(tool.get("input_schema"), dict)]
