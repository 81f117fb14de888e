// Sums of cost by day and DAG.

import { localDay } from "./format.ts";

export interface Cost {
  readonly at: Date;
  readonly dag: string;
  readonly usd: number;
}

export interface Day {
  readonly day: string;
  readonly total: number;
  /** In the order of `Sums.dags`. */
  readonly parts: readonly number[];
}

export interface Sums {
  readonly dags: readonly string[];
  readonly days: readonly Day[];
  readonly total: number;
}

/** DAGs with a colour of their own. Chosen: more colours are hard to tell apart. */
const DAGS = 4;
export const OTHER = "other DAGs";

/** Add costs up: the days in order, the most expensive DAGs first, the rest as one. */
export function sums(costs: readonly Cost[]): Sums {
  const byDag = new Map<string, number>();
  for (const cost of costs) byDag.set(cost.dag, (byDag.get(cost.dag) ?? 0) + cost.usd);
  const ordered = [...byDag].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).map(([dag]) => dag);
  const named = ordered.slice(0, DAGS);
  const dags = ordered.length > DAGS ? [...named, OTHER] : named;
  const days = new Map<string, number[]>();
  for (const cost of costs) {
    const parts = days.get(localDay(cost.at)) ?? dags.map(() => 0);
    const place = named.includes(cost.dag) ? named.indexOf(cost.dag) : DAGS;
    parts[place] = (parts[place] ?? 0) + cost.usd;
    days.set(localDay(cost.at), parts);
  }
  const sorted = [...days].sort(([a], [b]) => a.localeCompare(b));
  return {
    dags,
    days: sorted.map(([day, parts]) => ({ day, parts, total: total(parts) })),
    total: total(costs.map((cost) => cost.usd)),
  };
}

function total(amounts: readonly number[]): number {
  return amounts.reduce((sum, amount) => sum + amount, 0);
}
