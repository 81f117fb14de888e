"""An Airflow for the browser: its API server and a filled database; no scheduler, as nothing is to run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import requests

from airflow_batches.demo.component import Component, stop_all
from airflow_batches.demo.environment import LOOPBACK, private_environment
from airflow_batches.demo.private_airflow import free_port
from tests.browser.auth import USERS

ROOT: Final = Path(__file__).parents[2]
DAGS: Final = Path(__file__).parent / "dags"
START_S: Final = 180


@dataclass(frozen=True)
class Site:
    """A running Airflow.

    :param url: its address, with the path of `[api] base_url`, without a slash at the end.
    """

    url: str
    passwords: dict[str, str]

    def token(self, user: str) -> str:
        """Log in, as the login page does."""
        body = {"username": user, "password": self.passwords[user]}
        answer = requests.post(f"{self.url}/auth/token", json=body, timeout=60)
        answer.raise_for_status()
        return str(answer.json()["access_token"])


@contextmanager
def running_site(*, path: str = "", crowd: int) -> Iterator[Site]:
    """Run an Airflow until the end of the block.

    :param path: the path of `[api] base_url`.
    :param crowd: batches of the DAG `crowd`.
    """
    home, port = Path(tempfile.mkdtemp(prefix="airflow-batches-site-")), free_port()
    passwords = {user: f"password of {user}" for user in USERS}
    (home / "passwords.json").write_text(json.dumps(passwords))
    settings = {
        "CORE__AUTH_MANAGER": "tests.browser.auth.NarrowAuthManager",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "API__BASE_URL": f"http://{LOOPBACK}:{port}{path}",
    }
    env = private_environment(os.environ, home, port=port, dags=DAGS, settings=settings)
    env |= {"PAGE_TEST_OUT": str(home / "out"), "PYTHONPATH": os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")])}
    server = Component("api-server", ("api-server",), env=env, home=home)
    try:
        for command in (["airflow", "db", "migrate"], ["tests.browser.seed", str(DAGS), str(crowd)]):
            done = subprocess.run(
                [sys.executable, "-m", *command], env=env, cwd=home, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        server.start()
        site = Site(f"http://{LOOPBACK}:{port}{path}", passwords)
        await_answer(f"{site.url}/api/v2/version", server)
        yield site
    finally:
        stop_all([server], grace_s=3.0)
        shutil.rmtree(home, ignore_errors=True)


def await_answer(url: str, server: Component) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert server.exit_code is None, server.tail()
        try:
            if requests.get(url, timeout=60).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"{url} did not answer:\n{server.tail()}")
