"""The part of Airflow's REST API (v2) that the demo and the end-to-end tests use."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from airflow_batches.api.errors import BatchesError

TIMEOUT: Final = 60.0
"""Seconds that a call may take; chosen: twice what the first calls to a new API server took on a busy machine."""


class AirflowFailed(BatchesError):
    """Raised when the private Airflow does not start, or does not do what was requested."""


class AirflowApi:
    """A client for an Airflow on which every user is an admin, as on the private one."""

    def __init__(self, url: str) -> None:
        import requests

        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy and no ~/.netrc for the loopback address

    def health(self) -> dict[str, str]:
        """Return `{"scheduler": "healthy", …}`; empty until the server answers."""
        import requests

        try:
            answer = self._session.get(f"{self.url}/api/v2/monitor/health", timeout=TIMEOUT)
        except requests.RequestException:
            return {}
        return {name: str(part["status"]) for name, part in answer.json().items()} if answer.ok else {}

    def log_in(self) -> None:
        """Get a token for the following calls."""
        self._session.headers["Authorization"] = f"Bearer {self.call('GET', '/auth/token')['access_token']}"

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Call the API and return the decoded answer.

        :param options: keyword arguments of `requests.Session.request`.
        :raises AirflowFailed: when there is no answer, or it is not a 2xx.
        """
        import requests

        try:
            answer = self._session.request(method, f"{self.url}{path}", timeout=TIMEOUT, **options)
        except requests.RequestException as error:
            raise AirflowFailed(f"{method} {path} was not answered: {error}") from error
        if not answer.ok:
            raise AirflowFailed(f"{method} {path} was answered {answer.status_code}: {answer.text[:500]}")
        return answer.json() if answer.content else None

    def wait_for_dag(self, dag_id: str, *, timeout: float = 60.0) -> None:
        """Wait until the DAG can be run.

        :param timeout: seconds; 60 by default, as the DAG processor looks for new files every 10 s.
        :raises AirflowFailed: when it cannot be imported, or is not there in time.
        """
        deadline = time.monotonic() + timeout
        while not self._knows(dag_id):
            if errors := self.call("GET", "/api/v2/importErrors")["import_errors"]:
                raise AirflowFailed(f"{errors[0]['filename']} cannot be imported:\n{errors[0]['stack_trace']}")
            if time.monotonic() > deadline:
                raise AirflowFailed(f"the DAG {dag_id!r} was not found within {timeout:.0f} s")
            time.sleep(0.2)

    def _knows(self, dag_id: str) -> bool:
        found = self.call("GET", "/api/v2/dags", params={"dag_id_pattern": dag_id, "limit": 100})["dags"]
        return any(dag["dag_id"] == dag_id for dag in found)

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run, and return its run_id."""
        body = {"logical_date": None, "conf": dict(conf or {})}
        return str(self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the run's state: `queued`, `running`, `success` or `failed`."""
        return str(self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def wait_for_run(self, dag_id: str, run_id: str, *, timeout: float = 180.0) -> str:
        """Wait until a run ends, and return its state.

        Raises AirflowFailed after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while (state := self.run_state(dag_id, run_id)) not in ("success", "failed"):
            if time.monotonic() > deadline:
                raise AirflowFailed(f"run {run_id} of {dag_id} is still {state} after {timeout:.0f} s")
            time.sleep(0.3)
        return state

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances with `task_id`, `state`, `try_number`, `start_date`, …"""
        listed = self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return list(listed)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", *, map_index: int = -1) -> Any:
        """Return the value of an XCom, or None when nothing was pushed under the key."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries"
        entries = self.call("GET", path, params={"xcom_key": key, "map_index": map_index})["xcom_entries"]
        if not any(entry["key"] == key for entry in entries):
            return None
        options = {"deserialize": True, "map_index": map_index}
        return self.call("GET", f"{path}/{key}", params=options)["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int, *, map_index: int = -1) -> str:
        """Return the log of one try as text, one line for each event."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        options = {"full_content": True, "map_index": map_index}
        content = self.call("GET", path, params=options, headers={"Accept": "application/json"})["content"]
        return "\n".join(_log_line(event) for event in content)


def _log_line(event: Mapping[str, Any] | str) -> str:
    if isinstance(event, str):
        return event
    stamp = event.get("timestamp")
    time_of_day = datetime.fromisoformat(stamp).strftime("%H:%M:%S") if stamp else ""
    details = [f"{part['exc_type']}: {part['exc_value']}" for part in event.get("error_detail") or ()]
    return " ".join(filter(None, (time_of_day, event.get("level"), event.get("event"), *details)))
