"""The little of a task's context that our operators touch, for tests that run one leg by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import Context

if TYPE_CHECKING:
    from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout, TaskDeferred
else:
    try:
        from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout, TaskDeferred
    except ImportError:  # before 3.2
        from airflow.exceptions import TaskDeferralError, TaskDeferralTimeout, TaskDeferred

__all__ = ["StateStore", "TaskDeferralError", "TaskDeferralTimeout", "TaskDeferred", "TaskInstance", "context"]


@dataclass
class TaskInstance:
    """Keeps XComs as Airflow does between the legs of a try."""

    task_id: str = "task"
    dag_id: str = "dag"
    run_id: str = "run"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    """As Airflow counts: `retries`, and after each clear the tries so far on top."""
    retries: int = 0
    xcoms: dict[str, Any] = field(default_factory=dict)
    state: str | None = "running"
    """What Airflow says of it."""

    @property
    def task(self) -> TaskInstance:
        """Its task, of which only `retries` is looked at."""
        return self

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def get_task_states(
        self, dag_id: str, map_index: int | None, task_ids: list[str], run_ids: list[str]
    ) -> dict[str, dict[str, str | None]]:
        assert (dag_id, task_ids, run_ids, map_index) == (self.dag_id, [self.task_id], [self.run_id], self.map_index)
        key = self.task_id if self.map_index < 0 else f"{self.task_id}_{self.map_index}"
        return {self.run_id: {key: self.state}}

    def xcom_pull(self, task_ids: str, key: str, map_indexes: int) -> Any:
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcoms.get(key)


class StateStore(dict[str, Any]):
    """Airflow's task state store: JSON values that outlive a try; None is refused."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        if value is None:
            raise ValueError("None is refused")
        self[key] = value

    def delete(self, key: str) -> None:
        self.pop(key, None)


def context(task_id: str = "task", **more: Any) -> Context:
    """A context with a fresh task instance; give `task_state_store` for Airflow 3.3 on."""
    return cast(Context, {"ti": TaskInstance(task_id), "outlet_events": {}, **more})
