"""The Message Batches API on localhost: a library, and a program (`airflow-batches emulator`).

    with Emulator() as emu:
        client = anthropic.Anthropic(api_key=emu.api_key, base_url=emu.url)

Nothing below this package knows Airflow. Importing it costs nothing: the server is loaded at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_batches.emulator.emulator import Emulator
    from airflow_batches.emulator.faults import Fault

__all__ = ["Emulator", "Fault"]

_HOMES = {"Emulator": "airflow_batches.emulator.emulator", "Fault": "airflow_batches.emulator.faults"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
