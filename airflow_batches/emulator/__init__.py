"""The Message Batches API on localhost: a library, and a program (`airflow-batches emulator`).

    with Emulator() as emu:
        client = BatchesClient(emu.api_key, base_url=emu.url)

It knows nothing of Airflow, nor of our own client. Importing it costs nothing: the server is loaded at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches._lazy import exports

if TYPE_CHECKING:
    from airflow_batches.emulator.emulator import Emulator as Emulator
    from airflow_batches.emulator.faults import Fault as Fault

_MODULES = {"Emulator": "emulator", "Fault": "faults"}

__all__ = list(_MODULES)

__getattr__, __dir__ = exports(__name__, _MODULES)
