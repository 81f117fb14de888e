// What the page knows: tasks, and the XComs of those that were looked at.

import { Refused, type Airflow, type Scope, type Wanted } from "./airflow.ts";
import { costOf, batchOf, summarize, type Summary } from "./summary.ts";
import { MANIFEST, RECEIPT } from "./operators.ts";
import { isActive, keyOf, landingsFor, runOf, xcomsOf, type Task } from "./tasks.ts";
import type { Cost } from "./costs.ts";
import { record, text } from "./json.ts";

/** Tasks of a list that are read. Chosen: 50 calls; a longer list says that it is cut. */
export const MOST = 5_000;
/** Landing tasks that are looked at for one batch. Chosen: most runs have one, mapped ones the same map index. */
const CANDIDATES = 3;
/** Milliseconds by which a refresh looks back further, because Airflow commits a change after it dates it. Chosen. */
const OVERLAP_MS = 30_000;

/** The XComs of one state of a task. */
interface Known {
  readonly stamp: string;
  readonly values: ReadonlyMap<string, unknown>;
  readonly forbidden: boolean;
}

export class Model {
  /** Tasks in the list of Airflow, of which `MOST` are read. */
  total = 0;
  private readonly airflow: Airflow;
  private readonly tasks = new Map<string, Task>();
  private readonly known = new Map<string, Known>();
  private readonly reading = new Map<string, Promise<void>>();
  private scope: Scope = { dag: undefined, run: undefined };
  private synced: Date | undefined;
  private isStale = false;

  constructor(airflow: Airflow) {
    this.airflow = airflow;
  }

  all(): Task[] {
    return [...this.tasks.values()];
  }

  get isCut(): boolean {
    return this.total > this.tasks.size;
  }

  get isLoaded(): boolean {
    return this.synced !== undefined;
  }

  hasActive(): boolean {
    return this.all().some(isActive);
  }

  /**
   * Forget the tasks, and read those of some lists of one scope.
   *
   * @param scope whose tasks.
   * @param lists which of them, in the order in which they are read.
   * @param onPart called whenever a part of them is there, with the number of parts so far.
   */
  async load(
    scope: Scope,
    lists: readonly Omit<Wanted, keyof Scope>[],
    signal: AbortSignal,
    onPart: (parts: number) => void,
  ): Promise<void> {
    this.scope = scope;
    this.synced = undefined;
    this.reading.clear(); // calls of the load before are aborted
    this.isStale = true;
    let parts = 0;
    for (const list of lists) await this.read({ ...list, ...scope }, signal, () => onPart((parts += 1)));
  }

  /** Read the tasks that have changed since they were read last. */
  async refresh(signal: AbortSignal): Promise<void> {
    if (this.synced === undefined) return;
    const since = new Date(this.synced.getTime() - OVERLAP_MS);
    await this.read({ ...this.scope, updatedSince: since }, signal, () => undefined);
  }

  /** The tasks of the load before are shown until there are others. */
  private forget(): void {
    this.tasks.clear();
    this.total = 0;
    this.isStale = false;
  }

  private async read(wanted: Wanted, signal: AbortSignal, onPart: () => void): Promise<void> {
    let [skip, first]: [number | undefined, Date | undefined] = [0, undefined];
    while (skip !== undefined && skip < MOST) {
      const page = await this.airflow.tasks(wanted, skip, signal);
      first ??= page.at;
      if (this.isStale) this.forget();
      for (const task of page.tasks) this.tasks.set(keyOf(task), task);
      if (!wanted.active && !wanted.updatedSince) this.total = Math.max(page.total, this.tasks.size);
      skip = page.next;
      onPart();
    }
    // The time before the first page: what changes while the others are read is read again.
    if (first && (!this.synced || wanted.updatedSince)) this.synced = first;
  }

  /** Read the XComs of rows, and of the tasks that landed their batches. */
  async look(rows: readonly Task[], signal: AbortSignal, onRow: () => void): Promise<void> {
    await Promise.all(
      rows.map(async (row) => {
        await this.values(row, signal);
        if (row.kind === "batch") await this.landing(row, signal);
        onRow();
      }),
    );
  }

  /** The summary of a row as far as its XComs are known; undefined before they are. */
  summary(row: Task): Summary | undefined {
    const known = this.known.get(keyOf(row));
    if (!known) return undefined;
    return summarize(row, known.values, row.kind === "batch" ? this.knownLanding(row) : undefined);
  }

  /** Whether the reader may not read the XComs of a row. */
  isForbidden(row: Task): boolean {
    return this.known.get(keyOf(row))?.forbidden ?? false;
  }

  /** The tasks that may have cost something and have ended, newest first. */
  paid(): Task[] {
    const ended = this.all().filter((task) => xcomsOf(task).includes(MANIFEST));
    return ended.sort((a, b) => b.since.getTime() - a.since.getTime());
  }

  /** The cost of a task; undefined if it is not read; null if it has none. */
  cost(task: Task): Cost | null | undefined {
    const known = this.known.get(keyOf(task));
    if (known?.stamp !== stampOf(task)) return undefined;
    const usd = costOf(known.values.get(MANIFEST));
    return usd === undefined ? null : { at: task.end ?? task.since, dag: task.dagName, usd };
  }

  /** Read the XComs of a task, unless they are known or are being read. */
  private async values(task: Task, signal: AbortSignal): Promise<void> {
    const [key, stamp] = [keyOf(task), stampOf(task)];
    if (this.known.get(key)?.stamp === stamp && !isActive(task)) return;
    const reading = this.reading.get(key) ?? this.readValues(task, stamp, signal);
    this.reading.set(key, reading);
    try {
      await reading;
    } finally {
      if (this.reading.get(key) === reading) this.reading.delete(key);
    }
  }

  private async readValues(task: Task, stamp: string, signal: AbortSignal): Promise<void> {
    const values = new Map<string, unknown>();
    let forbidden = false;
    for (const key of xcomsOf(task)) {
      try {
        values.set(key, await this.airflow.xcom(task, key, signal));
        if (key === MANIFEST && values.get(key)) break;
      } catch (error) {
        if (!(error instanceof Refused) || error.status !== 403) throw error;
        forbidden = true;
      }
    }
    this.known.set(keyOf(task), { stamp, values, forbidden });
  }

  private async landing(batch: Task, signal: AbortSignal): Promise<void> {
    for (const task of this.candidates(batch)) {
      await this.values(task, signal);
      if (this.landed(task) === this.sent(batch)) return;
    }
  }

  private knownLanding(batch: Task): unknown {
    const id = this.sent(batch);
    const found = this.candidates(batch).find((task) => id && this.landed(task) === id);
    return found && this.known.get(keyOf(found))?.values.get(MANIFEST);
  }

  private candidates(batch: Task): Task[] {
    const run = runOf(batch);
    const landings = this.all().filter((task) => task.kind === "landing" && runOf(task) === run);
    return landingsFor(batch, landings).slice(0, CANDIDATES);
  }

  private landed(task: Task): string {
    return batchOf(this.known.get(keyOf(task))?.values.get(MANIFEST));
  }

  private sent(batch: Task): string {
    return text(record(this.known.get(keyOf(batch))?.values.get(RECEIPT))["batch_id"]);
  }
}

function stampOf(task: Task): string {
  return JSON.stringify([task.attempt, task.state, task.end?.getTime()]);
}
