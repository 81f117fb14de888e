import assert from "node:assert/strict";
import { test } from "node:test";
import { widths } from "../src/bar.ts";
import { OTHER, sums } from "../src/costs.ts";
import { dollars, duration, plural } from "../src/format.ts";

const on = (day: number, dag: string, usd: number) => ({ at: new Date(2026, 10, day, 12), dag, usd });

test("costs are added up by day and DAG, the dearest DAG first", () => {
  const found = sums([on(2, "a", 1), on(1, "b", 2), on(2, "b", 3), on(2, "a", 1)]);
  assert.deepEqual(found.dags, ["b", "a"]);
  assert.deepEqual(found.days, [
    { day: "2026-11-01", parts: [2, 0], total: 2 },
    { day: "2026-11-02", parts: [3, 2], total: 5 },
  ]);
  assert.equal(found.total, 7);
});

test("all but the dearest four DAGs are one", () => {
  const found = sums(["a", "b", "c", "d", "e", "f"].map((dag, place) => on(1, dag, 10 - place)));
  assert.deepEqual(found.dags, ["a", "b", "c", "d", OTHER]);
  assert.deepEqual(found.days[0]?.parts, [10, 9, 8, 7, 11]);
});

test("no costs are no days", () => assert.deepEqual(sums([]), { dags: [], days: [], total: 0 }));

test("a bar's parts fill it, and one failure in a million can be seen", () => {
  const found = widths([999_999, 1], 240);
  assert.equal(found[0]! + found[1]!, 240);
  assert.ok(found[1]! >= 2);
  assert.deepEqual(widths([1, 1], 240), [120, 120]);
});

test("amounts keep what matters", () => {
  assert.deepEqual([0, 1234.5, 0.00123, -2].map(dollars), ["$0.00", "$1,234.50", "$0.0012", "$-2.00"]);
});

test("times are told in their largest unit", () => {
  const [minute, hour] = [60_000, 3_600_000];
  const times = [-5, 59_000, minute, hour, 3 * hour + 20 * minute, 23 * hour, 49 * hour];
  assert.deepEqual(times.map(duration), ["0 s", "59 s", "1 min", "1 h", "3 h 20 min", "23 h", "2 days"]);
});

test("nouns have their plural", () => {
  assert.equal(plural(1, "batch"), "1 batch");
  assert.equal(plural(2, "batch"), "2 batches");
  assert.equal(plural(0, "day"), "0 days");
  assert.equal(plural(2, "job or batch"), "2 jobs or batches");
});
