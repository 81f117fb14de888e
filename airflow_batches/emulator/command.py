"""`airflow-batches emulator`: the emulator as a program, until Ctrl-C or SIGTERM.

The flags are made from the fields of `Settings`, so this file names none of them. `none` means no value, a list is
separated by commas, a mapping is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, get_origin, get_type_hints

import msgspec

from airflow_batches.emulator.emulator import Emulator
from airflow_batches.emulator.rules import RULES_HELP, read_rules
from airflow_batches.emulator.settings import Settings

_ABSENT: Final = "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the emulator's flags."""
    parser.add_argument("--port", type=_port, default=0, help="on 127.0.0.1; 0: a free one (default)")
    parser.add_argument("--folder", help="keep batches here, so that they survive a restart (default: in memory)")
    parser.add_argument("--rules", metavar="FILE", help="what happens to which request (see below)")
    parser.epilog = RULES_HELP
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--log", action="store_true", help="write a line for every call to standard error")
    parser.add_argument("--prefix", default="", help="path before /v1/ (default: none)")
    defaults = Settings()
    types = get_type_hints(Settings)
    for field in dataclasses.fields(Settings):
        flag = "--" + field.name.replace("_", "-")
        default = getattr(defaults, field.name)
        text = field.metadata["help"].replace("%", "%%")
        if isinstance(default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=text)
        else:
            shown = _ABSENT if default in (None, (), {}) else default
            parser.add_argument(
                flag,
                type=_reader(types[field.name]),
                default=default,
                metavar="VALUE",
                help=f"{text} (default: {shown})",
            )


def run(args: argparse.Namespace, *, brief: bool = False) -> int:
    """Serve until SIGINT or SIGTERM, and return the exit code.

    The address is printed first, in one line if `brief`. The last word of the first line is the URL, for programs that
    start the emulator.
    """
    values = {field.name: getattr(args, field.name) for field in dataclasses.fields(Settings)}
    if args.log:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    try:
        rules = read_rules(Path(args.rules).read_bytes()) if args.rules else []
        emulator = Emulator(args.port, folder=args.folder, prefix=args.prefix, rules=rules, **values)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"the emulator cannot start: {error}\n")
        return 1
    with emulator, _stop_signals() as stop:
        lines = [f"listening on {emulator.url}"]
        if not brief:
            lines += [
                f"key to use: {emulator.api_key}",
                f"control at {emulator.control_url}/",
                _connection(emulator),
            ]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        stop.wait()
    return 0


def _connection(emulator: Emulator) -> str:
    """Return a shell command that sets Airflow's default connection to the emulator."""
    fields = {"conn_type": "anthropicbatches", "host": emulator.url, "password": emulator.api_key}
    return f"export AIRFLOW_CONN_ANTHROPIC_DEFAULT={shlex.quote(json.dumps(fields))}"


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set during the block."""
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"not a port, which is a number from 0 to 65535: {text!r}")
    return int(text)


def _reader(kind: Any) -> Callable[[str], Any]:
    def value(text: str) -> Any:
        if text == _ABSENT:
            return None
        if get_origin(kind) is tuple:
            return tuple(filter(None, text.split(",")))
        try:
            if get_origin(kind) is Mapping:
                return msgspec.json.decode(text, type=kind)
            return msgspec.convert(text, kind, strict=False)
        except msgspec.DecodeError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return value
