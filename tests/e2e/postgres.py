"""A PostgreSQL of our own: a cluster in a temporary folder, on a free port of the loopback, gone with the block."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_batches.demo.private_airflow import free_port

USER = "postgres"


@contextmanager
def postgres() -> Iterator[str]:
    """SQLAlchemy's URL of an empty database. Skips the test where Debian's package is not installed."""
    programs = _programs()
    folder, port = Path(tempfile.mkdtemp(prefix="airflow-batches-postgres-")), free_port()
    if os.geteuid() == 0:
        shutil.chown(folder, USER, USER)
    server = None
    try:
        data = folder / "data"
        _run([programs / "initdb", "--auth=trust", f"--username={USER}", "--no-sync", f"--pgdata={data}"], folder)
        options = {"listen_addresses": "127.0.0.1", "fsync": "off", "unix_socket_directories": folder}
        command = [str(programs / "postgres"), "-D", str(data), "-p", str(port)]
        command += [f"--{name}={value}" for name, value in options.items()]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True, **_as_user())
        _await_answer(server, port, folder / "log")
        yield f"postgresql+psycopg://{USER}@127.0.0.1:{port}/{USER}"
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # its "fast" shutdown
            server.wait(timeout=60)
        shutil.rmtree(folder)


def _programs() -> Path:
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("needs the package postgresql")
    return folders[-1]


def _as_user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    return {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}


def _run(command: list[Any], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **_as_user())
    assert done.returncode == 0, done.stderr


def _await_answer(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user=USER, dbname=USER, connect_timeout=5).close()
        except psycopg.OperationalError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        else:
            return
