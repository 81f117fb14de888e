// The table of jobs and batches.

import { bar } from "./bar.ts";
import { element, type Child } from "./dom.ts";
import { compact, dollars, duration, localTime, plural, words } from "./format.ts";
import type { Estimate, Summary } from "./summary.ts";
import { openAround } from "./surroundings.ts";
import { isActive, keyOf, type Task } from "./tasks.ts";

/** Batch ids and places that a row lists. Chosen: the manifest has them all. */
const LISTED = 3;

export interface Row {
  readonly task: Task;
  readonly summary: Summary | undefined;
  readonly forbidden: boolean;
  readonly address: string;
}

const COLUMNS = ["Job or batch", "State", "Requests", "Tokens", "Cost", "Results and batches"];
const KINDS = { job: "job", batch: "batch", landing: "landed batch", wait: "awaited batch" } as const;

export function head(): HTMLElement {
  return element("thead", {}, element("tr", {}, ...COLUMNS.map((name) => element("th", { scope: "col" }, name))));
}

export function tableRow(row: Row, now: Date): HTMLElement {
  const { task, summary } = row;
  return element(
    "tr",
    { "data-task": keyOf(task) },
    element("th", { scope: "row" }, ...named(row)),
    element("td", {}, ...stateOf(task, summary, now)),
    element("td", {}, ...requestsOf(row)),
    element("td", {}, ...tokensOf(summary)),
    element("td", {}, ...costOf(summary)),
    element("td", {}, ...placesOf(summary)),
  );
}

function named({ task, address }: Row): Child[] {
  const index = task.mapIndex < 0 ? "" : ` [${task.mapLabel || task.mapIndex}]`;
  const link = { href: address, "data-focus": keyOf(task), click: openAround, auxclick: openAround };
  return [
    element("a", link, `${task.taskName}${index}`),
    element("span", { class: "dag" }, task.dagName),
    small(`${KINDS[task.kind]} of run ${task.run}`),
  ];
}

function stateOf(task: Task, summary: Summary | undefined, now: Date): Child[] {
  const age = (task.end ?? now).getTime() - task.since.getTime();
  return [
    element("span", { class: `state ${task.state}` }, words(task.state)),
    small(task.attempt > 1 ? `try ${task.attempt}` : ""),
    small(`since ${localTime(task.since)}`),
    small(isActive(task) ? `for ${duration(age)}` : `took ${duration(age)}`),
    expiryOf(summary, now),
  ];
}

function expiryOf(summary: Summary | undefined, now: Date): Child {
  if (!summary?.expires) return undefined;
  const left = summary.expires.getTime() - now.getTime();
  return small(left > 0 ? `expires in ${duration(left)}` : `expired ${localTime(summary.expires)}`);
}

function requestsOf({ summary, forbidden }: Row): Child[] {
  if (forbidden) return [small("You have no permission to read this task's XComs.")];
  if (!summary) return [small("reading …")];
  if (!summary.counts.size && !summary.batches) return [small("nothing is known yet")];
  const batches = summary.batches && summary.batches > 1;
  const parts = [
    batches ? `${summary.landed ?? 0} of ${plural(summary.batches, "batch")} landed` : "",
    summary.round ? `round ${summary.round}` : "",
    summary.canary ? `canary ${summary.canary}` : "",
  ];
  return [
    summary.counts.size ? bar(summary.counts) : undefined,
    small(parts.filter(Boolean).join(", ")),
    ...summary.errors.slice(0, LISTED).map((error) => small(error)),
  ];
}

function tokensOf(summary: Summary | undefined): Child[] {
  if (summary?.tokens) return [small(`${compact(summary.tokens.input)} in`), small(`${compact(summary.tokens.output)} out`)];
  const input = summary?.estimate?.input;
  return input === undefined ? [dash()] : [small(`about ${compact(input)} in`)];
}

function costOf(summary: Summary | undefined): Child[] {
  const { cost, projected, estimate } = summary ?? {};
  const parts = [
    cost === undefined ? undefined : element("span", { class: "cost" }, dollars(cost)),
    projected === undefined ? undefined : small(`${dollars(projected)} projected`),
    estimate && small(range(estimate)),
  ];
  return parts.some((part) => part !== undefined) ? parts : [dash()];
}

function range({ floor, ceiling }: Estimate): string {
  if (floor === undefined || ceiling === undefined) return "";
  return `estimate ${dollars(floor)} to ${dollars(ceiling)}`;
}

function placesOf(summary: Summary | undefined): Child[] {
  if (!summary || (!summary.places.length && !summary.ids.length)) return [dash()];
  return [...listed(summary.places), ...listed(summary.ids)];
}

function listed(texts: readonly string[]): Child[] {
  const more = texts.length - LISTED;
  const shown = texts.slice(0, LISTED).map((text) => element("code", {}, text));
  return more > 0 ? [...shown, small(`and ${more} more`)] : shown;
}

function small(text: string): Child {
  return text ? element("small", {}, text) : undefined;
}

function dash(): HTMLElement {
  return element("small", {}, "–");
}
