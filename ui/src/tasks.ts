// Task instances as Airflow's REST API returns them.

import { count, list, moment, record, text } from "./json.ts";
import { BATCH_ID, ESTIMATE, MANIFEST, OPERATORS, PROGRESS, RECEIPT, type Kind } from "./operators.ts";

export interface Task {
  readonly dag: string;
  readonly dagName: string;
  readonly run: string;
  readonly task: string;
  readonly taskName: string;
  /** -1: not mapped. */
  readonly mapIndex: number;
  readonly mapLabel: string;
  readonly kind: Kind;
  readonly state: string;
  readonly attempt: number;
  readonly start: Date | undefined;
  readonly end: Date | undefined;
  /** When it began, or else when it was queued, or when its run was due. */
  readonly since: Date;
}

/** States in which a task may still change by itself. */
export const ACTIVE: readonly string[] = [
  "running",
  "deferred",
  "queued",
  "scheduled",
  "restarting",
  "up_for_retry",
  "up_for_reschedule",
];

export function taskOf(value: unknown): Task | undefined {
  const found = record(value);
  const operator = text(found["operator"]);
  const kind = Object.hasOwn(OPERATORS, operator) ? OPERATORS[operator] : undefined;
  if (kind === undefined) return undefined;
  const start = moment(found["start_date"]);
  return {
    dag: text(found["dag_id"]),
    dagName: text(found["dag_display_name"]) || text(found["dag_id"]),
    run: text(found["dag_run_id"]),
    task: text(found["task_id"]),
    taskName: text(found["task_display_name"]) || text(found["task_id"]),
    mapIndex: typeof found["map_index"] === "number" ? found["map_index"] : -1,
    mapLabel: text(found["rendered_map_index"]),
    kind,
    state: text(found["state"]) || "none",
    attempt: count(found["try_number"]) ?? 0,
    start,
    end: moment(found["end_date"]),
    since: start ?? moment(found["queued_when"]) ?? moment(found["run_after"]) ?? new Date(0),
  };
}

export function tasksOf(page: unknown): Task[] {
  return list(record(page)["task_instances"])
    .map(taskOf)
    .filter((task) => task !== undefined);
}

/** The same for each try of a task instance. */
export function keyOf(task: Task): string {
  return JSON.stringify([task.dag, task.run, task.task, task.mapIndex]);
}

export function isActive(task: Task): boolean {
  return ACTIVE.includes(task.state);
}

/** The XComs to ask for, in order; after a manifest the others say nothing new. A key that cannot be there costs no call. */
export function xcomsOf(task: Task): readonly string[] {
  if (task.start === undefined) return [];
  if (task.kind === "batch") return [RECEIPT];
  if (task.kind === "wait") return [BATCH_ID];
  if (task.state === "success") return [MANIFEST];
  if (task.kind === "landing") return task.state === "failed" ? [MANIFEST] : [];
  if (task.state === "skipped") return [];
  return task.state === "failed" ? [MANIFEST, PROGRESS, ESTIMATE] : [PROGRESS, ESTIMATE];
}

/**
 * The rows of the page, newest first.
 *
 * Tasks that land or await a batch of their own run are part of that batch's row, and have none of their own.
 */
export function rowsOf(tasks: Iterable<Task>): Task[] {
  const all = [...tasks];
  const submitting = new Set(all.filter((task) => task.kind === "batch").map(runOf));
  const rows = all.filter((task) => task.kind === "job" || task.kind === "batch" || !submitting.has(runOf(task)));
  return rows.sort((a, b) => b.since.getTime() - a.since.getTime() || a.mapIndex - b.mapIndex);
}

export function runOf(task: Task): string {
  return JSON.stringify([task.dag, task.run]);
}

/** The tasks of the same run that may have landed a batch, the likeliest first. */
export function landingsFor(batch: Task, landings: readonly Task[]): Task[] {
  const apart = (task: Task): number => (task.mapIndex === batch.mapIndex ? 0 : 1);
  return [...landings].sort((a, b) => apart(a) - apart(b));
}
