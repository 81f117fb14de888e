"""Ask Airflow for the state of a killed task, from its trigger or on its worker.

A kill has several causes. A person may have ended the task. Airflow also kills a trigger or a task when a person
cleared it and it already runs again, when another triggerer took over the trigger, or when the worker shuts down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

GONE: Final = "gone"
"""Airflow answered that the task instance no longer exists: its run was deleted."""
UNKNOWN: Final = "unknown"
"""The request was not possible, or Airflow did not answer. The task may be in any state."""
OVER: Final = frozenset({"failed", "success", "skipped", "upstream_failed", "removed", GONE})
"""States after which no try of the task waits for its batch again."""


def state_on_worker(ti: Any) -> str | None:
    """Return the state of a task instance that runs in this process.

    It is None right after a clear.
    """
    return _read(ti, ti.get_task_states(**_query(ti)))


async def state_of_deferred(ti: Any) -> str | None:
    """Return the state of the task instance that a trigger waits for; None when it has none."""
    if ti is None:
        return UNKNOWN
    from airflow.sdk.execution_time.comms import GetTaskStates, TaskStatesResult
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    answer = await SUPERVISOR_COMMS.asend(GetTaskStates(**_query(ti)))
    return _read(ti, answer.task_states) if isinstance(answer, TaskStatesResult) else UNKNOWN


def _query(ti: Any) -> dict[str, Any]:
    return {
        "dag_id": ti.dag_id,
        "task_ids": [ti.task_id],
        "run_ids": [ti.run_id],
        "map_index": ti.map_index,
    }


def _read(ti: Any, states: Mapping[str, Mapping[str, str | None]]) -> str | None:
    mapped = ti.map_index is not None and ti.map_index >= 0
    return states.get(ti.run_id, {}).get(f"{ti.task_id}_{ti.map_index}" if mapped else ti.task_id, GONE)
