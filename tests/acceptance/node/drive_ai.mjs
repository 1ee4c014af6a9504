// Does what a user of the AI SDK would with OpenRouter's provider for it, and prints what it got as JSON.
// usage: node drive_ai.mjs BASE_URL KEY MODEL PICTURE     (from a folder that has both; PICTURE is a PNG in base64)
import { createOpenRouter } from "@openrouter/ai-sdk-provider";
import { Output, generateObject, generateText, isStepCount, streamObject, streamText, tool } from "ai";
import { z } from "zod";

const [base, key, slug, picture] = process.argv.slice(2);
const openrouter = createOpenRouter({ apiKey: key, baseURL: base, compatibility: "strict" });
const model = openrouter(slug, { usage: { include: true }, reasoning: { effort: "low" } });
const weather = tool({
  description: "The weather of a city",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `sunny in ${city}`,
});
const trip = z.object({ city: z.string(), days: z.number().int() });

const told = (step) => ({
  text: step.text,
  reasoning: step.reasoningText ?? null,
  finish: step.finishReason,
  usage: step.usage,
  calls: (step.toolCalls ?? []).map((call) => ({ id: call.toolCallId, name: call.toolName, input: call.input })),
  own: step.providerMetadata?.openrouter ?? null,
  id: step.response?.id ?? null,
  generation: step.response?.headers?.["x-generation-id"] ?? null,
});
const failure = (error) => ({
  name: error.name,
  status: error.statusCode ?? null,
  message: error.message,
  retryable: error.isRetryable ?? null,
});
const fails = (call) => call.then(() => null, failure);

const plain = await generateText({ model, prompt: "Say it plainly." });

const steps = await generateText({ model, prompt: "Weather?", tools: { weather }, stopWhen: isStepCount(4) });

const stream = streamText({ model, prompt: "Weather?", tools: { weather }, stopWhen: isStepCount(4), onError: () => {} });
const parts = [];
let streamed = "";
for await (const part of stream.fullStream) {
  parts.push(part.type);
  if (part.type === "text-delta") streamed += part.text;
}

const object = await generateObject({ model, schema: trip, prompt: "Say it as JSON." });
const output = await generateText({ model, output: Output.object({ schema: trip }), prompt: "Say it as JSON." });
const growing = streamObject({ model, schema: trip, prompt: "Say it as JSON." });
let partials = 0;
for await (const _ of growing.partialObjectStream) partials += 1;

const seen = await generateText({
  model,
  messages: [
    {
      role: "user",
      content: [
        { type: "text", text: "Look." },
        { type: "file", data: new Uint8Array(Buffer.from(picture, "base64")), mediaType: "image/png" },
      ],
    },
  ],
});

const once = { maxRetries: 0 };
const nobody = createOpenRouter({ apiKey: "sk-rb-v1-nobodys", baseURL: base });
let late = null;
const broken = streamText({
  model: openrouter("turns/nothing"),
  prompt: "Hi",
  ...once,
  onError: ({ error }) => {
    late = failure(error);
  },
});
await broken.consumeStream({ onError: () => {} });

console.log(
  JSON.stringify({
    plain: told(plain),
    steps: steps.steps.map(told),
    stream: { text: streamed, parts, steps: (await stream.steps).map(told) },
    objects: [object.object, output.output, await growing.object],
    partials,
    seen: told(seen),
    faults: {
      key: await fails(generateText({ model: nobody("turns/openai_chat"), prompt: "Hi", ...once })),
      model: await fails(generateText({ model: openrouter("turns/nothing"), prompt: "Hi", ...once })),
      limit: await fails(
        generateText({ model: openrouter(slug, { extraBody: { temperature: 9 } }), prompt: "Hi", ...once }),
      ),
      stream: late,
    },
  }),
);
