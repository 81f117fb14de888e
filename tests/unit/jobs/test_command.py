"""`airflow-batches plan`, `run`, `status` and `cancel`, as processes against the emulator."""

from __future__ import annotations

import json
import signal

import pytest

from airflow_batches.emulator import Fault
from tests.samples import some_requests
from tests.unit.jobs.program import Terminal
from tests.unit.jobs.test_run import numbered

# plan


def test_a_plan_shows_batches_findings_and_cost_and_sends_nothing(terminal: Terminal) -> None:
    done = terminal.call("plan", "requests.jsonl", "--canary", "2", "--max-requests", "5")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"10 from file://{terminal.folder}/requests.jsonl" in done.stdout
    assert "canary, 2 requests" in done.stdout
    assert "claude-haiku-4-5: 10 requests" in done.stdout
    assert "passed" in done.stdout
    assert "token count of 10 requests" in done.stdout
    assert "at most 100 tokens" in done.stdout
    assert "for the input, at most $" in done.stdout
    assert terminal.emulator.batches() == []
    assert [path.name for path in terminal.folder.iterdir()] == ["requests.jsonl"]


def test_an_offline_plan_calls_nothing_and_needs_no_key(terminal: Terminal) -> None:
    del terminal.environment["ANTHROPIC_API_KEY"]
    terminal.environment["ANTHROPIC_BASE_URL"] = "http://127.0.0.1:1"
    done = terminal.call("plan", "requests.jsonl", "--offline", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert (plan["requests"], len(plan["shards"])) == (10, 1)
    assert plan["estimate"]["method"] == "3 bytes for a token"


def test_a_plan_of_requests_that_the_api_would_refuse_fails(terminal: Terminal) -> None:
    terminal.write([*some_requests(2), {"custom_id": "r-0", "params": {"model": "claude-haiku-4-5"}}])
    done = terminal.call("plan", "requests.jsonl", "--offline")
    assert (done.returncode, done.stdout) == (1, "")
    assert "line 3, 'r-0': max_tokens: missing" in done.stderr
    assert "custom_id is that of line 1" in done.stderr


def test_a_plan_says_that_a_cap_is_too_low(terminal: Terminal) -> None:
    assert terminal.call("plan", "requests.jsonl", "--max-cost-usd", "5").returncode == 0
    done = terminal.call("plan", "requests.jsonl", "--max-cost-usd", "0.000001")
    assert done.returncode == 1
    assert "the input alone costs" in done.stderr
    unpriced = terminal.call("plan", "requests.jsonl", "--max-cost-usd", "0.000001", "--offline")
    assert unpriced.returncode == 1


# run


def test_a_run_publishes_and_the_same_command_sends_nothing_again(terminal: Terminal) -> None:
    done = terminal.run("--max-requests", "5", "--canary", "2")
    assert done.returncode == 0, done.stderr
    assert terminal.ids == sorted(numbered(10))
    manifest = json.loads(done.stdout)
    assert manifest == json.loads((terminal.job / "manifest.json").read_text())
    assert manifest["counts"] == {"succeeded": 10}
    assert "Submitted shard 0, 2 requests" in done.stderr
    assert f"published  file://{terminal.job}/manifest.json" in done.stderr
    again = terminal.run("--max-requests", "5", "--canary", "2")
    assert (again.returncode, json.loads(again.stdout)) == (0, manifest)
    assert len(terminal.emulator.batches()) == 3


def test_prompts_become_requests(terminal: Terminal) -> None:
    (terminal.folder / "defaults.json").write_text('{"max_tokens": 20}')
    terminal.write([{"prompt": "one"}, {"prompt": "two"}], "prompts.jsonl")
    shaping = ["--model", "claude-haiku-4-5", "--defaults", "@defaults.json", "--format", "jsonl.gz"]
    done = terminal.run(*shaping, requests="prompts.jsonl")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["requests"] == 2
    assert (terminal.job / "results-00000.jsonl.gz").exists()


def test_other_requests_for_the_same_folder_are_refused_in_one_line(terminal: Terminal) -> None:
    assert terminal.run().returncode == 0
    terminal.write(some_requests(9))
    done = terminal.run()
    assert (done.returncode, done.stdout) == (1, "")
    assert "holds a job with other requests" in done.stderr
    assert "Traceback" not in done.stderr
    done = terminal.run("--on-changed", "continue")
    assert (done.returncode, json.loads(done.stdout)["requests"]) == (0, 10)
    assert "The job goes on with the requests that it was planned with" in done.stderr
    assert len(terminal.emulator.batches()) == 1


def test_a_budget_stops_a_job_and_a_higher_one_lets_it_go_on(terminal: Terminal) -> None:
    done = terminal.run("--max-cost-usd", "0.000001")
    assert done.returncode == 3
    assert "over its budget" in done.stderr
    assert terminal.emulator.batches() == []
    status = terminal.call("status", "answers")
    assert "stopped by a rule; run it again to go on" in status.stdout
    assert "over its budget" in status.stdout
    assert terminal.run("--max-cost-usd", "1").returncode == 0


def test_too_many_failures_have_an_exit_code_of_their_own(terminal: Terminal) -> None:
    terminal.emulator.configure(errored_share=1.0, errored_type="invalid_request_error")
    done = terminal.run("--rounds", "1")
    assert done.returncode == 4
    assert "10 of 10 requests have no answer" in done.stderr
    assert (terminal.job / "failed.jsonl").exists()
    terminal.emulator.configure(errored_share=0.0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--max-cost-usd", "much"], ["--max-failure-rate", "5"], ["--canary", "-1"], ["--defaults", "[1]"],
        ["--defaults", "@missing.json"], ["--poll-interval", "0"], ["--max-tokens-growth", "1"], ["--format", "xml"],
        ["--output-schema", "missing.json"],
    ],
)  # fmt: skip
def test_wrong_options_are_wrong_usage(terminal: Terminal, arguments: list[str]) -> None:
    done = terminal.run(*arguments)
    assert done.returncode == 2
    assert f"argument {arguments[0]}" in done.stderr
    assert not terminal.job.exists()


