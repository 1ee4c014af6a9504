// Does what a user of openai for JavaScript would, and prints what it got as JSON.
// usage: node drive_openai.mjs BASE_URL KEY        (from a folder that has the SDK)
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const [base, key] = process.argv.slice(2);
const client = new OpenAI({ apiKey: key, baseURL: base, maxRetries: 0 });
const said = (content) => [{ role: "user", content }];
const trip = z.object({ city: z.string(), days: z.number().int(), tags: z.array(z.string()) });
const fails = (call) =>
  call.then(
    () => null,
    (error) => ({ name: error.constructor.name, status: error.status, message: error.message }),
  );

const { data: whole, response } = await client.chat.completions
  .create({ model: "scripted/cached", messages: said("Hi. [[prompt=90 cached=40 completion=20 reasoning=5]]") })
  .withResponse();

const stream = client.chat.completions.stream({
  model: "scripted/plain",
  messages: said("Go on. [[prompt=11 completion=9 pieces=4]]"),
  stream_options: { include_usage: true },
});
const kinds = new Set();
stream.on("content", () => kinds.add("content"));
stream.on("finalChatCompletion", () => kinds.add("final"));
const streamed = await stream.finalChatCompletion();

let asked = null;
const runner = client.chat.completions.runTools({
  model: "scripted/plain",
  messages: said("What is the weather?"),
  tools: [
    {
      type: "function",
      function: {
        name: "weather",
        parse: JSON.parse,
        parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
        function: (input) => {
          asked = input;
          return "sunny";
        },
      },
    },
  ],
});
const answer = await runner.finalContent();

const parsed = await client.chat.completions.parse({
  model: "scripted/plain",
  messages: said("Plan."),
  response_format: zodResponseFormat(trip, "trip"),
});

const responses = client.responses.stream({ model: "scripted/cached", input: "Think. [[completion=9 reasoning=4]]" });
const events = new Set();
for await (const event of responses) events.add(event.type);
const made = await responses.finalResponse();
const planned = await client.responses.parse({
  model: "scripted/plain",
  input: "Plan.",
  text: { format: zodTextFormat(trip, "trip") },
});

const leaving = await client.chat.completions.create({
  model: "scripted/plain",
  messages: said("Go on. [[hang=2 pieces=4]]"),
  stream: true,
});
let left = null;
for await (const chunk of leaving) {
  left = chunk.id;
  break;
}

const nobody = new OpenAI({ apiKey: "sk-rb-v1-nobodys", baseURL: base, maxRetries: 0 });
const ask = (text, model = "scripted/plain", by = client) =>
  by.chat.completions.create({ model, messages: said(text) });

console.log(
  JSON.stringify({
    whole: { id: whole.id, header: response.headers.get("x-generation-id"), usage: whole.usage },
    streamed: { id: streamed.id, text: streamed.choices[0].message.content, usage: streamed.usage, kinds: [...kinds] },
    tools: { asked, answer, roles: runner.messages.map((message) => message.role) },
    parsed: [parsed.choices[0].message.parsed, planned.output_parsed],
    responses: { events: [...events], text: made.output_text, usage: made.usage },
    left,
    models: (await client.models.list()).data.length,
    faults: {
      key: await fails(ask("Hi.", "scripted/plain", nobody)),
      model: await fails(ask("Hi.", "scripted/none")),
      provider: await fails(ask("Hi. [[status=500]]")),
      limited: await fails(ask("Hi. [[status=429]]")),
    },
  }),
);
