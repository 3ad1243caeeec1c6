import { readFileSync } from "node:fs";
import t from "tap";
import { GET_FORMS, PARAMETERS, type GetForm, type GetFormName } from "../../server/get-parameters.js";
import type { Answer } from "./support/app.js";
import { clockedApp } from "./support/clocked.js";

const TEXT = readFileSync(new URL("../../docs/http.md", import.meta.url), "utf8");

interface Fence {
  readonly kind: string;
  readonly line: number;
  readonly text: string;
}

function fences(): Fence[] {
  const found: Fence[] = [];
  const lines = TEXT.split("\n");
  for (let i = 0; i < lines.length; i++) {
    const kind = /^```(.+)$/.exec(lines[i]!)?.[1];
    if (kind === undefined) continue;
    const end = lines.indexOf("```", i);
    found.push({ kind, line: i + 1, text: lines.slice(i + 1, end).join("\n") });
    i = end;
  }
  return found;
}

t.test("every example of docs/http.md is answered, or refused, as it is written there", async (t) => {
  const all = fences();
  const events = all.find(({ kind }) => kind === "ndjson events")!.text.split("\n");
  const app = await clockedApp(
    t,
    {},
    events.map((line) => JSON.parse(line) as Record<string, unknown>),
  );
  let answer: Answer | undefined;
  const seen: Record<string, number> = {};
  for (const { kind, line, text } of all) {
    const where = `line ${line}`;
    seen[kind] = (seen[kind] ?? 0) + 1;
    if (kind === "http") {
      const [, method, path, body = ""] = /^(GET|POST|DELETE) (\S+)(?:\n\n([^]+))?$/.exec(text)!;
      answer = method === "POST" ? await app.post(path!, body) : await app.send(method!, path!);
    } else if (kind === "json answer" || kind === "json accepted") {
      const wanted = JSON.parse(text) as { results?: unknown[] };
      t.equal(answer?.status, kind === "json answer" ? 200 : 202, `${where} ${answer?.text.slice(0, 200)}`);
      t.match(answer?.json, wanted, where);
      if (wanted.results !== undefined) t.equal(answer?.json.results.length, wanted.results.length, where);
    } else if (kind === "json refused") {
      t.match(answer?.json, JSON.parse(text), where);
    } else if (kind === "http headers") {
      for (const each of text.split("\n")) {
        const [, name, pattern] = /^([\w-]+): (.+)$/.exec(each)!;
        t.match(answer?.headers[name!], new RegExp(pattern!), `${where} ${name}`);
      }
    } else if (kind !== "ndjson events" && kind !== "ts") t.fail(`${where}: ${kind} is no kind of example`);
  }
  t.ok(seen["http"]! >= 20 && seen["json answer"]! >= 14 && seen["json refused"] === 6, JSON.stringify(seen));
});

t.test("the table of docs/http.md has every parameter, with the forms that take it", (t) => {
  const rows = TEXT.split("\n").filter(
    (line) => /^\| `[\w., `]+` \|.*\|$/.test(line) && line.split("|").length === 10,
  );
  const told = new Map<string, string[]>();
  for (const row of rows) {
    const [, names = "", , ...cells] = row.split("|").map((cell) => cell.trim());
    for (const [, name] of names.matchAll(/`([\w.]+)`/g)) told.set(name!, cells.slice(0, 6));
  }
  t.same(new Set(told.keys()), new Set(Object.keys(PARAMETERS).filter((name) => name !== "q")));
  const forms = Object.keys(GET_FORMS).filter((name) => name !== "query") as GetFormName[];
  t.equal(forms.length, 6);
  for (const [name, cells] of told) {
    for (const [i, form] of forms.entries()) {
      const { parameters, required }: { parameters: readonly string[]; required: readonly string[] } =
        GET_FORMS[form] satisfies GetForm;
      const wanted = required.includes(name) ? "needed" : parameters.includes(name) ? "✓" : "";
      t.equal(cells[i], wanted, `${name} in ${form}`);
    }
  }
  t.end();
});
