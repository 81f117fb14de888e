"""`airflow-batches demo`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

PAGE_WIDTH: Final = 120
"""Columns when the output is not a terminal; chosen: a row of the report fits, as does a log viewer."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's flags."""
    parser.add_argument(
        "--live",
        action="store_true",
        help="use Anthropic's API with the key in ANTHROPIC_API_KEY. This costs money: eight short requests, at most "
        "about 0.4 US cents. It may take an hour or two; Ctrl-C cancels the batches",
    )
    parser.add_argument(
        "--ui",
        action="store_true",
        help="keep Airflow running until Ctrl-C, with a job under way on its page Message Batches",
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="land the results in this folder, and leave them there"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo, and return the exit code. Raises BatchesError when the demo fails."""
    from rich.console import Console

    from airflow_batches.demo.run import run_demo

    console = Console()
    if not console.is_terminal:
        console = Console(width=PAGE_WIDTH)
    run_demo(console, on_live_api=arguments.live, ui=arguments.ui, keep=arguments.keep)
    return 0
