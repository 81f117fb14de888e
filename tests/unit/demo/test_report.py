"""The tables at the end."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from rich.console import Console

from airflow_batches.demo.report import RESULTS_SHOWN, TEXT_SHOWN, print_report
from airflow_batches.demo.screen import Step
from airflow_batches.jobs.ledger import TokenEstimate
from airflow_batches.jobs.manifest import BatchSummary, JobManifest, RoundSummary
from airflow_batches.landing.manifest import LandedObject
from airflow_batches.landing.usage import ModelUsage


def line(custom_id: str, result: dict[str, Any]) -> bytes:
    return json.dumps({"custom_id": custom_id, "result": result}).encode() + b"\n"


def answer(text: str) -> dict[str, Any]:
    return {"type": "succeeded", "message": {"content": [{"type": "text", "text": text}]}}


def landed_object(name: str, lines: int, sha256: str) -> LandedObject:
    return LandedObject(uri=f"file:///job/{name}", format="jsonl", lines=lines, bytes=9, sha256=sha256)


NOW = datetime(2026, 11, 24, 3, 45, tzinfo=UTC)
MANIFEST = JobManifest(
    job_id="j",
    source="prompts",
    fingerprint="f",
    requests=12_345,
    counts={"succeeded": 12_344, "errored": 1, "expired": 0},
    error_types={"api_error": 1},
    rounds=(
        RoundSummary(
            round=1,
            requests=12_345,
            counts={"succeeded": 12_340, "errored": 5},
            error_types={"overloaded_error": 5},
            again={"overloaded_error": 5},
        ),
        RoundSummary(round=2, requests=5, counts={"succeeded": 4, "errored": 1}),
    ),
    batches=(
        BatchSummary(id="msgbatch_01", round=1, canary=True, requests=45),
        BatchSummary(id="msgbatch_02", round=1, requests=12_300),
        BatchSummary(id="msgbatch_03", round=2, requests=5),
    ),
    cost_usd=Decimal("0.25"),
    estimate=TokenEstimate(floor_usd=Decimal("0.01"), ceiling_usd=Decimal("0.5")),
    results=(landed_object("results-00000.jsonl", 12_344, "ab12" * 16),),
    failed=landed_object("failed.jsonl", 1, "cd34" * 16),
    started_at=NOW,
)


def report(lines: list[bytes] | None = None, **changes: Any) -> str:
    console = Console(file=io.StringIO(), width=240)
    manifest = msgspec.structs.replace(MANIFEST, **changes)
    steps = [Step("Airflow starts", "", started=1.0, ended=11.5), Step("The DAG runs", "", started=11.5, ended=13.5)]
    print_report(console, manifest, lines or [], steps)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip().split("  ", 1)] for line in text.splitlines()]


def test_the_manifest_is_told_in_few_rows_the_estimate_beside_the_bill() -> None:
    assert [row for row in rows(report()) if len(row) == 2][2:9] == [
        ["folder", "file:///job"],
        ["results-00000.jsonl", "12,344 lines, sha256 ab12ab12ab12…"],
        ["failed.jsonl", "1 line, sha256 cd34cd34cd34…"],
        ["answers", "12,344 succeeded, 1 errored of 12,345 requests"],
        ["errors", "1 api_error"],
        ["estimate", "$0.01 for the input, at most $0.50 in all"],
        ["bill", "$0.25 on Anthropic's own API"],
    ]


def test_each_round_is_told_with_its_batches_and_what_was_sent_again() -> None:
    sent = report().partition("What came back")[0]
    assert [row for row in rows(sent) if row != [""]][1:] == [
        ["round 1", "12,345 requests: 12,340 succeeded, 5 errored (overloaded_error); sent again: 5"],
        ["msgbatch_01: 45 requests, the canary"],
        ["msgbatch_02: 12,300 requests"],
        ["round 2", "5 requests: 4 succeeded, 1 errored"],
        ["msgbatch_03: 5 requests"],
    ]


def test_tokens_are_told_for_each_model() -> None:
    usage = {"claude-x": ModelUsage(answers=2, input_tokens=1500, output_tokens=7)}
    assert ["tokens", "1,500 in, 7 out, claude-x"] in rows(report(usage=usage))


def test_what_is_not_there_is_left_out_and_what_is_not_known_is_said() -> None:
    shown = rows(report(error_types={}, cost_usd=None))
    assert not {"errors", "tokens"} & {row[0] for row in shown}
    assert ["bill", "an unknown amount on Anthropic's own API"] in shown


def test_a_result_is_its_answer_or_why_there_is_none() -> None:
    error = {"type": "error", "error": {"type": "api_error", "message": "Internal server error"}}
    shown = rows(
        report(
            lines=[
                line("lima", answer("Ceviche\n and fog.")),
                line("oslo", {"type": "errored", "error": error}),
                line("riga", {"type": "expired"}),
                b"\n",
            ]
        )
    )
    assert ["lima", "Ceviche and fog."] in shown
    assert ["oslo", "errored: api_error: Internal server error"] in shown
    assert ["riga", "expired"] in shown


def test_long_answers_are_cut_and_few_are_shown() -> None:
    shown = rows(report(lines=[line(f"city-{number}", answer("x" * 999)) for number in range(20)]))
    cities = [row for row in shown if row[0].startswith("city-")]
    assert cities == [[f"city-{number}", "x" * TEXT_SHOWN + "…"] for number in range(RESULTS_SHOWN)]


def test_an_answer_cannot_style_the_terminal() -> None:
    assert ["lima", "[red]really[/red]"] in rows(report(lines=[line("lima", answer("[red]really[/red]"))]))


def test_the_time_of_every_step_is_told() -> None:
    shown = rows(report())
    assert ["Airflow starts", "10.5 s"] in shown
    assert ["The DAG runs", "2.0 s"] in shown
    assert ["in all", "12.5 s"] in shown