def test_a_key_is_needed(terminal: Terminal) -> None:
    del terminal.environment["ANTHROPIC_API_KEY"]
    done = terminal.run()
    assert (done.returncode, done.stderr) == (1, "airflow-batches run: set ANTHROPIC_API_KEY to your API key\n")


# status


def test_a_status_needs_the_folder_alone_and_does_not_disturb_the_run(terminal: Terminal) -> None:
    process = terminal.begin_waiting()
    before = (terminal.job / "_job/ledger.json").read_bytes()
    calls = sum(terminal.emulator.counters.values())
    del terminal.environment["ANTHROPIC_API_KEY"]
    status = terminal.call("status", "answers")
    assert status.returncode == 0, status.stderr
    assert "running; runner " in status.stdout
    assert "0 landed, 2 under way, 0 unsent (round 1)" in status.stdout
    assert all(batch["id"] in status.stdout for batch in terminal.emulator.batches())
    assert "$0.00 spent" in status.stdout
    numbers = json.loads(terminal.call("status", "answers", "--json").stdout)
    assert numbers["batches"] == {"landed": 0, "under_way": 2, "unsent": 0}
    assert numbers["runs"] is True
    assert (terminal.job / "_job/ledger.json").read_bytes() == before
    assert sum(terminal.emulator.counters.values()) == calls
    process.kill()
    process.communicate()


@pytest.mark.parametrize("command", ["status", "cancel"])
def test_a_folder_without_a_job_is_an_error(terminal: Terminal, command: str) -> None:
    done = terminal.call(command, "answers")
    assert done.returncode == 1
    assert done.stderr == (
        f"airflow-batches {command}: file://{terminal.job} holds no job: there is no _job/ledger.json. Check the path\n"
    )


def test_a_damaged_ledger_is_told_without_a_traceback(terminal: Terminal) -> None:
    assert terminal.run().returncode == 0
    (terminal.job / "_job/ledger.json").write_text("{")
    for command in (["status", "answers"], ["cancel", "answers"]):
        done = terminal.call(*command)
        assert done.returncode == 1
        assert "Nothing was sent, and nothing starts over" in done.stderr
        assert "Traceback" not in done.stderr


# cancel


def test_a_cancel_stops_the_run_until_each_batch_is_confirmed_and_another_run_goes_on(terminal: Terminal) -> None:
    process = terminal.begin_waiting()
    terminal.emulator.configure(cancel_time=0)
    refused = terminal.emulator.fault(Fault(endpoint="cancel", action="status", status=500, times=2))
    done = terminal.call("cancel", "answers", "--poll-interval", "0.05")
    assert done.returncode == 0, done.stderr
    assert refused.struck == 2
    assert terminal.statuses == {"ended"}
    assert "10 canceled; they stay in _job/landed" in done.stdout
    assert "nothing else is billed" in done.stdout
    assert "canceled\n" in terminal.call("status", "answers").stdout.splitlines(keepends=True)[0]
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert terminal.call("cancel", "answers").returncode == 0
    terminal.emulator.configure(processing_time=0)
    again = terminal.run("--max-requests", "5")
    assert again.returncode == 0, again.stderr
    assert "The job was canceled, and goes on" in again.stderr
    assert terminal.ids == sorted(numbered(10))
    assert len(terminal.emulator.batches()) == 4


def test_a_published_job_cannot_be_canceled(terminal: Terminal) -> None:
    assert terminal.run().returncode == 0
    done = terminal.call("cancel", "answers")
    assert done.returncode == 0
    assert "Nothing to cancel" in done.stdout
    assert terminal.ids == sorted(numbered(10))
