"""Rules: which request each applies to, what is no rule, and how they are given."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_batches.emulator import Emulator, Rule
from airflow_batches.emulator.given import Request
from airflow_batches.emulator.rule_files import EXAMPLES, make_rules, read_rules
from tests.unit.emulator.client import Client, line, lines
from tests.unit.emulator.conftest import Start
from tests.unit.emulator.processes import Program


def texts(client: Client, asked: list[dict[str, Any]]) -> dict[str, str]:
    """custom_id -> text of the answer, or the result's type."""
    return {i: answered(result) for i, result in client.outcome(asked).items()}


def answered(result: dict[str, Any]) -> str:
    return str(result["message"]["content"][0]["text"] if result["type"] == "succeeded" else result["type"])


def test_the_first_rule_that_matches_decides(start: Start) -> None:
    rules = [
        Rule(custom_id="row-1", answer="by id"),
        Rule(custom_id="row-[23]", answer="by pattern"),
        Rule(custom_id="row-?", answer="too late for 1 to 3"),
        Rule(custom_id="other*", answer="no such request"),
    ]
    _, client = start(rules=rules)
    assert texts(client, lines(11)) == {
        "row-1": "by id",
        "row-2": "by pattern",
        "row-3": "by pattern",
        "row-10": "Echo: Hello",
        **{f"row-{n}": "too late for 1 to 3" for n in (0, 4, 5, 6, 7, 8, 9)},
    }


def test_a_function_can_decide_by_the_params(start: Start) -> None:
    def asks_for_more(request: Request) -> bool:
        return int(request["params"]["max_tokens"]) > 100

    _, client = start(rules=[Rule(custom_id="row-*", where=asks_for_more, answer="more")])
    asked = [line("row-a", max_tokens=10), line("row-b", max_tokens=200), line("else", max_tokens=200)]
    assert texts(client, asked) == {"row-a": "Echo: Hello", "row-b": "more", "else": "Echo: Hello"}


def test_what_the_api_refuses_stays_refused_and_counts_for_no_rule(start: Start) -> None:
    emulator, client = start(rules=[Rule(answer="fine", times=1)])
    assert texts(client, [line("bad", max_tokens=0), line("good")]) == {"bad": "errored", "good": "fine"}
    assert emulator.rules.applied() == [1]


def test_a_rule_is_exhausted_after_so_many_requests(start: Start) -> None:
    _, client = start(rules=[Rule(outcome="errored", times=2)])
    assert list(texts(client, lines(4)).values()).count("errored") == 2
    assert "errored" not in texts(client, lines(4)).values()


def test_a_request_sent_again_succeeds_where_the_rule_counts_by_id(start: Start) -> None:
    _, client = start(rules=[Rule(outcome="errored", share=0.5, times_per_id=1)])
    first = texts(client, lines(100))
    failed = [custom_id for custom_id, text in first.items() if text == "errored"]
    assert 30 < len(failed) < 70
    assert set(texts(client, [line(custom_id) for custom_id in failed]).values()) == {"Echo: Hello"}


def test_shares_of_several_rules_lie_side_by_side_and_before_those_of_the_settings(start: Start) -> None:
    rules = [Rule(share=0.3, answer="a"), Rule(share=0.3, answer="b")]
    _, client = start(rules=rules, errored_share=0.2, expired_share=0.2)
    found = list(texts(client, lines(1000)).values())
    assert set(found) == {"a", "b", "errored", "expired"}
    assert all(abs(found.count(text) - 1000 * share) < 60 for text, share in [("a", 0.3), ("b", 0.3), ("errored", 0.2)])


def test_the_same_requests_have_the_share_on_every_run(start: Start) -> None:
    rules = [Rule(outcome="expired", share=0.4)]
    (_, one), (_, two), (_, other) = start(rules=rules), start(rules=rules), start(rules=rules, seed=1)
    assert texts(one, lines(100)) == texts(two, lines(100)) != texts(other, lines(100))


def test_a_batch_that_is_not_created_exhausts_no_rule(start: Start) -> None:
    emulator, client = start(rules=[Rule(answer="x", times=1, times_per_id=1)], queue_limit=1, processing_time=60)
    assert client.create(lines(2)).status_code == 429
    assert emulator.rules.applied() == [0]
    batch = client.made(lines(1))
    emulator.end(batch)
    assert answered(client.read(batch)["row-0"]) == "x"


def test_a_stored_batch_keeps_what_was_decided(start_kept: Start) -> None:
    emulator, client = start_kept(rules=[Rule(answer="before")])
    batch = client.made(lines(1))
    emulator.set_rules([Rule(answer="after")])
    assert answered(client.read(batch)["row-0"]) == "before"
    assert texts(client, lines(1)) == {"row-0": "after"}
    emulator.reset()
    assert texts(client, lines(1)) == {"row-0": "before"}


def broken(_: Request) -> Any:
    raise LookupError("no such row")


def number(_: Request) -> Any:
    return 5


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Rule(custom_id="row-1", where=broken), "rule 2: function broken raised LookupError('no such row')"),
        (Rule(custom_id="row-1", answer=broken), "rule 2: function broken raised LookupError('no such row')"),
        (Rule(custom_id="row-1", answer=number), "rule 2: function number returned no answer: text, a list of"),
    ],
)
def test_a_function_that_fails_errors_its_request_and_the_log_names_both(
    rule: Rule, text: str, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    _, client = start(rules=[Rule(custom_id="else"), rule])
    found = client.outcome(lines(3))
    assert [i for i, result in found.items() if result["type"] == "errored"] == ["row-1"]
    error = found["row-1"]["error"]["error"]
    assert error["type"] == "api_error"
    assert error["message"].startswith(text)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        f"{error['message']} (request 'row-1')"
    ]


