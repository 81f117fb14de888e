// Airflow's public REST API, with the session of the reader: the browser sends Airflow's own cookie.

import { decoded, record } from "./json.ts";
import { ACTIVE, tasksOf, type Task } from "./tasks.ts";
import { OPERATORS } from "./operators.ts";

/** Entries of a page. Airflow's default for `[api] maximum_page_limit`, to which it cuts larger ones. */
const PAGE = 100;
/** Calls at the same time. Chosen below the six that a browser makes to a host: Airflow's own page needs some. */
const PARALLEL = 4;

/** An answer other than the one that was asked for. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, path: string) {
    super(`Airflow answered ${status} to ${path}`);
    this.status = status;
  }
}

export interface Listing {
  readonly tasks: readonly Task[];
  /** Tasks in all pages. */
  readonly total: number;
  /** Entries to skip for the next page; undefined after the last one. */
  readonly next: number | undefined;
  /** The server's time of the answer. */
  readonly at: Date;
}

/** Whose task instances to list: of all DAGs and runs, or of one. */
export interface Scope {
  readonly dag: string | undefined;
  readonly run: string | undefined;
}

/** Which of them: all, those that began or changed since a time, or those under way. */
export interface Wanted extends Scope {
  readonly startedSince?: Date;
  readonly updatedSince?: Date;
  readonly active?: boolean;
}

export class Airflow {
  readonly base: URL;
  private free = PARALLEL;
  private readonly waiting: (() => void)[] = [];

  /** @param base where Airflow is, with a slash at the end. */
  constructor(base: URL) {
    this.base = base;
  }

  /** List one page of the task instances of the operators that the page shows. */
  async tasks(wanted: Wanted, skip: number, signal: AbortSignal): Promise<Listing> {
    const place = `dags/${part(wanted.dag ?? "~")}/dagRuns/${part(wanted.run ?? "~")}`;
    const { body, at } = await this.get(`${place}/taskInstances?${query(wanted, skip)}`, signal);
    const answer = record(body);
    const entries = Array.isArray(answer["task_instances"]) ? answer["task_instances"].length : 0;
    const total = typeof answer["total_entries"] === "number" ? answer["total_entries"] : entries;
    const next = skip + entries;
    return { tasks: tasksOf(body), total, next: entries > 0 && next < total ? next : undefined, at };
  }

  /** The value of an XCom; undefined if there is none. */
  async xcom(task: Task, key: string, signal: AbortSignal): Promise<unknown> {
    const path =
      `dags/${part(task.dag)}/dagRuns/${part(task.run)}/taskInstances/${part(task.task)}` +
      `/xcomEntries/${part(key)}?map_index=${task.mapIndex}`;
    try {
      return decoded(record((await this.get(path, signal)).body)["value"]);
    } catch (error) {
      if (error instanceof Refused && error.status === 404) return undefined;
      throw error;
    }
  }

  /** The address of a task instance in Airflow's UI. */
  addressOf(task: Task): string {
    const mapped = task.mapIndex < 0 ? "" : `/mapped/${task.mapIndex}`;
    return new URL(`dags/${part(task.dag)}/runs/${part(task.run)}/tasks/${part(task.task)}${mapped}`, this.base).href;
  }

  private async get(path: string, signal: AbortSignal): Promise<{ body: unknown; at: Date }> {
    await this.turn();
    try {
      const answer = await fetch(new URL(`api/v2/${path}`, this.base), {
        signal,
        credentials: "same-origin",
        headers: { accept: "application/json" },
      });
      if (!answer.ok) throw new Refused(answer.status, path.replace(/\?.*/s, ""));
      return { body: await answer.json(), at: new Date(answer.headers.get("date") ?? Date.now()) };
    } finally {
      this.free += 1;
      this.waiting.pop()?.(); // the newest first: it is what the reader looks at now
    }
  }

  private async turn(): Promise<void> {
    while (this.free === 0) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.free -= 1;
  }
}

function query(wanted: Wanted, skip: number): URLSearchParams {
  const found = new URLSearchParams({ limit: String(PAGE), offset: String(skip), order_by: "-start_date" });
  for (const operator of Object.keys(OPERATORS)) found.append("operator", operator);
  if (wanted.startedSince) found.set("start_date_gte", wanted.startedSince.toISOString());
  if (wanted.updatedSince) found.set("updated_at_gte", wanted.updatedSince.toISOString());
  if (wanted.active) for (const state of ACTIVE) found.append("state", state);
  return found;
}

function part(text: string): string {
  return encodeURIComponent(text);
}
