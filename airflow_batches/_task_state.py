"""What Airflow says of a task that was killed: the one place where it is asked, by its trigger or on its worker.

A kill alone says little. A person may have ended the task. A trigger or a task is also killed when it was cleared
and already runs again, when its trigger was handed to another triggerer, or when its worker is shut down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

GONE: Final = "gone"
"""Airflow answered, and has no such task instance any more: its run was deleted."""
UNKNOWN: Final = "unknown"
"""The state could not be asked for, or no answer came. Nothing may be concluded."""
OVER: Final = frozenset({"failed", "success", "skipped", "upstream_failed", "removed", GONE})
"""States in which no try will wait for the task's batch again."""


def state_on_worker(ti: Any) -> str | None:
    """The state of a task instance that runs in this process; None when it has none, as right after a clear."""
    return _read(ti, ti.get_task_states(**_query(ti)))


async def state_of_deferred(ti: Any) -> str | None:
    """The state of the task instance that a trigger waits for; likewise."""
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
