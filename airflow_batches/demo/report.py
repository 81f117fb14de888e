"""The report at the end: the manifest, the first results, and the time of each step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from airflow_batches.api.result_models import Errored, ResultItem, Succeeded
from airflow_batches.demo.screen import Step
from airflow_batches.landing.manifest import Manifest

RESULTS_SHOWN: Final = 5
"""Results in the report; chosen: the report fits on a screen."""
TEXT_SHOWN: Final = 160
"""Characters of an answer; chosen: two lines of a table."""

Row = tuple[str, str]


def print_report(console: Console, manifest: Manifest, lines: Iterable[bytes], steps: Iterable[Step]) -> None:
    """Print the report from the manifest, the landed lines and the screen's steps."""
    console.print(_table("Manifest", manifest_rows(manifest)))
    console.print(_table("The first results", map(_result, _first(lines))))
    console.print(_table("Where the time went", _times(steps)))


def manifest_rows(manifest: Manifest) -> Iterator[Row]:
    """Yield the rows for the fields of the manifest that matter at first sight."""
    yield "batch", manifest.batch_id
    yield "results", manifest.uri
    yield "lines", f"{manifest.lines:,}, {'verified' if manifest.verified else 'not as the batch counts them'}"
    yield "by type", _listed(manifest.counts)
    if manifest.error_types:
        yield "errors", _listed(manifest.error_types)
    yield "sha256", manifest.results.sha256
    for model, usage in manifest.usage.items():
        yield "tokens", f"{usage.input_tokens:,} in, {usage.output_tokens:,} out, {model}"
    if manifest.cost_usd and manifest.cost_usd.total:
        yield "cost", f"{manifest.cost_usd.total} USD on Anthropic's own API"
    yield "batch ended", str(manifest.batch_ended_at)
    yield "landed", f"{manifest.landed_at}, in {manifest.seconds:.2f} s"


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
