import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";
import { TidemarkError } from "../../../engine/errors.js";
import { at, World, type Happening } from "./world.js";

const path = fileURLToPath(new URL("../../../docs/queries.md", import.meta.url));

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

async function documentedWorld(events: string): Promise<World> {
  const world = new World({ homeZones: ["Asia/Kolkata"] });
  for (const line of events.split("\n")) {
    const { type, ts, ...rest } = JSON.parse(line) as Omit<Happening, "ts"> & { type: string; ts: string };
    world.add({ ...rest, ts: at(ts), created: type === "created" });
  }
  world.now = at("2026-11-23T14:03:11Z");
  await world.commit(at("2026-11-23T08:00:00Z"));
  return world;
}

t.test("every example of docs/queries.md is answered, or refused, as it is written there", async (t) => {
  const fences = fencesOf(readFileSync(path, "utf8"));
  const world = await documentedWorld(fences.find(({ kind }) => kind === "ndjson events")!.text);
  let answer: unknown;
  const seen = { query: 0, answer: 0, refused: 0 };
  for (const { kind, line, text } of fences) {
    const where = `line ${line}`;
    if (kind === "json query") {
      answer = JSON.parse(JSON.stringify(world.query(JSON.parse(text))));
      seen.query++;
    } else if (kind === "json answer") {
      t.match(answer, JSON.parse(text), where);
      const { results } = JSON.parse(text) as { results: unknown[] };
      t.equal((answer as { results: unknown[] }).results.length, results.length, where);
      seen.answer++;
    } else if (kind.startsWith("json refused ")) {
      t.equal(
        codeOf(() => world.query(JSON.parse(text))),
        kind.slice("json refused ".length),
        where,
      );
      seen.refused++;
    } else if (kind !== "ndjson events") t.fail(`${where}: ${kind} is no kind of example`);
  }
  t.ok(seen.query >= 10 && seen.answer >= 8 && seen.refused >= 6, JSON.stringify(seen));
});

function codeOf(query: () => unknown): string {
  try {
    query();
    return "answered";
  } catch (error) {
    return error instanceof TidemarkError ? error.code : String(error);
  }
}
