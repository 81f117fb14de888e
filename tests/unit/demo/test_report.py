"""The tables at the end."""

from __future__ import annotations

import io
import json
from typing import Any

from rich.console import Console

from airflow_batches.demo.report import RESULTS_SHOWN, TEXT_SHOWN, flat, print_report
from airflow_batches.demo.screen import Step


def line(custom_id: str, result: dict[str, Any]) -> bytes:
    return json.dumps({"custom_id": custom_id, "result": result}).encode() + b"\n"


def answer(text: str) -> dict[str, Any]:
    return {"type": "succeeded", "message": {"content": [{"type": "text", "text": text}]}}


def report(manifest: dict[str, Any] | None = None, lines: list[bytes] | None = None) -> str:
    console = Console(file=io.StringIO(), width=240)
    print_report(console, manifest or {}, lines or [], [Step("Airflow starts", "", started=1.0, ended=11.5)])
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip().split("  ", 1)] for line in text.splitlines()]


def test_the_manifest_is_told_whole_and_flat() -> None:
    manifest = {
        "uri": "file:///a",
        "counts": {"succeeded": 12345},
        "usage": {"claude-x": {"input_tokens": 7}},
        "none": None,
    }
    assert list(flat(manifest)) == [
        ("uri", "file:///a"),
        ("counts succeeded", "12,345"),
        ("usage claude-x input tokens", "7"),
    ]
    assert ["counts succeeded", "12,345"] in rows(report(manifest))


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
    assert ["Airflow starts", "10.5 s"] in rows(report())
