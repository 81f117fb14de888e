"""What is printed when the demo is over: the manifest, the first results, and where the time went."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from airflow_batches.api.models import Errored, ResultItem, Succeeded
from airflow_batches.demo.screen import Step

RESULTS_SHOWN: Final = 5
TEXT_SHOWN: Final = 160
"""Characters of an answer."""


def print_report(console: Console, manifest: Mapping[str, Any], lines: Iterable[bytes], steps: Iterable[Step]) -> None:
    """`lines` are result lines as they landed, `steps` over."""
    console.print(_table("Manifest", flat(manifest)))
    console.print(_table("The first results", map(_result, _first(lines))))
    console.print(_table("Where the time went", ((step.title, f"{step.seconds():.1f} s") for step in steps)))


def flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """`{"counts": {"succeeded": 7}}` as `counts succeeded`, `7`."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{name} {key}".strip().replace("_", " "))
    elif isinstance(value, int) and not isinstance(value, bool):
        yield name, f"{value:,}"
    elif value is not None:
        yield name, str(value)


def _first(lines: Iterable[bytes]) -> list[ResultItem]:
    items = (ResultItem.model_validate_json(line) for line in lines if line.strip())
    return [item for item, _ in zip(items, range(RESULTS_SHOWN), strict=False)]


def _result(item: ResultItem) -> tuple[str, str]:
    match item.result:
        case Succeeded(message=message):
            text = " ".join(message.text.split())
            return item.custom_id, text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…"
        case Errored(error=error):
            return item.custom_id, f"errored: {error.type}: {error.message}"
        case other:
            return item.custom_id, other.type


def _table(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None, padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    return table
