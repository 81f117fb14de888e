"""`airflow-batches emulator`: the emulator as a program, until Ctrl-C or SIGTERM.

The flags are made from the fields of `Settings`, so this file names few of them. What a flag does not say, a `--config`
file may say, and the rest are the defaults of `Emulator`, but for those in `DEFAULTS`.
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, get_origin, get_type_hints

import msgspec

from airflow_batches.emulator.addresses import LOOPBACK
from airflow_batches.emulator.config import option_names, read_config
from airflow_batches.emulator.emulator import Emulator
from airflow_batches.emulator.rule_files import RULES_HELP, read_answers, read_rules
from airflow_batches.emulator.rules import Rule
from airflow_batches.emulator.settings import Settings

PORT: Final = 18_478
"""Chosen: not assigned by IANA, below Linux's ephemeral ports, and fixed, so that a connection keeps its URL."""
PROCESSING_TIME: Final = 5.0
"""Seconds; chosen: a create answers in_progress, as every recorded one does, and development waits little."""
DEFAULTS: Final[Mapping[str, Any]] = {"port": PORT, "log": False, "processing_time": PROCESSING_TIME}
"""Options that the library does not have, or whose default is another one there."""
_ABSENT: Final = "none"
_RULE_FILES: Final[Mapping[str, Callable[[bytes, str], list[Rule]]]] = {"rules": read_rules, "answers": read_answers}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the emulator's flags. One that is not given is absent from what is parsed."""
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument(
        "--host",
        help=f"address to listen on; other than {LOOPBACK} (default): other machines can connect, with your --api-key",
    )
    parser.add_argument("--port", type=_port, help=f"port to listen on; 0: any free one (default: {PORT})")
    parser.add_argument("--folder", help="keep batches here, so that they survive a restart (default: in memory)")
    parser.add_argument("--prefix", help="path before /v1/ (default: none)")
    parser.add_argument("--rules", metavar="FILE", help="what happens to which request (see below)")
    parser.add_argument("--answers", metavar="FILE", help="what the model answers to which request (see below)")
    parser.epilog = RULES_HELP
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--log", action="store_true", help="write a line for every call to standard error")
    parser.add_argument("--config", metavar="FILE", help="TOML or JSON with the same options; flags win over it")
    types = get_type_hints(Settings)
    for name, text, default in _settings():
        flag = "--" + name.replace("_", "-")
        help_ = f"{text} (default: {_shown(default)})".replace("%", "%%")
        if isinstance(default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=help_)
        else:
            parser.add_argument(flag, type=_reader(types[name]), metavar="VALUE", help=help_)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM, and return the exit code.

    The last word of the first line that is printed is the URL, for programs that start the emulator.
    """
    try:
        values = options(args)
        if values.pop("log"):
            logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
        for name, read in _RULE_FILES.items():
            if file := values.pop(name, None):
                values[name] = read(Path(file).read_bytes(), file)
        emulator = Emulator(**values)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"The emulator cannot start. {_reason(error)}\n")
        return 1
    with emulator, _stop_signals() as stop:
        sys.stdout.write("\n".join(_told(emulator)) + "\n")
        sys.stdout.flush()
        stop.wait()
    return 0


def options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what to start with: flags over `--config` over defaults, for the program's own options and settings.

    Raises ValueError or OSError for a file that cannot be used.
    """
    given = dict(vars(args))
    file = given.pop("config", None)
    flags = {name: given[name] for name in option_names() if name in given}
    return {**DEFAULTS, **(read_config(file) if file is not None else {}), **flags}


def _settings() -> Iterator[tuple[str, str, Any]]:
    """Yield name, help and default of each setting."""
    usual = Settings()
    for field in fields(Settings):
        yield field.name, field.metadata["help"], DEFAULTS.get(field.name, getattr(usual, field.name))


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return _ABSENT if default in (None, (), {}) else str(default)


def _told(emulator: Emulator) -> Iterator[str]:
    yield f"listening on {emulator.url}"
    if emulator.address.is_any:
        yield f"from other machines: http://{socket.gethostname()}:{emulator.port}"
    yield f"key to use: {emulator.api_key}"
    yield f"control at {emulator.control_url}/"
    yield _connection(emulator)


def _connection(emulator: Emulator) -> str:
    """Return a shell command that sets Airflow's default connection to the emulator."""
    connection = {"conn_type": "anthropicbatches", "host": emulator.url, "password": emulator.api_key}
    return f"export AIRFLOW_CONN_ANTHROPIC_DEFAULT={shlex.quote(json.dumps(connection))}"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "The port is taken, perhaps by another emulator; choose another one with --port, or any with --port 0."
    if isinstance(error, BlockingIOError):
        return "Another emulator uses the folder; choose another one with --folder."
    return str(error)


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
    """Return what reads a flag's value: `none` is no value, a list is separated by commas, a mapping is JSON."""

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
