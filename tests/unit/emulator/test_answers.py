"""Answers that the user supplies: by a function, or in a file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from airflow_batches.emulator import Emulator, Rule
from airflow_batches.emulator.command import run
from airflow_batches.emulator.given import Request
from airflow_batches.emulator.rule_files import ANSWER_EXAMPLES, read_answers
from tests.unit.emulator.client import Client, line, lines, params
from tests.unit.emulator.conftest import Start
from tests.unit.emulator.processes import ANY_PORT, Program
from tests.unit.emulator.test_messages import events, post
from tests.unit.emulator.test_program import parsed
from tests.unit.emulator.test_result_lines import SCHEMA
from tests.unit.emulator.test_rules import texts

FORMAT: Final = {"format": {"type": "json_schema", "schema": SCHEMA}}
LABEL: Final = {"label": "positive", "type": "review"}
OVERLOADED: Final = {"type": "error", "error": {"type": "overloaded_error"}}


def content(client: Client, **changes: Any) -> list[dict[str, Any]]:
    """The content of the answer to one request."""
    return list(client.outcome([line("row", **changes)])["row"]["message"]["content"])


def by_first_word(request: Request) -> Any:
    """Answer as the last message says."""
    question = request["params"]["messages"][-1]["content"]
    return {
        "json": LABEL,
        "blocks": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "message": {"type": "message", "content": "cut", "stop_reason": "max_tokens"},
        "error": OVERLOADED,
        "nothing": None,
    }.get(question, f"{request['custom_id']}: {question}")


def asked(text: str) -> dict[str, Any]:
    return line(text, messages=[{"role": "user", "content": text}])


def test_a_function_answers_with_all_that_an_answer_can_be(start_kept: Start) -> None:
    _, client = start_kept(answer=by_first_word)
    found = client.outcome([asked(text) for text in ("json", "blocks", "message", "error", "nothing", "text")])
    told = {i: result.get("message", {}).get("content") for i, result in found.items()}
    assert [json.loads(block["text"]) for block in told["json"]] == [LABEL]
    assert [block["text"] for block in told["blocks"]] == ["a", "b"]
    assert [block["text"] for block in told["message"]] == ["cut"]
    assert found["message"]["message"]["stop_reason"] == "max_tokens"
    assert found["error"]["error"]["error"] == {"details": None, "type": "overloaded_error", "message": "Overloaded"}
    assert [block["text"] for block in told["nothing"]] == ["Echo: nothing"]
    assert [block["text"] for block in told["text"]] == ["text: text"]


def test_an_object_is_the_text_of_a_format_and_the_input_of_a_forced_tool(start: Start) -> None:
    _, client = start(answer=LABEL)
    assert json.loads(content(client, output_config=FORMAT)[0]["text"]) == LABEL
    tool = {"name": "save", "input_schema": {"type": "object"}}
    (block,) = content(client, tools=[tool], tool_choice={"type": "tool", "name": "save"})
    assert (block["type"], block["input"]) == ("tool_use", LABEL)


def test_rules_and_shares_come_before_the_answers_and_leave_the_rest_to_them(start: Start) -> None:
    rules = [
        Rule(custom_id="row-0", answer="from the rule"),
        Rule(custom_id="row-1", usage={"output_tokens": 9}),
        Rule(custom_id="row-2", outcome="canceled"),
        Rule(custom_id="row-3", stop_reason="refusal"),
    ]
    _, client = start(rules=rules, answer="from the answer", errored_share=0.3)
    found = client.outcome(lines(200))
    assert found["row-0"]["message"]["content"][0]["text"] == "from the rule"
    usage = found["row-1"]["message"]
    assert (usage["content"][0]["text"], usage["usage"]["output_tokens"]) == ("from the answer", 9)
    assert found["row-2"]["type"] == "canceled"
    assert found["row-3"]["message"]["content"] == []
    rest = [found[f"row-{number}"] for number in range(4, 200)]
    assert 30 < sum(result["type"] == "errored" for result in rest) < 90
    assert {r["message"]["content"][0]["text"] for r in rest if r["type"] == "succeeded"} == {"from the answer"}


def test_invalid_output_wins_over_the_answers_only_where_there_is_a_schema(start: Start) -> None:
    _, client = start(answer=LABEL, invalid_output_share=1)
    assert json.loads(content(client)[0]["text"]) == LABEL
    assert content(client, output_config=FORMAT)[0]["text"] != json.dumps(LABEL, separators=(",", ":"))


def test_answers_by_rule_come_before_the_one_for_all(start: Start) -> None:
    answers = [Rule(custom_id="row-1", answer="one"), Rule(text="refund", answer="money")]
    emulator, client = start(answers=answers, answer=lambda request: request["custom_id"])
    more = line("more", system="No refunds.")
    assert texts(client, [*lines(2), more]) == {"row-0": "row-0", "row-1": "one", "more": "money"}
    assert emulator.answers.applied() == [1, 1, 1]


def test_what_the_api_refuses_is_not_answered(start: Start) -> None:
    _, client = start(answer="fine")
    assert texts(client, [line("bad", max_tokens=0), line("good")]) == {"bad": "errored", "good": "fine"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_single_message_is_answered_too(stream: bool, start: Start) -> None:
    _, client = start(answer=by_first_word)
    question = params(messages=[{"role": "user", "content": "Hello"}], stream=stream)
    response = post(client, "", question)
    if stream:
        text = "".join(e["delta"]["text"] for e in events(response) if e["type"] == "content_block_delta")
    else:
        text = response.json()["content"][0]["text"]
    assert text == ": Hello"


@pytest.mark.parametrize(
    ("given", "status", "kind", "message"),
    [
        (OVERLOADED, 529, "overloaded_error", "Overloaded"),
        ({"type": "error", "error": {"type": "timeout_error", "message": "Late"}}, 504, "timeout_error", "Late"),
        ({"type": "error", "error": {"type": "new_error", "message": "New"}}, 500, "new_error", "New"),
        (lambda _: 1 / 0, 500, "api_error", "answer 1: function <lambda> raised ZeroDivisionError('division by zero')"),
    ],
)
def test_an_error_is_the_answer_to_a_single_message(
    given: Any, status: int, kind: str, message: str, start: Start
) -> None:
    _, client = start(answer=given)
    response = post(client, "", params())
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (status, kind)
    assert error["message"].replace("test_an_error_is_the_answer_to_a_single_message.<locals>.", "") == message


def test_rules_apply_to_single_messages_but_not_those_for_ids_and_ends_and_shares_of_settings(start: Start) -> None:
    rules = [Rule(custom_id="row-*", answer="row"), Rule(outcome="expired"), Rule(text="refund", answer="money")]
    _, client = start(rules=rules, errored_share=1)
    assert post(client, "", params()).json()["content"][0]["text"] == "Echo: Hello"
    assert post(client, "", params(system="No refunds.")).json()["content"][0]["text"] == "money"


def test_a_share_of_single_messages_is_drawn_by_their_params(start: Start) -> None:
    _, client = start(rules=[Rule(share=0.5, answer="rule")])

    def text(number: int) -> str:
        question = params(messages=[{"role": "user", "content": str(number)}])
        return str(post(client, "", question).json()["content"][0]["text"])

    found = [text(number) for number in range(60)]
    assert 12 < found.count("rule") < 48
    assert found == [text(number) for number in range(60)]


def test_a_message_recorded_without_a_signature_can_be_streamed(start: Start) -> None:
    _, client = start(answer=[{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Yes"}])
    found = events(post(client, "", params(stream=True)))
    assert [e["delta"] for e in found if e["type"] == "content_block_delta"] == [
        {"type": "thinking_delta", "thinking": "Hm."},
        {"type": "text_delta", "text": "Yes"},
    ]


def test_a_file_of_answers_is_read_by_line() -> None:
    assert [rule.as_dict() for rule in read_answers(ANSWER_EXAMPLES.encode())] == [
        {"custom_id": "row-7", "answer": {"label": "positive", "score": 0.9}},
        {"text": "refund", "model": "claude-haiku-*", "answer": {"label": "negative", "score": 0.1}},
        {"answer": {"label": "neutral", "score": 0.5}},
    ]


WRONG: Final = [
    ('{"custom_id": "a"}', "answer: missing"),
    ('{"answer": "a", "share": 0.5}', "share: only a rule has it (--rules), an answer does not"),
    ('{"answer": 5}', "answer: text, a list of content blocks, a message, an error, or an object to answer with"),
    ('{"answer": "a", "id": 5}', "Object contains unknown field `id`"),
    ('{"answer": "a"', "not a JSON object: "),
]


@pytest.mark.parametrize(("text", "why"), WRONG)
def test_the_program_names_file_and_line_of_what_is_wrong(
    text: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"answer": "fine"}\n\n' + text + "\n")
    assert run(parsed(*ANY_PORT, "--answers", str(path))) == 1
    assert capsys.readouterr().err.startswith(f"The emulator cannot start. {path}, line 3: {why}")


def test_the_program_takes_a_file_of_answers(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"custom_id": "row-0", "answer": {"n": 1}}\n{"text": "Hello", "answer": "by text"}\n')
    with Program("--answers", str(path), "--processing-time", "0") as program:
        client = Client(program)
        assert texts(client, lines(2)) == {"row-0": '{"n":1}', "row-1": "by text"}
        client.close()


def test_another_process_can_read_and_replace_the_answers(start: Start) -> None:
    emulator, client = start(answer="first")
    url = f"{emulator.control_url}/answers"
    client.made(lines(2))
    assert requests.get(url, timeout=60).json() == {"answers": [{"answer": "first", "applied": 2}]}
    put = requests.put(url, json={"answers": [{"answer": "second"}]}, timeout=60)
    assert put.json() == {"answers": [{"answer": "second", "applied": 0}]}
    assert texts(client, lines(1)) == {"row-0": "second"}
    wrong = requests.put(url, json={"answers": [{"outcome": "expired"}]}, timeout=60)
    assert (wrong.status_code, wrong.json()) == (400, {"error": "answer 1: answer: missing"})
    emulator.reset()
    assert texts(client, lines(1)) == {"row-0": "first"}


def test_the_manual_describes_rules_and_answers(start: Start) -> None:
    emulator, _ = start()
    manual = requests.get(f"{emulator.control_url}/", timeout=60).json()["rules"]
    assert manual["answers"] == ["custom_id", "model", "text", "answer"]
    assert manual["fields"]["text"]["text"].startswith("text that the system prompt or a message holds")
    assert "where" not in manual["fields"]


def test_what_is_no_answer_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="answer: text, a list of content blocks"):
        Emulator(answer=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="answer 2: share: only a rule has it"):
        Emulator(answers=[Rule(answer="a"), Rule(answer="b", share=0.5)])
    with pytest.raises(TypeError, match="answer 1: a Rule, not 'a'"):
        Emulator(answers=["a"])  # type: ignore[list-item]


def test_the_readmes_emulator_answers_as_it_says() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    (block,) = [found for found in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "Emulator(" in found]
    function = block[block.index("def answer") : block.index("with Emulator")]
    names: dict[str, Any] = {}
    exec(compile(function, "README.md", "exec"), names)  # our own README
    with Emulator(answer=names["answer"]) as emulator:
        client = Client(emulator)
        asked = [line(i, messages=[{"role": "user", "content": text}]) for i, text in (("a", "Never!"), ("b", "Good."))]
        assert texts(client, asked) == {"a": '{"label":"negative"}', "b": '{"label":"positive"}'}
        client.close()
