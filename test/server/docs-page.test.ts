import { Script } from "node:vm";
import t from "tap";
import { DOCS_SCRIPT } from "../../server/docs/assets.js";
import { turn } from "../support/clock.js";
import { startApp } from "./support/app.js";

// oxlint-disable-next-line typescript/no-explicit-any -- the document and the page's objects are judged by what they hold
type Json = any;

const TOKEN = "0123456789abcdef0123456789abcdef";

t.test("the page shows every operation under a policy that allows nothing within it", async (t) => {
  const open = await startApp(t);
  const { text, headers } = await open.get("/docs");
  const document: Json = (await open.get("/openapi.json")).json;
  for (const operation of Object.values<Json>(document.paths).flatMap((item) => Object.values<Json>(item)))
    t.match(text, `id="${operation.operationId}"`);
  for (const name of Object.keys(document.components.schemas)) t.match(text, `id="${name}"`);
  t.match(headers["content-security-policy"], /^default-src 'none'; script-src 'self'; style-src 'self'/);
  t.notMatch(
    text,
    /<script>|<style|style=|onclick|onsubmit|javascript:|https?:\/\//,
    "nothing inline, nothing from elsewhere",
  );
  const links = [...text.matchAll(/href="#([^"]+)"/g)].map(([, id]) => id!);
  t.ok(links.length > 50);
  for (const id of new Set(links)) t.match(text, `id="${id}"`);
  t.doesNotThrow(() => new Script(DOCS_SCRIPT));
  for (const [path, type] of [
    ["/docs/docs.js", "text/javascript; charset=utf-8"],
    ["/docs/docs.css", "text/css; charset=utf-8"],
  ] as const) {
    t.match(await open.get(path), { status: 200, headers: { "content-type": type } });
  }
});

t.test("with a token the page is served without its content, which the token gets", async (t) => {
  const app = await startApp(t, { token: TOKEN });
  const { status, text } = await app.get("/docs");
  t.equal(status, 200);
  t.notMatch(text, /country|v1\/events/);
  for (const path of ["/openapi.json", "/docs/operations"]) {
    t.equal((await app.get(path)).status, 401, path);
    t.match((await app.get(path, { authorization: `Bearer ${TOKEN}` })).text, /country/, path);
  }
});

/** The page's script with a document, a form and a server of our own. */
function runScript(answer: (address: string, headers: Record<string, string>) => Response): {
  submit(form: Json): Promise<void>;
  readonly main: { innerHTML: string };
} {
  const listeners = new Map<string, (event: Json) => void>();
  const main = { innerHTML: "" };
  new Script(DOCS_SCRIPT).runInNewContext({
    document: {
      addEventListener: (type: string, listener: (event: Json) => void) => listeners.set(type, listener),
      getElementById: (id: string) => (id === "operations" ? main : null),
    },
    fetch: async (address: string, { headers }: { headers: Record<string, string> }) =>
      answer(address, { ...headers }),
    URLSearchParams,
    FormData: class {
      constructor(readonly form: Json) {}
      get(name: string): string {
        return this.form.fields[name];
      }
    },
  });
  return {
    main,
    async submit(form) {
      listeners.get("submit")!({ preventDefault: () => undefined, target: form });
      await turn();
    },
  };
}

const input = (name: string, value: string, place = "query"): Json => ({
  name,
  value,
  dataset: { in: place },
});

t.test("the page asks what its forms say, with the token, and shows the answer as text", async (t) => {
  const asked: [string, Record<string, string>][] = [];
  const script = runScript((address, headers) => {
    asked.push([address, headers]);
    return address === "docs/operations"
      ? new Response("<b>all</b>")
      : new Response('{"a":"<b>"}', { headers: { "content-type": "application/json", etag: '"e"' } });
  });
  await script.submit({ id: "token", fields: { token: ` ${TOKEN} ` } });
  t.equal(script.main.innerHTML, "<b>all</b>");
  const output = { textContent: "" };
  const form = (path: string, inputs: Json[]): Json => ({
    dataset: { path },
    querySelectorAll: () => inputs,
    querySelector: () => output,
    lastElementChild: output,
  });
  await script.submit(form("/v1/top", [input("range", "7d"), input("by", "a b&c"), input("country", "")]));
  await script.submit(form("/errors/{code}", [input("code", "a/b", "path")]));
  const headers = { authorization: `Bearer ${TOKEN}` };
  t.same(asked, [
    ["docs/operations", headers],
    ["v1/top?range=7d&by=a+b%26c", headers],
    ["errors/a%2Fb", headers],
  ]);
  t.match(
    output.textContent,
    /^GET \/errors\/a%2Fb\n200\netag: "e"\ncache-control: null\n\n\{\n {2}"a": "<b>"\n\}$/,
  );
});
