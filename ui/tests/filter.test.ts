import assert from "node:assert/strict";
import { test } from "node:test";
import { EVERYTHING, PAGE_ROWS, isOneTask, matches, pageOf, queryOf, viewOf } from "../src/filter.ts";
import { task } from "./samples.ts";

test("a view survives its way through the address", () => {
  const views = [
    EVERYTHING,
    { ...EVERYTHING, days: 30, dag: "a&b=c", state: "failed", text: "ü <%>", page: 3 },
    { ...EVERYTHING, dag: "d", run: "manual__2026-11-01T00:00:00+00:00", task: "t", mapIndex: "0" },
  ];
  for (const view of views) assert.deepEqual(viewOf(queryOf(view)), view);
  assert.equal(queryOf(EVERYTHING), "");
});

test("what the address holds is not trusted", () => {
  assert.deepEqual(viewOf("?days=999&state=toString&page=-1&map_index=x"), EVERYTHING);
  assert.deepEqual(viewOf("?page=1.5&state=constructor&days=1e9"), EVERYTHING);
});

test("a placeholder that Airflow has not filled in counts as absent", () => {
  const view = viewOf("?dag_id=d&run_id=r&task_id=t&map_index={MAP_INDEX}");
  assert.deepEqual([view.mapIndex, isOneTask(view)], ["", true]);
});

test("the index of a task that is not mapped limits nothing", () => {
  assert.equal(viewOf("?dag_id=d&run_id=r&task_id=t&map_index=-1").mapIndex, "");
});

test("a link to a task shows that task only", () => {
  const view = { ...EVERYTHING, dag: "reviews", run: "manual__1", task: "submit" };
  assert.ok(matches(view, task({ map_index: 3 })));
  assert.ok(!matches({ ...view, mapIndex: "2" }, task({ map_index: 3 })));
  assert.ok(!matches(view, task({ dag_run_id: "manual__2" })));
  assert.ok(!matches(view, task({ task_id: "other" })));
});

test("the text is searched in names, ids and what the row shows", () => {
  const find = (text: string, more: string[] = []) => matches({ ...EVERYTHING, text }, task(), more);
  assert.ok(find(" REVIEWS "));
  assert.ok(find("manual__1"));
  assert.ok(!find("msgbatch_1"));
  assert.ok(find("msgbatch_1", ["msgbatch_12"]));
});

test("states are offered in groups", () => {
  assert.ok(matches({ ...EVERYTHING, state: "under way" }, task({ state: "deferred" })));
  assert.ok(!matches({ ...EVERYTHING, state: "failed" }, task({ state: "deferred" })));
});

test("pages hold every row once, and the last page stands for those behind it", () => {
  const rows = Array.from({ length: 5_001 }, (_, number) => number);
  const { pages } = pageOf(rows, 0);
  assert.deepEqual(Array.from({ length: pages }, (_, page) => pageOf(rows, page).rows).flat(), rows);
  assert.deepEqual(pageOf(rows, 10_000), { rows: [5_000], page: Math.floor(5_000 / PAGE_ROWS), pages });
  assert.deepEqual(pageOf([], 4), { rows: [], page: 0, pages: 1 });
});
