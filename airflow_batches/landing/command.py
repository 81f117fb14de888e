"""`airflow-batches land`: land a batch's results from a terminal.

The key comes from the environment (`ANTHROPIC_API_KEY`), because other users can see a process's command line. The
manifest goes to standard output, everything else to standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from airflow_batches.api import BatchesClient, InvalidRequest
from airflow_batches.landing.engine import land
from airflow_batches.landing.progress import Progress

KEY: Final = "ANTHROPIC_API_KEY"
BASE_URL: Final = "ANTHROPIC_BASE_URL"
REDRAW_EVERY_S: Final = 0.2
"""Seconds between two updates of the bar. Chosen: five a second look continuous and cost next to nothing."""
LOG_EVERY_S: Final = 5.0
"""Seconds between two lines where standard error is not a terminal. Chosen: as `engine.PROGRESS_EVERY_S`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `run` reads."""
    parser.add_argument("batch_id", metavar="BATCH_ID", help="a batch that has ended")
    parser.add_argument("path", metavar="PATH", help="file, or URI such as s3://bucket/key.jsonl; .gz, .zst, .parquet")
    parser.add_argument("--failed-path", metavar="PATH", help="where the lines go that did not succeed")
    parser.add_argument("--format", choices=("jsonl", "parquet"), help="default: what the path ends in")
    parser.add_argument("--verify", choices=("error", "warn"), default="error", help="what a mismatch does")
    parser.add_argument("--overwrite", action="store_true", help="land even where something is")
    parser.add_argument("--ids-digest", metavar="HEX", help="of the custom_ids that were sent, to prove them")
    parser.add_argument("--timeout", type=float, default=3600.0, metavar="SECONDS", help="for all of it (3600)")
    parser.add_argument("--stall-timeout", type=float, default=60.0, metavar="SECONDS", help="for each silence (60)")
    add_base_url(parser)


def add_base_url(parser: argparse._ActionsContainer) -> None:
    """Add the option that `client_from_environment` takes."""
    parser.add_argument("--base-url", metavar="URL", help=f"of the API (default: {BASE_URL}, or Anthropic's own)")


def run(args: argparse.Namespace, redraw_every_s: float = REDRAW_EVERY_S) -> int:
    """Land and print the manifest.

    :param args: the parsed arguments of `add_arguments`.
    :param redraw_every_s: seconds between two updates of the bar.
    :return: the exit status 0.
    :raises BatchesError: what `land` raises, or `InvalidRequest` without a key in the environment.
    """
    with client_from_environment(args.base_url) as client, _display() as progress:
        manifest = land(
            client,
            args.batch_id,
            local_uri(args.path),
            failed_path=local_uri(args.failed_path) if args.failed_path else None,
            format=args.format,
            verify=args.verify,
            overwrite=args.overwrite,
            receipt=args.ids_digest,
            timeout=args.timeout,
            stall_timeout=args.stall_timeout,
            progress=progress,
            progress_every=redraw_every_s if sys.stderr.isatty() else LOG_EVERY_S,
        )
    sys.stdout.write(manifest.to_json().decode())
    return 0


def client_from_environment(base_url: str | None) -> BatchesClient:
    """Return a client with the key in the environment.

    :param base_url: of the API; None: that of the environment, or Anthropic's own.
    :raises InvalidRequest: there is no key.
    """
    key = os.environ.get(KEY)
    if not key:
        raise InvalidRequest(f"set {KEY} to your API key")
    url = base_url or os.environ.get(BASE_URL)
    return BatchesClient(key, base_url=url) if url else BatchesClient(key)


def local_uri(path: str) -> str:
    """Return a URI; a path without a scheme names a local file."""
    return path if "://" in path else f"file://{Path(path).absolute()}{'/' if path.endswith('/') else ''}"


@contextmanager
def _display() -> Iterator[Callable[[Progress], None]]:
    """Give the function that shows progress.

    It updates a bar, which disappears at the end; without a terminal it prints lines.
    """
    if not sys.stderr.isatty():
        yield lambda progress: print(progress, file=sys.stderr, flush=True)  # noqa: T201
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    console = Console(stderr=True)
    bar, text = BarColumn(bar_width=None), TextColumn("{task.description}", table_column=Column(no_wrap=True))
    with Bars(bar, text, console=console, transient=True, expand=True) as bars:
        task = bars.add_task("asking for the results", total=None)
        yield lambda progress: bars.update(
            task, total=progress.expected, completed=progress.lines, description=str(progress)
        )
