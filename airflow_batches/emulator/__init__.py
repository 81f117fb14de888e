"""The Message Batches API on localhost: a library, and `airflow-batches emulator`.

The way of a call: `server` accepts the connection, `wire` reads the request, `api` takes it through the route, the
faults (`plans`, `actions`), the key (`access`), the rate limit and the body (`spool`), and `routes` handles it;
`journal` keeps what was received. A create goes through `validation` (envelope) and `verdicts` (each line's params);
`content` plans the answers, unless `rules` say otherwise (`decisions`) or the user has answers (`given`); `intake` puts
them into `store`. `lifecycle` computes status and counts from the stored batch and `clock`; `answers` makes the result
lines when they are read. `control` serves the methods of `Emulator` over HTTP, and `manual` describes them. `command`
and `config` make a program of it, `pytest_plugin` a fixture.

    with Emulator() as emu:
        client = BatchesClient(emu.api_key, base_url=emu.url)

The emulator imports neither Airflow nor our own client. Importing it is cheap: the server is loaded at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_batches._lazy import exports

if TYPE_CHECKING:
    from airflow_batches.emulator.emulator import Emulator as Emulator
    from airflow_batches.emulator.faults import Fault as Fault
    from airflow_batches.emulator.rules import Rule as Rule

_MODULES = {"Emulator": "emulator", "Fault": "faults", "Rule": "rules"}

__all__ = list(_MODULES)

__getattr__, __dir__ = exports(__name__, _MODULES)
