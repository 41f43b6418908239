// The Vercel AI SDK against a running Ostinato. Prints one JSON object per finished check; test_vercel_ai.py judges.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { embedMany, generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const { OSTINATO_URL: url, OSTINATO_KEY: apiKey } = process.env;
const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey });
const anthropic = createAnthropic({ baseURL: `${url}/v1`, apiKey });
const wires = { chat: (model) => openai.chat(model), responses: (model) => openai.responses(model), anthropic };

const report = (check, value) => console.log(JSON.stringify({ check, ...value }));
const cached = (result) => result.response.headers["ostinato-cache"];
const options = { maxRetries: 0, maxOutputTokens: 200 };

for (const [wire, provider] of Object.entries(wires)) {
  for (const [behind, model] of Object.entries({ openai: "plain", claude: "claude" })) {
    const check = `${wire} to ${behind}`;
    const ask = { ...options, model: provider(model), system: "Be brief.", prompt: `vercel: ${check}` };
    const first = await generateText(ask);
    const again = await generateText(ask);
    report(`${check}: text`, {
      texts: [first.text, again.text],
      cache: [cached(first), cached(again)],
      finish: again.finishReason,
      tokens: [first.usage.totalTokens, again.usage.totalTokens],
    });

    const streamed = streamText(ask);
    let text = "";
    for await (const piece of streamed.textStream) text += piece;
    report(`${check}: stream`, { text, finish: await streamed.finishReason, cache: (await streamed.response).headers["ostinato-cache"] });

    const calls = [];
    const search = tool({
      description: "Search",
      inputSchema: z.object({ query: z.string(), n: z.number().optional() }),
      execute: async ({ query }) => { calls.push(query); return `found ${query}`; },
    });
    const tooled = await generateText({ ...ask, model: provider(`${behind}-tools`), tools: { search }, stopWhen: stepCountIs(2) });
    const streaming = streamText({ ...ask, model: provider(`${behind}-tools`), tools: { search }, stopWhen: stepCountIs(1) });
    for await (const _ of streaming.fullStream);
    report(`${check}: tools`, {
      calls,
      steps: tooled.steps.length,
      names: tooled.steps[0].toolCalls.map((call) => call.toolName),
      streamed: (await streaming.toolCalls).map((call) => call.toolName),
    });

    const failure = await generateText({ ...ask, model: provider(`${behind}-400`) }).catch((error) => error);
    report(`${check}: error`, { name: failure.name, status: failure.statusCode, retryable: failure.isRetryable });
    const limited = await generateText({ ...ask, model: provider(`${behind}-429`) }).catch((error) => error);
    report(`${check}: rate`, { name: limited.name, status: limited.statusCode });
    const seen = [];
    const broken = streamText({ ...ask, model: provider(`${behind}-broken`), onError: ({ error }) => seen.push(String(error)) });
    let partial = "";
    try { for await (const piece of broken.textStream) partial += piece; } catch (error) { seen.push(String(error)); }
    report(`${check}: mid-stream`, { errors: seen.length, partial });
  }
}

const values = ["vercel: one", "vercel: two"];
const vectors = [1, 2].map(() => embedMany({ model: openai.embedding("vectors"), values, maxRetries: 0 }));
const [one, two] = await Promise.all(vectors);
report("embeddings", { sizes: one.embeddings.map((v) => v.length), equal: JSON.stringify(one.embeddings) === JSON.stringify(two.embeddings) });

const schema = z.object({ intent: z.string(), sure: z.boolean() });
for (const model of ["openai-said", "claude-said"]) {
  const made = await generateObject({ ...options, model: openai.chat(model), schema, prompt: "vercel: object" });
  report(`object from ${model}`, { object: made.object });
}
