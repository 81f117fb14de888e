"""The environment variables of a private Airflow's processes.

- Every `AIRFLOW*` variable of the caller is dropped (home, configuration, connections, variables), and every
  `ANTHROPIC*` one: a task gets a key only through its connection.
- Everything listens on 127.0.0.1, on one port; calls to it never go through a proxy.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

LOOPBACK: Final = "127.0.0.1"
DROPPED: Final = ("AIRFLOW", "ANTHROPIC")
"""Prefixes of the variables that are not passed to the private Airflow."""

SETTINGS: Final[Mapping[str, str]] = {
    "CORE__EXECUTOR": "LocalExecutor",
    "CORE__PARALLELISM": "4",
    "CORE__LOAD_EXAMPLES": "False",
    "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    # The default asks a name server for the own host name, which takes seconds where there is none.
    "CORE__HOSTNAME_CALLABLE": "socket.gethostname",
    "API__WORKERS": "1",
    # With the default of 5 s, a trigger that fires early may do so before the scheduler knows of the deferral.
    "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    # The first call took 3.6 s on two free cores (measured): a busy machine needs more than the default of 5 s.
    "WORKERS__EXECUTION_API_TIMEOUT": "30",
    "DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "USAGE_DATA_COLLECTION__ENABLED": "False",
}
"""The `AIRFLOW__…` options of every private Airflow, unless the caller overrides them.

Those without a comment are chosen to start fast, to need little of a machine with two cores, and to call nothing
outside.
"""

Connections = Mapping[str, Mapping[str, Any]]
"""`{conn_id: {"conn_type", "host", "password", "extra", …}}`: the fields of Airflow's connection JSON."""


def private_environment(
    caller: Mapping[str, str],
    home: Path,
    *,
    port: int,
    dags: Path,
    database_url: str | None = None,
    connections: Connections | None = None,
    settings: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the environment of an Airflow in `home`, made from the caller's.

    :param caller: the caller's environment.
    :param home: the Airflow home.
    :param port: port of the API server.
    :param dags: the DAGs folder.
    :param database_url: SQLAlchemy URL of the database; None: SQLite in the home.
    :param connections: Airflow connections, by id.
    :param settings: `{"SECTION__OPTION": value}`, which override `SETTINGS`.
    """
    inherited = {name: value for name, value in caller.items() if not name.startswith(DROPPED)}
    chosen = {**SETTINGS, **_places(port, dags), **_fresh_keys(), **_database(database_url), **(settings or {})}
    return {
        **inherited,
        **_past_the_proxy(caller),
        "AIRFLOW_HOME": str(home),
        **{f"AIRFLOW__{name}": value for name, value in chosen.items()},
        **{f"AIRFLOW_CONN_{conn_id.upper()}": json.dumps(fields) for conn_id, fields in (connections or {}).items()},
    }


def _places(port: int, dags: Path) -> dict[str, str]:
    url = f"http://{LOOPBACK}:{port}"
    return {
        "CORE__DAGS_FOLDER": str(dags),
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "API__HOST": LOOPBACK,
        "API__PORT": str(port),
        "API__BASE_URL": url,
    }


def _fresh_keys() -> dict[str, str]:
    return {
        "CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "API__SECRET_KEY": secrets.token_hex(32),
        "API_AUTH__JWT_SECRET": secrets.token_hex(64),
    }


def _database(url: str | None) -> dict[str, str]:
    """Return the options of the database.

    psycopg also works asynchronously; by default Airflow would use asyncpg for that, which may not be installed.
    """
    if url is None:
        return {}
    both_ways = {"DATABASE__SQL_ALCHEMY_CONN_ASYNC": url} if "+psycopg" in url else {}
    return {"DATABASE__SQL_ALCHEMY_CONN": url, **both_ways}


def _past_the_proxy(caller: Mapping[str, str]) -> dict[str, str]:
    listed = caller.get("NO_PROXY") or caller.get("no_proxy") or ""
    hosts = ",".join(filter(None, (listed, LOOPBACK, "localhost")))
    return {"NO_PROXY": hosts, "no_proxy": hosts}
