"""The command `airflow-batches`.

Each subcommand is a module with `add_arguments(parser)` and `run(arguments) -> exit code`. It is loaded when it is
used, so that help and version do not wait for Airflow's import.
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
    "cancel": ("airflow_batches.jobs.terminal.cancel", "cancel all batches of a job"),
    "demo": ("airflow_batches.demo.command", "the whole job on this machine, on a private Airflow and an emulated API"),
    "emulator": ("airflow_batches.emulator.command", "the Message Batches API on localhost, for development and tests"),
    "land": ("airflow_batches.landing.command", "the results of a batch to a file or an object store, without Airflow"),
    "plan": ("airflow_batches.jobs.terminal.plan", "what a job would send and cost; sends nothing"),
    "run": ("airflow_batches.jobs.terminal.run", "any number of requests to one folder of answers, without Airflow"),
    "status": ("airflow_batches.jobs.terminal.status", "how a job stands, from its folder alone"),
}
"""Name, module and one line of help of each command."""

FAILED: Final = 1
"""Exit code of a command that raised one of our errors; argparse itself exits with 2 (shells: 0 is success)."""
INTERRUPTED: Final = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    :param argv: the arguments; those of this process by default.
    :return: the exit code.
    :raises SystemExit: with code 2 for wrong usage, as argparse does.
    """
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
    """Make the parser. Only the command that is used loads its module to add its arguments."""
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
