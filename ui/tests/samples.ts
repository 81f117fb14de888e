// Answers of Airflow, as its REST API gives them.

import { taskOf, type Task } from "../src/tasks.ts";

export function instance(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    dag_id: "reviews",
    dag_display_name: "Reviews",
    dag_run_id: "manual__1",
    task_id: "submit",
    task_display_name: "Submit",
    map_index: -1,
    operator: "MessageBatchSubmitOperator",
    state: "success",
    try_number: 1,
    run_after: "2026-11-01T00:00:00Z",
    queued_when: "2026-11-01T00:00:01Z",
    start_date: "2026-11-01T00:00:02Z",
    end_date: "2026-11-01T01:00:00Z",
    ...fields,
  };
}

export function task(fields: Record<string, unknown> = {}): Task {
  const found = taskOf(instance(fields));
  if (!found) throw new Error("not a task of ours");
  return found;
}
