"""What Airflow says of the task that a trigger waits for. The one place where a trigger asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

GONE: Final = "gone"
"""Airflow answered, and has no such task instance any more: its run was deleted."""
UNKNOWN: Final = "unknown"
"""There is nobody to ask, or no answer came: nothing may be concluded."""
OVER: Final = frozenset({"failed", "success", "skipped", "upstream_failed", "removed", GONE})


async def task_state(task_instance: RuntimeTaskInstanceProtocol | Any | None) -> str | None:
    """The task instance's state; None when it has none, as right after a clear."""
    if task_instance is None:
        return UNKNOWN
    from airflow.sdk.execution_time.comms import GetTaskStates, TaskStatesResult
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    answer = await SUPERVISOR_COMMS.asend(
        GetTaskStates(
            dag_id=task_instance.dag_id,
            task_ids=[task_instance.task_id],
            run_ids=[task_instance.run_id],
            map_index=task_instance.map_index,
        )
    )
    if not isinstance(answer, TaskStatesResult):
        return UNKNOWN
    states: dict[str, str | None] = answer.task_states.get(task_instance.run_id, {})
    return states.get(_key(task_instance.task_id, task_instance.map_index), GONE)


def _key(task_id: str, map_index: int | None) -> str:
    return task_id if map_index is None or map_index < 0 else f"{task_id}_{map_index}"
