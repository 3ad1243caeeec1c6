import { readdirSync, readFileSync } from "node:fs";
import t from "tap";
import { needsShared, sharedPath } from "../support/env.js";
import { startApp } from "./support/app.js";
import { GOOD, NDJSON, send, views } from "./support/events.js";
import type { Answer } from "./support/http.js";

const JSON_SUITE = "vectors/json-test-suite/test_parsing";

t.test(
  "JSON's test suite as bodies and as lines: what is JSON is read, what is not is refused",
  needsShared(JSON_SUITE),
  async (t) => {
    const app = await startApp(t);
    const folder = sharedPath(JSON_SUITE);
    const names = readdirSync(folder);
    t.ok(names.length > 300, "the suite is complete");
    const failures: string[] = [];
    for (const name of names) {
      const vector = readFileSync(`${folder}/${name}`);
      const whole = await send(app, vector);
      const isRefused = whole.status === 400;
      if (name.startsWith("y_") && whole.status !== 422)
        failures.push(`${name}: ${whole.status} ${whole.text}`);
      if (name.startsWith("n_") && !isRefused) failures.push(`${name}: ${whole.status} ${whole.text}`);
      if (![400, 422].includes(whole.status)) failures.push(`${name}: ${whole.status}`);
      const line = await send(
        app,
        Buffer.concat([Buffer.from(`${GOOD}\n`), vector, Buffer.from(`\n${GOOD}\n`)]),
        NDJSON,
      );
      if (line.status !== 202 || line.json.accepted !== 2) failures.push(`${name} as a line: ${line.text}`);
      if (vector.includes("\n") || vector.every((byte) => [9, 13, 32].includes(byte))) continue;
      const [error] = line.json.errors;
      const isJson = !["/errors/invalid-json", "/errors/invalid-utf8"].includes(error?.type);
      if (error?.index !== 1 || line.json.errors.length !== 1)
        failures.push(`${name} as a line: ${line.text}`);
      if (name.startsWith("y_") && !isJson) failures.push(`${name} as a line: ${line.text}`);
      if (name.startsWith("n_") && isJson) failures.push(`${name} as a line: ${line.text}`);
    }
    t.same(failures, []);
    t.equal(await views(app), names.length * 2);
  },
);

const NAUGHTY = "vectors/naughty-strings/blns.json";

t.test(
  "naughty strings: as values they come back as they were, elsewhere they are refused as problems",
  needsShared(NAUGHTY),
  async (t) => {
    const app = await startApp(t);
    const strings = JSON.parse(readFileSync(sharedPath(NAUGHTY), "utf8")) as string[];
    const usable = new Set(strings.filter((text) => text !== "" && text.isWellFormed()));
    const events = [...usable].map((text) => ({
      type: "view",
      blog: text,
      author: text,
      country: text,
      viewer: text,
      id: text,
    }));
    t.match(await send(app, events.map((event) => JSON.stringify(event)).join("\n"), NDJSON), {
      status: 202,
      json: { accepted: usable.size },
    });
    const query = { date_range: "all", metrics: ["views"], dimensions: ["blog"], limit: 10_000 };
    const { json } = await app.post("/v1/query", JSON.stringify(query));
    t.same(
      new Set(json.results.map((row: { dimensions: string[] }) => row.dimensions[0])),
      usable,
      "each is a blog of its own",
    );
    const failures: string[] = [];
    const check = (what: string, text: string, { status, json }: Answer, ...allowed: number[]): void => {
      if (!allowed.includes(status) || (status >= 400 && json === undefined))
        failures.push(`${what} ${JSON.stringify(text)}: ${status}`);
    };
    for (const text of usable) {
      const quoted = encodeURIComponent(text);
      check("parameter", text, await app.post(`/v1/events?${quoted}=1`, GOOD), 400);
      check("value of a parameter", text, await app.post(`/v1/events?wait=${quoted}`, GOOD), 400);
      check(
        "zone",
        text,
        await app.post("/v1/query", JSON.stringify({ date_range: "day", timezone: text })),
        422,
      );
      check("range", text, await app.post("/v1/query", JSON.stringify({ date_range: text })), 422);
      check(
        "member",
        text,
        await app.post("/v1/query", JSON.stringify({ date_range: "day", [text]: 1 })),
        400,
        422,
      );
      check(
        "filter",
        text,
        await app.post("/v1/query", JSON.stringify({ date_range: "day", filters: [["is", "blog", [text]]] })),
        200,
      );
      check("path", text, await app.get(`/errors/${quoted}`), 404, 414);
      if (/^[\x21-\x7e]+$/.test(text))
        check("header", text, await send(app, GOOD, { "idempotency-key": text }), 202, 400, 422);
    }
    t.same(failures, []);
  },
);

const UTF8 = "vectors/utf8/autobahn-utf8.json";

t.test(
  "UTF-8 sequences: valid ones are values, invalid ones refuse the body, or just their line",
  needsShared(UTF8),
  async (t) => {
    const app = await startApp(t);
    const { cases } = JSON.parse(readFileSync(sharedPath(UTF8), "utf8")) as {
      cases: [string, boolean, string][];
    };
    const failures: string[] = [];
    for (const [group, valid, hex] of cases) {
      const bytes = Buffer.from(hex, "hex");
      // JSON wants control characters escaped, however valid they are as UTF-8.
      const code = !valid ? "invalid-utf8" : bytes.some((byte) => byte < 0x20) ? "invalid-json" : undefined;
      const type = code === undefined ? undefined : `/errors/${code}`;
      const around = (before: string, after: string): Buffer =>
        Buffer.concat([Buffer.from(before), bytes, Buffer.from(after)]);
      const event = around('{"type":"view","blog":"x', '"}');
      const whole = await send(app, event);
      const line = await send(
        app,
        Buffer.concat([Buffer.from(`${GOOD}\n`), event, Buffer.from(`\n${GOOD}`)]),
        NDJSON,
      );
      const query = around('{"date_range":"day","filters":[["is","blog",["x', '"]]]}');
      const asked = await app.post("/v1/query", query);
      const got = [
        whole.status,
        whole.json.type,
        line.json.accepted,
        line.json.errors[0]?.type,
        asked.status,
      ];
      const want = code === undefined ? [202, type, 3, type, 200] : [400, type, 2, type, 400];
      if (String(got) !== String(want)) failures.push(`${group} ${hex}: ${String(got)}`);
    }
    t.ok(cases.length > 100);
    t.same(failures, []);
  },
);
