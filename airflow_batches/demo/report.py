"""The report at the end: the manifest, the first results, and the time of each step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from airflow_batches.api.result_models import Errored, ResultItem, Succeeded
from airflow_batches.demo.screen import Step
from airflow_batches.jobs.manifest import JobManifest, RoundSummary
from airflow_batches.jobs.money import usd

RESULTS_SHOWN: Final = 5
"""Results in the report; chosen: the report fits on a screen."""
TEXT_SHOWN: Final = 160
"""Characters of an answer; chosen: two lines of a table."""

SHA_SHOWN: Final = 12
"""Characters of a hash; chosen: enough to recognize it, and the manifest has it whole."""

Row = tuple[str, str]


def print_report(console: Console, manifest: JobManifest, lines: Iterable[bytes], steps: Iterable[Step]) -> None:
    """Print the report from the manifest, the landed lines and the screen's steps."""
    console.print(_table("What was sent", sent_rows(manifest)))
    console.print(_table("What came back", manifest_rows(manifest)))
    console.print(_table("The first answers", map(_result, _first(lines))))
    console.print(_table("Where the time went", _times(steps)))


def sent_rows(manifest: JobManifest) -> Iterator[Row]:
    """Yield a row for each round, and one for each of its batches."""
    for each in manifest.rounds:
        yield f"round {each.round}", f"{_counted(each.requests, 'request')}: {_listed(each.counts)}{_again(each)}"
        for batch in manifest.batches:
            if batch.round == each.round:
                yield "", f"{batch.id}: {_counted(batch.requests, 'request')}{', the canary' if batch.canary else ''}"


def manifest_rows(manifest: JobManifest) -> Iterator[Row]:
    """Yield the rows for the fields of the manifest that matter at first sight."""
    folder = manifest.failed.uri.rpartition("/")[0]
    yield "folder", folder
    for part in (*manifest.results, manifest.failed):
        yield part.uri.removeprefix(f"{folder}/"), f"{_counted(part.lines, 'line')}, sha256 {part.sha256[:SHA_SHOWN]}…"
    yield "answers", f"{_listed(manifest.counts)} of {manifest.requests:,} requests"
    if manifest.error_types:
        yield "errors", _listed(manifest.error_types)
    for model, usage in manifest.usage.items():
        yield "tokens", f"{usage.input_tokens:,} in, {usage.output_tokens:,} out, {model}"
    estimate = manifest.estimate
    yield "estimate", f"{usd(estimate.floor_usd)} for the input, at most {usd(estimate.ceiling_usd)} in all"
    yield "bill", f"{usd(manifest.cost_usd)} on Anthropic's own API"


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _again(each: RoundSummary) -> str:
    if not sum(each.again.values()):
        return ""
    kinds = ", ".join(each.error_types) or ", ".join(each.again)
    return f" ({kinds}); sent again: {sum(each.again.values()):,}"


def _times(steps: Iterable[Step]) -> Iterator[Row]:
    spent = [(step.title, step.seconds()) for step in steps]
    for title, seconds in [*spent, ("in all", sum(seconds for _, seconds in spent))]:
        yield title, f"{seconds:.1f} s"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items() if number)


def _first(lines: Iterable[bytes]) -> list[ResultItem]:
    items = (ResultItem.model_validate_json(line) for line in lines if line.strip())
    return [item for item, _ in zip(items, range(RESULTS_SHOWN), strict=False)]


def _result(item: ResultItem) -> Row:
    match item.result:
        case Succeeded(message=message):
            text = " ".join(message.text.split())
            return item.custom_id, text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…"
        case Errored(error=error):
            return item.custom_id, f"errored: {error.type}: {error.message}"
        case other:
            return item.custom_id, other.type


def _table(title: str, rows: Iterable[Row]) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", show_header=False, box=None)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return table
