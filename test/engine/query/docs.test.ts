import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";
import { TidemarkError, createEngine, type Engine } from "../../../engine/index.js";
import { openMemory } from "../../../storage/memory.js";
import { Clock, turn } from "../../support/clock.js";

const path = fileURLToPath(new URL("../../../docs/queries.md", import.meta.url));
const MINUTE_MS = 60_000;

interface Fence {
  readonly kind: string;
  readonly line: number;
  readonly text: string;
}

function fencesOf(markdown: string): Fence[] {
  const fences: Fence[] = [];
  const lines = markdown.split("\n");
  for (let i = 0; i < lines.length; i++) {
    const kind = /^```(.+)$/.exec(lines[i]!)?.[1];
    if (kind === undefined) continue;
    const end = lines.indexOf("```", i);
    fences.push({ kind, line: i + 1, text: lines.slice(i + 1, end).join("\n") });
    i = end;
  }
  return fences;
}

/** The engine of the examples: its clock shows 14:03:11, and what ended by 08:00 is sealed. */
async function documentedEngine(events: string): Promise<Engine> {
  const clock = new Clock(Date.parse("2026-11-23T14:03:11Z"));
  const engine = await createEngine({
    storage: openMemory(),
    scheduler: clock.scheduler,
    homeZones: ["Asia/Kolkata"],
    // The watermark is 14:02.
    allowedLatenessMs: (6 * 60 + 2) * MINUTE_MS,
    retention: { raw: null, quarter: null, hour: null, day: null },
    reconcileEveryMs: 0,
  });
  await engine.ingest(
    events.split("\n").map((line) => JSON.parse(line) as unknown),
    { backfill: true },
  );
  await clock.advance(0);
  while (engine.stats().commits === 0) await turn();
  return engine;
}

/** What a fence asks. */
function askerOf(engine: Engine, kind: string): ((input: never) => Promise<unknown>) | undefined {
  switch (kind) {
    case "json query":
      return async (input) => await engine.query(input);
    case "json peak":
      return async (input) => await engine.peak(input);
    case "json overlap":
      return async (input) => await engine.overlap(input);
    case "json batch":
      return async (input) => await engine.batch(input);
    default:
      return undefined;
  }
}

/** A refused question is a query, unless it looks like another one. */
function refusedKind(input: unknown): string {
  if (Array.isArray(input)) return "json batch";
  return Object.hasOwn(input as object, "a") ? "json overlap" : "json query";
}

t.test("every example of docs/queries.md is answered, or refused, as it is written there", async (t) => {
  const fences = fencesOf(readFileSync(path, "utf8"));
  const engine = await documentedEngine(fences.find(({ kind }) => kind === "ndjson events")!.text);
  let answer: unknown;
  const seen = { asked: 0, answer: 0, refused: 0 };
  for (const { kind, line, text } of fences) {
    const where = `line ${line}`;
    const ask = askerOf(engine, kind);
    if (ask !== undefined) {
      answer = JSON.parse(JSON.stringify(await ask(JSON.parse(text) as never)));
      seen.asked++;
    } else if (kind === "json answer") {
      const wanted = JSON.parse(text) as { results?: unknown[]; answers?: unknown[] };
      t.match(answer, wanted, where);
      for (const name of ["results", "answers"] as const) {
        if (wanted[name] === undefined) continue;
        t.equal((answer as typeof wanted)[name]!.length, wanted[name].length, `${where}: ${name}`);
      }
      seen.answer++;
    } else if (kind.startsWith("json refused ")) {
      const input = JSON.parse(text) as never;
      const code = kind.slice("json refused ".length);
      t.equal(await codeOf(() => askerOf(engine, refusedKind(input))!(input)), code, where);
      seen.refused++;
    } else if (kind !== "ndjson events") t.fail(`${where}: ${kind} is no kind of example`);
  }
  t.ok(seen.asked >= 10 && seen.answer >= 8 && seen.refused >= 6, JSON.stringify(seen));
  await engine.close();
});

async function codeOf(ask: () => Promise<unknown>): Promise<string> {
  try {
    await ask();
    return "answered";
  } catch (error) {
    return error instanceof TidemarkError ? error.code : String(error);
  }
}
