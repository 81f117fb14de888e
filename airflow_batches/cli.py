"""`airflow-batches`: what the package does from a shell.

Each command is a module with `add_arguments(parser)` and `run(arguments) -> exit code`, loaded when it is asked for:
help and version must not wait for Airflow to be imported.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from airflow_batches import __version__
from airflow_batches.api.errors import BatchesError

COMMANDS: Final = {
    "demo": ("airflow_batches.demo.command", "the whole job on this machine, on a private Airflow and an emulated API"),
    "emulator": ("airflow_batches.emulator.command", "the Message Batches API on localhost, for development and tests"),
    "land": ("airflow_batches.landing.command", "the results of a batch to a file or an object store, without Airflow"),
}
"""Name, module and one line of help of each command."""

FAILED: Final = 1
INTERRUPTED: Final = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Wrong usage raises SystemExit(2), as argparse does."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parsed = _parser(arguments[0] if arguments else None).parse_args(arguments)
    try:
        return int(import_module(COMMANDS[parsed.command][0]).run(parsed))
    except BatchesError as error:
        print(f"airflow-batches {parsed.command}: {error}", file=sys.stderr)  # noqa: T201
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser(asked_for: str | None) -> argparse.ArgumentParser:
    """The parser; only the command that is asked for loads its module to add its arguments."""
    from rich_argparse import RichHelpFormatter

    parser = argparse.ArgumentParser(
        prog="airflow-batches",
        description="Large Claude jobs through Anthropic's Message Batches API.",
        formatter_class=RichHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"airflow-batches {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary, formatter_class=RichHelpFormatter)
        if name == asked_for:
            import_module(module).add_arguments(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
