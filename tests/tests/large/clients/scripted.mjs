// OpenAI's client for JavaScript against a backend whose answers are known: `w0 w1 w2 …`.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(pathToFileURL(`${process.env.MODULES}/`));
const { default: OpenAI } = await import(pathToFileURL(require.resolve("openai")).href);

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, maxRetries: 0 });
const ask = { model: process.env.MODEL, messages: [{ role: "user", content: "hi" }] };

const models = [];
for await (const model of await client.models.list()) models.push(model.id);
assert(models.includes(ask.model));

const answer = await client.chat.completions.create(ask);
assert.match(answer.choices[0].message.content, /^w0 w1/);

let text = "";
for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) {
  text += chunk.choices[0]?.delta?.content ?? "";
}
assert.match(text, /^w0 w1/);

await assert.rejects(client.chat.completions.create({ ...ask, model: "no-such-model" }), { status: 404, code: "model_not_found" });
const stranger = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: "wrong", maxRetries: 0 });
await assert.rejects(stranger.models.list(), { status: 401, code: "invalid_api_key" });