def test_functions_that_fail_for_many_requests_are_logged_in_few_lines(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    _, client = start(answer=broken)
    found = client.outcome(lines(500))
    assert {result["error"]["error"]["type"] for result in found.values()} == {"api_error"}
    messages = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(messages) == 11
    assert messages[-1] == "functions of rules failed for 490 more requests"


def test_a_rule_can_look_at_the_model_and_the_texts(start: Start) -> None:
    rules = [Rule(model="claude-opus-*", answer="large"), Rule(text="refund", answer="money")]
    _, client = start(rules=rules)
    asked = [
        line("a", model="claude-opus-4-8"),
        line("b", system="You handle refunds."),
        line("c", messages=[{"role": "user", "content": [{"type": "text", "text": "A refund, please"}]}]),
        line("d"),
    ]
    assert texts(client, asked) == {"a": "large", "b": "money", "c": "money", "d": "Echo: Hello"}


def test_many_rules_by_id_cost_one_look_up_a_request(start: Start) -> None:
    rules = [Rule(custom_id=f"row-{n}", answer=str(n)) for n in range(20_000)]
    _, client = start(rules=rules)
    assert texts(client, lines(20_000)) == {f"row-{n}": str(n) for n in range(20_000)}


WRONG: list[tuple[Any, str]] = [
    ({"share": 2}, "share: between 0 and 1, not 2.0"),
    ({"share": "x"}, "share: Expected `float`, got `str`"),
    ({"times": 0}, "times: 1 or more, not 0"),
    ({"times_per_id": -1}, "times_per_id: 1 or more, not -1"),
    ({"custom_id": ""}, "custom_id: an id or a pattern, not empty"),
    ({"where": "x"}, "where: a function, not in JSON"),
    ({"outcome": "x"}, "outcome: Invalid enum value 'x'"),
    (
        {"answer": 5},
        "answer: text, a list of content blocks, a message, an error, or an object to answer with as JSON, ",
    ),
    ({"answer": [{"text": "no type"}]}, "answer: text, a list of content blocks, a message, an error, or an object"),
    ({"answer": {"type": "message", "content": 5}}, "answer: text, a list of content blocks, a message, an error, or"),
    ({"answer": {"type": "error"}}, "answer: text, a list of content blocks, a message, an error, or an object"),
    ({"text": ""}, "text: a text, not empty"),
    ({"model": ""}, "model: a model or a pattern, not empty"),
    ({"answer": "x", "outcome": "expired"}, "answer: only with the outcome succeeded, not expired"),
    ({"usage": {}, "outcome": "errored"}, "usage: only with the outcome succeeded or invalid_output, not errored"),
    ({"error_type": "api_error"}, "error_type: only with the outcome errored, not succeeded"),
    ({"delay": -1}, "delay: 0 or more seconds, not -1.0"),
    ({"nope": 1}, "Object contains unknown field `nope`"),
    (5, "Expected `object`, got `int`"),
]


@pytest.mark.parametrize(("value", "text"), WRONG)
def test_an_invalid_rule_is_named_by_number_and_field(value: Any, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"rule 2: {text}")):
        make_rules([{}, value])


def test_a_rule_checks_itself_in_python_too() -> None:
    with pytest.raises(ValueError, match="share: between 0 and 1"):
        Rule(share=1.5)
    with pytest.raises(TypeError, match="rule 2: a Rule, not 5"):
        Emulator(rules=[Rule(), 5])  # type: ignore[list-item]


def test_a_file_of_rules_is_read_by_line(tmp_path: Path) -> None:
    assert [rule.as_dict() for rule in read_rules(EXAMPLES.encode() + b"\n \n")] == [
        {"custom_id": "row-7", "answer": "positive"},
        {"custom_id": "de-*", "answer": [{"type": "text", "text": "gut"}], "usage": {"output_tokens": 900}},
        {"custom_id": "long-?", "stop_reason": "max_tokens"},
        {"outcome": "errored", "error_type": "overloaded_error", "share": 0.1, "times_per_id": 1},
        {"outcome": "invalid_output", "share": 0.05},
        {"custom_id": "slow", "delay": 3600.0},
    ]
    with pytest.raises(ValueError, match=r"r\.jsonl, line 3: not a JSON object: JSON is malformed"):
        read_rules(b'{}\n\n{"custom_id": x}\n', "r.jsonl")


def test_the_program_takes_a_file_of_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.jsonl"
    path.write_text('{"custom_id": "row-0", "answer": "from the file"}\n')
    with Program("--rules", str(path)) as program:
        client = Client(program)
        assert texts(client, lines(2)) == {"row-0": "from the file", "row-1": "Echo: Hello"}
        client.close()


def test_another_process_can_read_and_replace_the_rules(start: Start) -> None:
    emulator, client = start(rules=[Rule(custom_id="row-0", where=lambda _: True, answer="x")])
    url = f"{emulator.control_url}/rules"
    client.made(lines(2))
    (shown,) = requests.get(url, timeout=60).json()["rules"]
    assert shown.pop("where").startswith("function test_another_process")
    assert shown == {"custom_id": "row-0", "answer": "x", "applied": 1}
    put = requests.put(url, json={"rules": [{"outcome": "canceled"}]}, timeout=60)
    assert put.json() == {"rules": [{"outcome": "canceled", "applied": 0}]}
    assert texts(client, lines(1)) == {"row-0": "canceled"}
    wrong = requests.put(url, json={"rules": [{}, {"share": 2}]}, timeout=60)
    assert (wrong.status_code, wrong.json()) == (400, {"error": "rule 2: share: between 0 and 1, not 2.0"})
    assert texts(client, lines(1)) == {"row-0": "canceled"}
