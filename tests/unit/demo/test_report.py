"""The tables at the end."""

from __future__ import annotations

import io
import json
from typing import Any

from rich.console import Console

from airflow_batches.demo.report import RESULTS_SHOWN, TEXT_SHOWN, print_report
from airflow_batches.demo.screen import Step
from airflow_batches.landing.manifest import Manifest


def line(custom_id: str, result: dict[str, Any]) -> bytes:
    return json.dumps({"custom_id": custom_id, "result": result}).encode() + b"\n"


def answer(text: str) -> dict[str, Any]:
    return {"type": "succeeded", "message": {"content": [{"type": "text", "text": text}]}}


MANIFEST: dict[str, Any] = {
    "batch_id": "msgbatch_01",
    "results": {"uri": "file:///landed.jsonl", "format": "jsonl", "lines": 12345, "bytes": 9, "sha256": "ab12"},
    "lines": 12345,
    "counts": {"succeeded": 12344, "errored": 1, "canceled": 0, "expired": 0},
    "error_types": {"api_error": 1},
    "ids_digest": "cd34",
    "verified": True,
    "usage": {},
    "cost_usd": {"total": "0.25", "by_model": {}, "source": "a list"},
    "batch_ended_at": "2026-11-24T03:45:42+00:00",
    "started_at": "2026-11-24T03:45:49+00:00",
    "landed_at": "2026-11-24T03:45:50+00:00",
    "seconds": 0.5,
    "lines_per_second": 24690.0,
}


def report(lines: list[bytes] | None = None, **changes: object) -> str:
    console = Console(file=io.StringIO(), width=240)
    manifest = Manifest.from_dict(MANIFEST | changes)
    steps = [Step("Airflow starts", "", started=1.0, ended=11.5), Step("The DAG runs", "", started=11.5, ended=13.5)]
    print_report(console, manifest, lines or [], steps)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip().split("  ", 1)] for line in text.splitlines()]


def test_the_manifest_is_told_in_few_rows() -> None:
    assert [row for row in rows(report()) if len(row) == 2][:8] == [
        ["batch", "msgbatch_01"],
        ["results", "file:///landed.jsonl"],
        ["lines", "12,345, verified"],
        ["by type", "12,344 succeeded, 1 errored"],
        ["errors", "1 api_error"],
        ["sha256", "ab12"],
        ["cost", "0.25 USD on Anthropic's own API"],
        ["batch ended", "2026-11-24T03:45:42+00:00"],
    ]


def test_tokens_are_told_for_each_model() -> None:
    usage = {"claude-x": {"answers": 2, "input_tokens": 1500, "output_tokens": 7}}
    assert ["tokens", "1,500 in, 7 out, claude-x"] in rows(report(usage=usage))


def test_what_is_not_known_or_not_there_is_left_out() -> None:
    named = [row[0] for row in rows(report(error_types={}, cost_usd=None))]
    assert not {"errors", "cost", "tokens"} & set(named)


def test_a_mismatch_is_said() -> None:
    assert ["lines", "12,345, not as the batch counts them"] in rows(report(verified=False))


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
