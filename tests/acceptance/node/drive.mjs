// Does what a user of @openrouter/sdk would, and prints what it got as JSON.
// usage: node drive.mjs BASE_URL KEY        (from a folder that has the SDK)
import { OpenRouter } from "@openrouter/sdk";

const [base, key] = process.argv.slice(2);
const client = new OpenRouter({ apiKey: key, serverURL: base });
const said = (text) => [{ role: "user", content: text }];
const record = async (id) => (await client.generations.getGeneration({ id })).data;

const answer = await client.chat.send({
  chatRequest: {
    model: "scripted/cached",
    messages: said("Hi. [[prompt=90 cached=40 completion=20 reasoning=5]]"),
  },
});

const events = await client.chat.send({
  chatRequest: {
    model: "scripted/plain",
    messages: said("Go on. [[prompt=11 completion=9 pieces=4]]"),
    stream: true,
  },
});
let text = "";
let id = null;
let usage = null;
for await (const chunk of events) {
  id = chunk.id;
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}

const refused = await client.generations.getGeneration({ id: "gen-1790000000-0123456789abcdefghij" }).then(
  () => null,
  (error) => ({ name: error.name, status: error.statusCode }),
);

console.log(
  JSON.stringify({
    chat: { answer, record: await record(answer.id) },
    stream: { text, usage, record: await record(id) },
    models: (await client.models.list()).result?.data?.length ?? null,
    refused,
  }),
);
