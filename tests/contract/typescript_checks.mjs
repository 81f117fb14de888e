// What the official TypeScript SDK must be able to do against the emulator.
//
// `node typescript_checks.mjs` with EMULATOR_URL, EMULATOR_KEY and EMULATOR_CONTROL in the environment runs every check
// and prints a JSON object: version of the SDK, and check -> "ok" or a stack.

import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { VERSION } from "@anthropic-ai/sdk/version.mjs";

const { EMULATOR_URL, EMULATOR_KEY, EMULATOR_CONTROL } = process.env;

const sdk = (options = {}) => new Anthropic({ apiKey: EMULATOR_KEY, baseURL: EMULATOR_URL, maxRetries: 0, ...options });
const { batches } = sdk().messages;
const params = { model: "claude-haiku-4-5", max_tokens: 64, messages: [{ role: "user", content: "Hello" }] };
const requests = (...ids) => ids.map((id) => ({ custom_id: id, params }));

async function control(method, path, body = {}) {
  const data = method === "GET" ? undefined : JSON.stringify(body);
  const response = await fetch(`${EMULATOR_CONTROL}/${path}`, { method, body: data });
  return response.json();
}

async function all(items) {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
}

const checks = {
  async aBatchIsCreatedAndRetrieved() {
    const made = await batches.create({ requests: requests("a", "b") });
    assert.equal(made.processing_status, "in_progress");
    assert.equal(made.request_counts.processing, 2);
    assert.deepEqual(await batches.retrieve(made.id), made);
  },

  async listingPagesByItself() {
    const ids = [];
    for (let number = 0; number < 25; number += 1) ids.unshift((await batches.create({ requests: requests("a") })).id);
    assert.deepEqual((await all(batches.list({ limit: 10 }))).map(({ id }) => id), ids);
    const newer = (await all(batches.list({ limit: 10, before_id: ids[24] }))).map(({ id }) => id);
    assert.deepEqual(new Set(newer), new Set(ids.slice(0, 24)));
  },

  async resultsAreTypedLines() {
    const asked = requests("good", "bad", "lost");
    asked[1] = { custom_id: "bad", params: { ...params, messages: [] } };
    asked[2] = { custom_id: "lost", params: { ...params, model: "claude-does-not-exist-9" } };
    const batch = await batches.create({ requests: asked });
    await assert.rejects(batches.results(batch.id), /in_progress/);
    await control("POST", "clock/advance", { seconds: 3600 });
    const results = Object.fromEntries((await all(await batches.results(batch.id))).map((r) => [r.custom_id, r.result]));
    assert.equal(results.good.message.content[0].text, "Echo: Hello");
    assert.equal(results.bad.error.error.message, "messages: at least one message is required");
    assert.equal(results.lost.error.error.type, "not_found_error");
  },

  async aBatchIsCanceledAndDeleted() {
    const batch = await batches.create({ requests: requests("a", "b") });
    assert.equal((await batches.cancel(batch.id)).processing_status, "canceling");
    await assert.rejects(batches.delete(batch.id), Anthropic.BadRequestError);
    await control("POST", "clock/advance", { seconds: 1 });
    assert.equal((await batches.retrieve(batch.id)).request_counts.canceled, 2);
    assert.deepEqual(await batches.delete(batch.id), { id: batch.id, type: "message_batch_deleted" });
    await assert.rejects(batches.retrieve(batch.id), Anthropic.NotFoundError);
  },

  async errorsAreOfTheirType() {
    const duplicate = await batches.create({ requests: requests("a", "a") }).catch((error) => error);
    assert.ok(duplicate instanceof Anthropic.BadRequestError);
    assert.match(duplicate.message, /Duplicate custom_id found: a/);
    assert.equal(duplicate.requestID, duplicate.error.request_id);
    await assert.rejects(sdk({ apiKey: "sk-ant-wrong" }).messages.batches.list(), Anthropic.AuthenticationError);
    await control("POST", "faults", { endpoint: "list", action: "status", status: 529 });
    await assert.rejects(batches.list(), Anthropic.InternalServerError);
    await control("POST", "faults", { endpoint: "list", action: "status", status: 429, headers: { "retry-after-ms": "1" } });
    assert.deepEqual((await sdk({ maxRetries: 1 }).messages.batches.list()).data, []);
  },

  async resultsThatAreCutAreNotTakenForWhole() {
    const ids = Array.from({ length: 50 }, (_, number) => `row-${number}`);
    const batch = await batches.create({ requests: requests(...ids) });
    await control("POST", `batches/${batch.id}/end`);
    await control("POST", "faults", { endpoint: "results", action: "cut", after_bytes: 3000 });
    await assert.rejects(async () => all(await batches.results(batch.id)));
    assert.equal((await all(await batches.results(batch.id))).length, 50);
  },

  async oneRequestIsTriedFirst() {
    const message = await sdk().messages.create(params);
    assert.equal(message.content[0].text, "Echo: Hello");
    const streamed = await sdk().messages.stream(params).finalMessage();
    assert.deepEqual(streamed.content, message.content);
    assert.equal(streamed.stop_reason, "end_turn");
    const counted = await sdk().messages.countTokens({ model: params.model, messages: params.messages });
    assert.ok(counted.input_tokens > 0);
  },

  async modelsAreListedAndRetrieved() {
    const models = await all(sdk().models.list({ limit: 5 }));
    const model = await sdk().models.retrieve("claude-haiku-4-5");
    assert.equal(model.id, "claude-haiku-4-5-20251001");
    assert.deepEqual(models.find(({ id }) => id === model.id), { ...model });
    await assert.rejects(sdk().models.retrieve("claude-none"), Anthropic.NotFoundError);
  },
};

const outcome = {};
for (const [name, check] of Object.entries(checks)) {
  const { calls } = await control("GET", "counters");
  assert.ok(calls);
  await control("DELETE", "faults");
  const left = (await control("GET", "batches")).batches;
  await control("POST", "batches/end");
  for (const { id } of left) await batches.delete(id);
  try {
    await check();
    outcome[name] = "ok";
  } catch (error) {
    outcome[name] = error.stack;
  }
}
console.log(JSON.stringify({ version: VERSION, checks: outcome }));
