// What a row says about a job or a batch, from the XComs of its task.

import { count, list, moment, record, text, usd } from "./json.ts";
import { BATCH_ID, ESTIMATE, MANIFEST, PROGRESS, RECEIPT } from "./operators.ts";
import { isActive, type Task } from "./tasks.ts";

/** Hours after which the API ends a batch (docs, "Batch processing"). */
const LIFETIME_H = 24;

export interface Summary {
  /** Requests by outcome; `under_way`, `unsent` and `not_landed` are those without one. */
  readonly counts: ReadonlyMap<string, number>;
  readonly batches: number | undefined;
  readonly landed: number | undefined;
  readonly round: number | undefined;
  readonly canary: "under way" | "landed" | undefined;
  readonly ids: readonly string[];
  readonly expires: Date | undefined;
  readonly tokens: Tokens | undefined;
  readonly cost: number | undefined;
  readonly projected: number | undefined;
  readonly estimate: Estimate | undefined;
  readonly places: readonly string[];
  readonly source: string;
  readonly errors: readonly string[];
}

export interface Tokens {
  readonly input: number;
  readonly output: number;
}

export interface Estimate {
  readonly floor: number | undefined;
  readonly ceiling: number | undefined;
  readonly input: number | undefined;
}

export type Values = ReadonlyMap<string, unknown>;

const NOTHING: Summary = {
  counts: new Map(),
  batches: undefined,
  landed: undefined,
  round: undefined,
  canary: undefined,
  ids: [],
  expires: undefined,
  tokens: undefined,
  cost: undefined,
  projected: undefined,
  estimate: undefined,
  places: [],
  source: "",
  errors: [],
};

/**
 * Summarize a task.
 *
 * @param task the task.
 * @param values its XComs by key.
 * @param landing the manifest of the task that landed this batch.
 */
export function summarize(task: Task, values: Values, landing?: unknown): Summary {
  if (task.kind === "job") return values.get(MANIFEST) ? jobEnded(values.get(MANIFEST)) : jobUnderWay(task, values);
  if (task.kind === "landing") return landed(values.get(MANIFEST));
  if (task.kind === "wait") return { ...NOTHING, ids: texts([values.get(BATCH_ID)]) };
  return batch(task, values.get(RECEIPT), landing);
}

/** What a task's manifest says that it cost; undefined if it says nothing. */
export function costOf(manifest: unknown): number | undefined {
  const cost = record(manifest)["cost_usd"];
  return usd(cost) ?? usd(record(cost)["total"]);
}

/** The batch that a manifest of the results operator is about. */
export function batchOf(manifest: unknown): string {
  return text(record(manifest)["batch_id"]);
}

function jobEnded(value: unknown): Summary {
  const manifest = record(value);
  const batches = list(manifest["batches"]).map(record);
  return {
    ...NOTHING,
    counts: counts(manifest["counts"]),
    batches: batches.length,
    landed: batches.filter((each) => !each["lost"]).length,
    round: list(manifest["rounds"]).length,
    canary: batches.some((each) => each["canary"] === true) ? "landed" : undefined,
    ids: texts(batches.map((each) => each["id"])),
    tokens: tokens(manifest["usage"]),
    cost: costOf(manifest),
    estimate: estimate(manifest["estimate"]),
    places: places([...list(manifest["results"]), manifest["failed"]]),
    source: text(manifest["source"]),
    errors: Object.keys(record(manifest["error_types"])),
  };
}

function jobUnderWay(task: Task, values: Values): Summary {
  const progress = record(values.get(PROGRESS));
  const open: [string, number][] = [];
  for (const name of ["under_way", "unsent"]) {
    const requests = count(progress[name]);
    if (requests) open.push([name, requests]);
  }
  return {
    ...NOTHING,
    counts: new Map([...counts(progress["counts"]), ...open]),
    batches: count(progress["batches"]),
    landed: count(progress["landed"]),
    round: count(progress["round"]),
    canary: progress["canary"] === true ? "under way" : undefined,
    expires: isActive(task) ? expiry(progress["oldest_batch_at"]) : undefined,
    cost: usd(progress["spent_usd"]),
    projected: usd(progress["projected_usd"]),
    estimate: estimate(values.get(ESTIMATE)),
  };
}

function batch(task: Task, value: unknown, landing: unknown): Summary {
  const receipt = record(value);
  const id = text(receipt["batch_id"]);
  const requests = count(receipt["requests"]);
  const open = isActive(task) ? "under_way" : "not_landed";
  const sent: Summary = {
    ...NOTHING,
    counts: requests ? new Map([[open, requests]]) : NOTHING.counts,
    batches: id ? 1 : undefined,
    ids: texts([id]),
    expires: isActive(task) ? expiry(receipt["created_at"]) : undefined,
    source: text(receipt["source"]),
  };
  if (!id || batchOf(landing) !== id) return sent;
  return { ...landed(landing), source: sent.source };
}

function landed(value: unknown): Summary {
  const manifest = record(value);
  return {
    ...NOTHING,
    counts: counts(manifest["counts"]),
    batches: batchOf(manifest) ? 1 : undefined,
    landed: batchOf(manifest) ? 1 : undefined,
    ids: texts([batchOf(manifest)]),
    tokens: tokens(manifest["usage"]),
    cost: costOf(manifest),
    places: places([manifest["results"], manifest["failed"]]),
    errors: texts(list(manifest["error_messages"]).map((each) => record(each)["message"])),
  };
}

function counts(value: unknown): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  for (const [name, requests] of Object.entries(record(value))) {
    const number = count(requests);
    if (number) found.set(name, number);
  }
  return found;
}

function tokens(value: unknown): Tokens | undefined {
  const models = Object.values(record(value)).map(record);
  if (!models.length) return undefined;
  const sum = (...names: string[]): number =>
    models.reduce((total, model) => names.reduce((sofar, name) => sofar + (count(model[name]) ?? 0), total), 0);
  return {
    input: sum("input_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "cache_read_tokens"),
    output: sum("output_tokens"),
  };
}

function estimate(value: unknown): Estimate | undefined {
  const found = record(value);
  const [floor, ceiling] = [usd(found["floor_usd"]), usd(found["ceiling_usd"])];
  const input = count(found["input_tokens"]);
  return floor === undefined && ceiling === undefined && input === undefined ? undefined : { floor, ceiling, input };
}

function expiry(created: unknown): Date | undefined {
  const date = moment(created);
  return date && new Date(date.getTime() + LIFETIME_H * 3_600_000);
}

function places(objects: readonly unknown[]): string[] {
  return texts(objects.map((each) => record(each)["uri"]));
}

function texts(values: readonly unknown[]): string[] {
  return values.map(text).filter((each) => each !== "");
}
