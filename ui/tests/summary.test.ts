import assert from "node:assert/strict";
import { test } from "node:test";
import { batchOf, costOf, summarize } from "../src/summary.ts";
import { task } from "./samples.ts";

const job = (state: string) => task({ operator: "MessageBatchJobOperator", state });

test("a job that has ended is told from its manifest", () => {
  const manifest = {
    counts: { succeeded: 9_990, errored: 10, canceled: 0 },
    rounds: [{}, {}],
    batches: [{ id: "msgbatch_1", canary: true }, { id: "msgbatch_2" }, { id: "msgbatch_3", lost: "missing" }],
    usage: { haiku: { input_tokens: 5, cache_read_tokens: 2, output_tokens: 3 }, opus: { output_tokens: 4 } },
    cost_usd: "1.25",
    estimate: { floor_usd: "1", ceiling_usd: "8", input_tokens: 6 },
    results: [{ uri: "s3://lake/results-0.jsonl" }],
    failed: { uri: "s3://lake/failed.jsonl" },
    error_types: { invalid_request_error: 10 },
  };
  const found = summarize(job("success"), new Map([["return_value", manifest]]));
  assert.deepEqual([...found.counts], [["succeeded", 9_990], ["errored", 10]]);
  assert.deepEqual([found.batches, found.landed, found.round, found.canary], [3, 2, 2, "landed"]);
  assert.deepEqual(found.tokens, { input: 7, output: 7 });
  assert.deepEqual([found.cost, found.estimate], [1.25, { floor: 1, ceiling: 8, input: 6 }]);
  assert.deepEqual(found.places, ["s3://lake/results-0.jsonl", "s3://lake/failed.jsonl"]);
  assert.deepEqual(found.errors, ["invalid_request_error"]);
});

test("a job under way is told from its progress, and expires a day after its oldest batch was created", () => {
  const progress = {
    round: 2,
    batches: 7,
    landed: 4,
    counts: { succeeded: 5 },
    under_way: 3,
    unsent: 0,
    spent_usd: null,
    projected_usd: "2.5",
    canary: true,
    oldest_batch_at: "2026-11-01T12:00:00Z",
  };
  const found = summarize(job("deferred"), new Map([["progress", progress]]));
  assert.deepEqual([...found.counts], [["succeeded", 5], ["under_way", 3]]);
  assert.deepEqual([found.cost, found.projected, found.canary], [undefined, 2.5, "under way"]);
  assert.equal(found.expires?.toISOString(), "2026-11-02T12:00:00.000Z");
  assert.equal(summarize(job("failed"), new Map([["progress", progress]])).expires, undefined);
});

test("a batch is told from its receipt until the task that landed it says more", () => {
  const values = new Map([["receipt", { batch_id: "msgbatch_1", requests: 10, created_at: "2026-11-01T00:00:00Z" }]]);
  const landing = { batch_id: "msgbatch_1", counts: { succeeded: 10 }, results: { uri: "s3://r" }, cost_usd: { total: "2" } };
  assert.deepEqual([...summarize(task({ state: "deferred" }), values).counts], [["under_way", 10]]);
  assert.deepEqual([...summarize(task(), values).counts], [["not_landed", 10]]);
  const found = summarize(task(), values, landing);
  assert.deepEqual([[...found.counts], found.places, found.cost], [[["succeeded", 10]], ["s3://r"], 2]);
});

test("the manifest of another batch of the run is not taken for this one's", () => {
  const values = new Map([["receipt", { batch_id: "msgbatch_1", requests: 10 }]]);
  const found = summarize(task(), values, { batch_id: "msgbatch_2", counts: { succeeded: 3 } });
  assert.deepEqual([[...found.counts], found.ids], [[["not_landed", 10]], ["msgbatch_1"]]);
});

test("a receipt without an id is not joined with a manifest without one", () => {
  assert.equal(summarize(task(), new Map([["receipt", {}]]), {}).landed, undefined);
});

test("an unknown price is no cost of zero", () => {
  for (const cost of [null, { total: null }, "", "much", undefined, {}]) assert.equal(costOf({ cost_usd: cost }), undefined);
  assert.equal(costOf({ cost_usd: "0" }), 0);
});

test("an XCom may hold anything", () => {
  const anything = [null, 7, "text", [], [null], { counts: 3 }, { counts: { a: "b", c: -1, d: Infinity } }, { batches: 4 }];
  for (const value of anything) {
    for (const key of ["return_value", "progress", "receipt", "estimate", "batch_id"]) {
      for (const operator of ["MessageBatchJobOperator", "MessageBatchSubmitOperator", "MessageBatchResultsOperator", "MessageBatchSensor"]) {
        assert.equal(summarize(task({ operator }), new Map([[key, value]]), value).counts.size, 0);
      }
    }
    assert.equal(batchOf(value), "");
  }
});
