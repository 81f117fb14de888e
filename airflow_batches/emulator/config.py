"""The emulator's `--config` file: the program's options, as TOML or JSON.

# emulator.toml
port = 18478
processing_time = 30
workspaces = {"sk-ant-other" = "wrkspc_other"}
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from airflow_batches.emulator.settings import Settings

_READERS: Final[Mapping[str, Callable[[str], Any]]] = {".toml": tomllib.loads, ".json": json.loads}
OWN_OPTIONS: Final[Mapping[str, type]] = {
    "host": str,
    "port": int,
    "folder": str,
    "prefix": str,
    "rules": str,
    "answers": str,
    "log": bool,
}
"""The program's options that are no settings, and the type of each."""
_ABSENT: Final = "none"


def option_names() -> list[str]:
    """Return the names of all options: the program's own, then the settings."""
    return [*OWN_OPTIONS, *(field.name for field in fields(Settings))]


def read_config(file: str) -> dict[str, Any]:
    """Read the options of a file.

    In TOML, which has no null, the text `none` is no value, as on the command line.

    :param file: path; its suffix says the format.
    :return: the options that the file has, by name.
    :raises ValueError: for another suffix, a file that cannot be parsed, or an option that does not exist.
    :raises OSError: for a file that cannot be read.
    """
    path = Path(file)
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise ValueError(f"The name of the configuration {file} must end in {' or '.join(_READERS)}.")
    try:
        values = reader(path.read_text())
    except ValueError as error:  # of JSON, of TOML, or of UTF-8
        raise ValueError(f"The configuration {file} cannot be parsed: {error}.") from None
    if not isinstance(values, dict):
        raise ValueError(f"The configuration {file} must be an object with options.")
    known = option_names()
    if unknown := [name for name in values if name not in known]:
        raise ValueError(f"{file} has no option {', '.join(unknown)}; known are {', '.join(known)}.")
    return {name: _value(file, name, value) for name, value in values.items()}


def _value(file: str, name: str, value: Any) -> Any:
    if value == _ABSENT:
        return None
    kind = OWN_OPTIONS.get(name)
    if kind is not None and type(value) is not kind:
        raise ValueError(f"{file}: {name} must be of type {kind.__name__}, not {value!r}.")
    return value
