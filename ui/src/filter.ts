// What the reader wants to see, and its place in the page's address.

import { ACTIVE, type Task } from "./tasks.ts";

export interface View {
  /** Days back from now. */
  readonly days: number;
  readonly dag: string;
  readonly state: string;
  readonly text: string;
  /** The first page is 0. */
  readonly page: number;
  readonly run: string;
  readonly task: string;
  readonly mapIndex: string;
}

export const DAYS: readonly number[] = [1, 7, 30];
/** Rows of a page. Chosen: a screen or two, and as many calls for the rows' XComs. */
export const PAGE_ROWS = 25;
/** States as the filter offers them, with Airflow's states. */
export const STATES: Readonly<Record<string, readonly string[]>> = {
  "under way": ACTIVE,
  succeeded: ["success"],
  failed: ["failed", "upstream_failed"],
  skipped: ["skipped", "removed"],
};

export const EVERYTHING: View = { days: 7, dag: "", state: "", text: "", page: 0, run: "", task: "", mapIndex: "" };

/** Names of the view's parts in the address; the last four are those of Airflow's own placeholders. */
const NAMES = {
  days: "days",
  state: "state",
  text: "text",
  page: "page",
  dag: "dag_id",
  run: "run_id",
  task: "task_id",
  mapIndex: "map_index",
} as const;

/** Read the view from a query. Placeholders that Airflow could not fill in, such as `{MAP_INDEX}`, count as absent. */
export function viewOf(query: string): View {
  const found = new URLSearchParams(query);
  const value = (name: keyof typeof NAMES): string => {
    const given = found.get(NAMES[name]) ?? "";
    return /^\{[A-Z_]+\}$/.test(given) ? "" : given;
  };
  const [days, page, index] = [Number(value("days")), Number(value("page")), value("mapIndex")];
  return {
    days: DAYS.includes(days) ? days : EVERYTHING.days,
    dag: value("dag"),
    state: Object.hasOwn(STATES, value("state")) ? value("state") : "",
    text: value("text"),
    page: Number.isInteger(page) && page > 0 ? page : 0,
    run: value("run"),
    task: value("task"),
    mapIndex: /^\d+$/.test(index) ? index : "",
  };
}

export function queryOf(view: View): string {
  const query = new URLSearchParams();
  for (const [part, name] of Object.entries(NAMES) as [keyof View, string][]) {
    if (view[part] !== EVERYTHING[part]) query.set(name, String(view[part]));
  }
  return query.size ? `?${query}` : "";
}

/** Whether the view is limited to one task, as from the task's link. */
export function isOneTask(view: View): boolean {
  return view.dag !== "" && view.run !== "" && view.task !== "";
}

/**
 * Whether a task belongs into the view.
 *
 * @param more texts of the row that are searched as well, such as batch ids.
 */
export function matches(view: View, task: Task, more: readonly string[] = []): boolean {
  if (isOneTask(view) && !isThatTask(view, task)) return false;
  if (view.dag && task.dag !== view.dag) return false;
  if (view.state && !STATES[view.state]?.includes(task.state)) return false;
  const wanted = view.text.trim().toLowerCase();
  const texts = [task.dag, task.dagName, task.run, task.task, task.taskName, task.mapLabel, ...more];
  return !wanted || texts.some((text) => text.toLowerCase().includes(wanted));
}

function isThatTask(view: View, task: Task): boolean {
  return task.run === view.run && task.task === view.task && ["", String(task.mapIndex)].includes(view.mapIndex);
}

export function pageOf<T>(rows: readonly T[], page: number): { rows: readonly T[]; page: number; pages: number } {
  const pages = Math.max(1, Math.ceil(rows.length / PAGE_ROWS));
  const shown = Math.min(page, pages - 1);
  return { rows: rows.slice(shown * PAGE_ROWS, (shown + 1) * PAGE_ROWS), page: shown, pages };
}
