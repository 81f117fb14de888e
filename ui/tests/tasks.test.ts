import assert from "node:assert/strict";
import { test } from "node:test";
import { keyOf, landingsFor, rowsOf, taskOf, tasksOf, xcomsOf, type Task } from "../src/tasks.ts";
import { instance, task } from "./samples.ts";

test("a task instance of another operator is left out", () => {
  assert.equal(taskOf(instance({ operator: "BashOperator" })), undefined);
  assert.equal(taskOf(instance({ operator: "toString" })), undefined, "a name that every object has");
  assert.deepEqual(tasksOf({ task_instances: [instance({ operator: "BashOperator" }), null, 7] }), []);
});

test("an answer without a list holds no tasks", () => {
  for (const answer of [null, {}, [], "text", { task_instances: {} }]) assert.deepEqual(tasksOf(answer), []);
});

test("a task that has not begun is dated by its queue, then by its run", () => {
  const queued = task({ start_date: null, queued_when: "2026-11-02T00:00:00Z" });
  assert.equal(queued.since.toISOString(), "2026-11-02T00:00:00.000Z");
  assert.equal(task({ start_date: null, queued_when: null }).since.toISOString(), "2026-11-01T00:00:00.000Z");
});

test("the tries of a task instance have one key, its mapped instances have several", () => {
  assert.equal(keyOf(task({ try_number: 1 })), keyOf(task({ try_number: 2, state: "failed" })));
  assert.notEqual(keyOf(task({ map_index: 0 })), keyOf(task({ map_index: 1 })));
  assert.notEqual(keyOf(task({ dag_id: "a,b" })), keyOf(task({ dag_id: "a", dag_run_id: "b" })));
});

test("only XComs that may be there are asked for", () => {
  const job = { operator: "MessageBatchJobOperator" };
  assert.deepEqual(xcomsOf(task({ ...job, state: "success" })), ["return_value"]);
  assert.deepEqual(xcomsOf(task({ ...job, state: "deferred" })), ["progress", "estimate"]);
  assert.deepEqual(xcomsOf(task({ ...job, state: "failed" })), ["return_value", "progress", "estimate"]);
  assert.deepEqual(xcomsOf(task({ ...job, state: "queued", start_date: null })), []);
  assert.deepEqual(xcomsOf(task({ operator: "MessageBatchSensor" })), ["batch_id"]);
  assert.deepEqual(xcomsOf(task({ operator: "_MessageBatchDecoratedOperator" })), ["receipt"]);
  assert.deepEqual(xcomsOf(task({ operator: "MessageBatchResultsOperator", state: "running" })), []);
});

test("rows are the newest first, and a landing of a run that submits has none of its own", () => {
  const land = { operator: "MessageBatchResultsOperator", task_id: "land" };
  const tasks = [
    task({ dag_run_id: "first", start_date: "2026-11-01T00:00:00Z" }),
    task({ dag_run_id: "first", ...land }),
    task({ dag_run_id: "third", ...land, start_date: "2026-11-03T00:00:00Z" }),
    task({ dag_run_id: "second", start_date: "2026-11-02T00:00:00Z" }),
  ];
  assert.deepEqual(rowsOf(tasks).map((row) => [row.run, row.task]), [
    ["third", "land"],
    ["second", "submit"],
    ["first", "submit"],
  ]);
});

test("the landing with the batch's map index is looked at first", () => {
  const land = (index: number): Task => task({ operator: "MessageBatchResultsOperator", map_index: index });
  const found = landingsFor(task({ map_index: 2 }), [land(0), land(1), land(2)]);
  assert.deepEqual(found.map((each) => each.mapIndex), [2, 0, 1]);
});
