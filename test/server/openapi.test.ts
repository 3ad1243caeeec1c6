import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import t from "tap";
import { ERROR_CODES } from "../../engine/errors.js";
import { defineSchema } from "../../engine/schema.js";
import { GET_FORMS, type GetFormName } from "../../server/get-parameters.js";
import { openApiDocument } from "../../server/openapi/document.js";
import { HTTP_CODES } from "../../server/problem.js";
import { startApp, testEngine, type Answer, type TestApp } from "./support/app.js";
import { NDJSON } from "./support/events.js";

// oxlint-disable-next-line typescript/no-explicit-any -- the document is judged as any reader of it would
type Json = any;

/** Everything in a document, with the pointer to it. */
function* walk(value: Json, pointer = ""): Generator<[pointer: string, value: Json]> {
  yield [pointer, value];
  if (typeof value !== "object" || value === null) return;
  for (const [name, item] of Object.entries(value)) {
    yield* walk(item, `${pointer}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`);
  }
}

function at(document: Json, pointer: string): Json {
  const names = pointer.split("/").slice(1);
  return names.reduce(
    (value, name) => value?.[decodeURIComponent(name).replaceAll("~1", "/").replaceAll("~0", "~")],
    document,
  );
}

/** The document's schemas by pointer; `strict` refuses members that it does not name. */
class Validator {
  readonly #ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });
  readonly #compiled = new Map<string, ValidateFunction>();

  constructor(document: Json, strict: boolean) {
    this.#ajv.addSchema(strict ? tightened(document) : document, "openapi");
  }

  errors(pointer: string, value: unknown): string[] {
    let validate = this.#compiled.get(pointer);
    if (validate === undefined) {
      const reference = pointer.split("/").map(encodeURIComponent).join("/");
      validate = this.#ajv.compile({ $ref: `openapi#${reference}` });
      this.#compiled.set(pointer, validate);
    }
    if (validate(value)) return [];
    return (validate.errors ?? []).map(
      ({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`,
    );
  }
}

function tightened(document: Json): Json {
  const copy = structuredClone(document);
  for (const [, value] of walk(copy)) {
    if (typeof value?.properties !== "object" || value.type !== "object") continue;
    if (value.description === OPEN_INDEX || value.description?.startsWith(OPEN_RAW)) continue;
    value.additionalProperties ??= false;
  }
  return copy;
}

/** Objects whose further members are for people, or for other kinds of storage. */
const OPEN_INDEX = "What is here, by method and address.";
const OPEN_RAW = "The event log:";

function operations(document: Json): { path: string; method: string; pointer: string; operation: Json }[] {
  return Object.entries<Json>(document.paths).flatMap(([path, item]) =>
    Object.entries<Json>(item).map(([method, operation]) => ({
      path,
      method,
      operation,
      pointer: `/paths/${path.replaceAll("/", "~1")}/${method}`,
    })),
  );
}

async function served(app: TestApp): Promise<Json> {
  return (await app.get("/openapi.json")).json;
}

t.test(
  "the document is OpenAPI 3.1 in its structure, and every reference in it leads somewhere",
  async (t) => {
    const document = await served(await startApp(t));
    t.match(document, { openapi: /^3\.1\.\d+$/, info: { title: String, version: String } });
    let references = 0;
    for (const [pointer, value] of walk(document)) {
      if (typeof value?.$ref !== "string" || pointer.includes("/example")) continue;
      t.ok(at(document, value.$ref.slice(1)) !== undefined, `${pointer} → ${value.$ref}`);
      references++;
    }
    t.ok(references > 50, `${references} references`);
    const dialect = new Ajv2020({ strict: false, logger: false });
    for (const [pointer, value] of walk(document)) {
      const isSchema = pointer.endsWith("/schema") || /^\/components\/schemas\/\w+$/.test(pointer);
      if (isSchema) t.ok(dialect.validateSchema(value), `${pointer} is a schema: ${dialect.errorsText()}`);
    }
    const tags = document.tags.map(({ name }: Json) => name);
    const ids = new Set<string>();
    for (const { path, method, pointer, operation } of operations(document)) {
      t.ok(["get", "post", "delete"].includes(method), pointer);
      t.notOk(ids.has(operation.operationId), `${operation.operationId} is one operation`);
      ids.add(operation.operationId);
      t.ok(
        operation.summary.length > 5 && operation.tags.every((tag: string) => tags.includes(tag)),
        pointer,
      );
      t.ok(
        Object.keys(operation.responses).some((status) => /^[12]/.test(status)),
        `${pointer}: can succeed`,
      );
      for (const [status, response] of Object.entries<Json>(operation.responses)) {
        t.match(status, /^[1-5]\d\d$/);
        t.ok(response.description.length > 3, `${pointer} ${status}`);
      }
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const parameters: Json[] = operation.parameters ?? [];
      t.same(
        parameters.filter((each) => each.in === "path" && each.required).map(({ name }) => name),
        inPath,
        `${pointer}: parameters of the path`,
      );
      t.equal(new Set(parameters.map(({ name, in: place }) => `${place} ${name}`)).size, parameters.length);
      for (const each of parameters)
        t.ok(each.schema !== undefined && each.description.length > 5, `${pointer} ${each.name}`);
    }
  },
);

t.test("every route of the server is in the document, with its methods, and nothing else is", async (t) => {
  const engine = await testEngine();
  const urls = new Set<string>();
  const app = await startApp(t, { engine, onRoute: (url) => urls.add(url) });
  const document = await served(app);
  t.same(
    new Set(Object.keys(document.paths)),
    new Set([...urls].map((url) => url.replace(/:(\w+)/g, "{$1}"))),
    "the same addresses",
  );
  for (const url of urls) {
    const { headers } = await app.send("OPTIONS", url.replace(/:(\w+)/g, "internal"));
    const allowed = String(headers.allow)
      .toLowerCase()
      .split(", ")
      .filter((method) => method !== "head");
    t.same(
      allowed.sort(),
      Object.keys(document.paths[url.replace(/:(\w+)/g, "{$1}")]).sort(),
      `methods of ${url}`,
    );
  }
});

t.test("every example in the document fits its schema", async (t) => {
  const document = await served(await startApp(t));
  const validator = new Validator(document, false);
  let examples = 0;
  const check = (pointer: string, value: unknown): void => {
    t.same(validator.errors(`${pointer}/schema`, value), [], pointer);
    examples++;
  };
  for (const [pointer, value] of walk(document.paths, "/paths")) {
    if (typeof value?.schema !== "object") continue;
    if (value.example !== undefined) check(pointer, value.example);
    for (const { value: example } of Object.values<Json>(value.examples ?? {})) check(pointer, example);
  }
  t.ok(examples > 40, `${examples} examples`);
});

t.test("a schema refuses what the server refuses", async (t) => {
  const app = await startApp(t);
  const validator = new Validator(await served(app), false);
  for (const [name, path, body] of [
    ["QueryInput", "/v1/query", {}],
    ["QueryInput", "/v1/query", { date_range: "today", colour: 1 }],
    ["QueryInput", "/v1/query", { date_range: "today", metrics: ["visits"] }],
    [
      "QueryInput",
      "/v1/query",
      { date_range: "today", metrics: [["rolling", "viewers", 0]], dimensions: ["time"] },
    ],
    ["QueryInput", "/v1/query", { date_range: "today", dimensions: ["planet"] }],
    ["QueryInput", "/v1/query", { date_range: "today", filters: [["like", "blog", ["a"]]] }],
    ["QueryInput", "/v1/query", { date_range: ["2026-01-01"] }],
    ["QueryInput", "/v1/query", { date_range: "today", limit: 0 }],
    ["QueryInput", "/v1/query", { date_range: "today", compare: { mode: "previous" } }],
    ["PeakInput", "/v1/peak", { date_range: "91d", limit: 169 }],
    ["BatchInput", "/v1/batch", { queries: {} }],
  ] as const) {
    const what = `${path} ${JSON.stringify(body)}`;
    t.not(validator.errors(`/components/schemas/${name}`, body).length, 0, `${what}: by the schema`);
    t.equal((await app.post(path, JSON.stringify(body))).status, 422, `${what}: by the server`);
  }
});

const EVENTS = [
  { type: "created", blog: "tides", author: "ann", country: "IN" },
  { type: "view", blog: "tides", author: "ann", country: "IN", viewer: "u1" },
  { type: "view", blog: "tides", author: "ann", country: "PT", viewer: "u2" },
  { type: "view", blog: "kelp", author: "bob", viewer: "u2" },
];

const DAY = 86_400_000;
const midnight = (daysAgo: number): string =>
  new Date(Math.floor(Date.now() / DAY) * DAY - daysAgo * DAY).toISOString();

/** Of which kind the question of an address is; none for what is no question. */
function questionKind(address: string): "query" | "peak" | "overlap" | "none" {
  const name = address.slice("/v1/".length) as GetFormName;
  if (name === "peak" || name === "overlap") return name;
  return Object.hasOwn(GET_FORMS, name) ? "query" : "none";
}

t.test(
  "what the running server answers fits the schemas, with no member that they do not name",
  async (t) => {
    const app = await startApp(t);
    const document = await served(app);
    const validator = new Validator(document, true);
    const seen = new Set<string>();
    const fits = (method: string, path: string, answer: Answer, what: string): void => {
      const [address = ""] = path.split("?");
      const known =
        document.paths[address] === undefined ? address.replace(/^\/errors\/.+/, "/errors/{code}") : address;
      const pointer = `/paths/${known.replaceAll("/", "~1")}/${method}/responses/${answer.status}`;
      const response = at(document, pointer);
      if (!t.ok(response, `${what}: ${answer.status} is in the document ${answer.text.slice(0, 300)}`))
        return;
      if (answer.status < 300 || known === "/v1/live") seen.add(`${method} ${known}`);
      const mediaType = String(answer.headers["content-type"]).replace(
        "application/json; charset=utf-8",
        "application/json",
      );
      t.ok(response.content[mediaType], `${what}: as ${mediaType}`);
      if (answer.json === undefined) return;
      const echo = { query: "QueryInput", peak: "PeakInput", overlap: "OverlapInput", none: undefined }[
        questionKind(address)
      ];
      if (answer.status === 200 && echo !== undefined) {
        t.same(validator.errors(`/components/schemas/${echo}`, answer.json.query), [], `${what}: its echo`);
      }
      const schema = `${pointer}/content/${mediaType.replaceAll("/", "~1")}/schema`;
      t.same(validator.errors(schema, answer.json), [], `${what} ${answer.status}`);
    };
    const get = async (path: string): Promise<void> => fits("get", path, await app.get(path), `GET ${path}`);
    const post = async (path: string, body: unknown, headers = {}): Promise<void> => {
      const text = typeof body === "string" ? body : JSON.stringify(body);
      fits("post", path, await app.post(path, text, headers), `POST ${path} ${text}`);
    };

    const remove = async (path: string): Promise<void> =>
      fits("delete", path, await app.send("DELETE", path), `DELETE ${path}`);

    await post("/v1/events", EVENTS);
    await post("/v1/events", [
      ...EVENTS,
      { type: "view", blog: "old", viewer: "u1", id: "i", ts: midnight(50) },
    ]);
    await get("/v1/admin/quarantine");
    await post("/v1/events", `${JSON.stringify(EVENTS[1])}\n{"type":"view"}\n`, NDJSON);
    await post("/v1/events", "[]");
    await post("/v1/events", "[");
    await post("/v1/admin/checkpoint", {});
    for (const { path, method, operation } of operations(document)) {
      if (method === "post" && !path.startsWith("/v1/admin") && path !== "/v1/events") {
        const { examples } = operation.requestBody.content["application/json"];
        for (const { value } of Object.values<Json>(examples)) await post(path, value);
        await post(path, { nonsense: true });
        await post(path, "{");
      }
      if (method === "get" && !path.includes("{") && !["/v1/live", "/v1/admin/merkle"].includes(path)) {
        const examples: readonly string[] = GET_FORMS[path.slice(4) as keyof typeof GET_FORMS]?.examples ?? [
          "",
        ];
        for (const example of examples) await get(path + example);
        if (path.startsWith("/v1/")) await get(`${path}?nonsense=1`);
      }
    }
    const queries = [
      {
        date_range: "24h",
        dimensions: ["time:hour"],
        include: { time_labels: true, explain: true, total: true },
      },
      { date_range: "today", dimensions: ["blog"], limit: 1, include: { other: true, total: true } },
      {
        date_range: "7d",
        dimensions: ["time:day"],
        fill: "zero",
        metrics: [
          ["change", "views"],
          ["rate", "views", "hour"],
        ],
      },
      {
        date_range: "7d",
        dimensions: ["time:day"],
        compare: { mode: "previous_period" },
        include: { time_labels: true },
      },
      { date_range: "7d", dimensions: ["blog"], limit: 1, cursor: null },
      {
        date_range: "today",
        metrics: ["views", "viewers", "views_anonymous", "blogs_created", "blogs_total", "views_per_viewer"],
      },
      { date_range: "today", timezone: "IST" },
      { date_range: "today", dimensions: ["author", "blog", "country"] },
    ];
    for (const query of queries) await post("/v1/query", query);
    await post("/v1/batch", {
      queries: [{ query: queries[0] }, { query: { date_range: "nonsense" } }, { peak: { date_range: "7d" } }],
    });
    await get("/errors/internal");
    await get("/errors/nonsense");
    await get("/v1/live");
    await get(`/v1/admin/merkle?from=${midnight(1)}&to=${midnight(-1)}`);
    await get("/v1/admin/merkle");
    await get("/v1/admin/revisions?limit=x");
    await get("/v1/admin/quarantine?limit=0");
    await post("/v1/admin/quarantine/replay", { ids: ["1"] });
    await post("/v1/admin/quarantine/replay", {});
    await remove("/v1/admin/quarantine");
    await remove("/v1/admin/quarantine?ids=1");
    await remove("/v1/admin/quarantine?ids=x");
    await remove("/v1/admin/quarantine?all=1");
    await post("/v1/admin/reconcile", { from: midnight(1), to: midnight(-1) });
    await post("/v1/admin/retention", { dry_run: true });
    for (const { path, method } of operations(document))
      t.ok(seen.has(`${method} ${path}`), `${method} ${path} was answered`);
  },
);

t.test("GET /v1/schema describes every metric, preset and error, and each preset is answered", async (t) => {
  const app = await startApp(t);
  const { json } = await app.get("/v1/schema");
  t.match(json, {
    dimensions: [{ name: "blog", subject: true }, { name: "author", remembered: true }, { name: "country" }],
    time_zones: Number,
  });
  for (const [pointer, value] of walk(json)) {
    if (value?.name !== undefined && !pointer.startsWith("/dimensions"))
      t.ok(value.description.length > 3, pointer);
  }
  t.same(
    new Set(json.errors.map(({ code }: Json) => code)),
    new Set(Object.keys({ ...ERROR_CODES, ...HTTP_CODES })),
  );
  const ranges = [...json.presets, ...json.preset_patterns].map(({ name }: Json) => name.replace("<n>", "3"));
  for (const range of ranges) t.equal((await app.get(`/v1/compare?range=${range}`)).status, 200, range);
  for (const { name } of json.metrics) {
    const { status, text } = await app.get(`/v1/breakdown?range=today&by=blog&metrics=${name}`);
    t.equal(status, 200, `${name} ${text.slice(0, 200)}`);
  }
});

t.test(
  "the document names this stream's dimensions, and a parameter wins over one of its name",
  async (t) => {
    const schema = defineSchema({
      dimensions: ["page", "n", "limit"],
      subject: "page",
      remembered: [],
      rollups: [[], ["page"], ["n"], ["limit"]],
    });
    const document: Json = openApiDocument(schema, true);
    const names = document.paths["/v1/top"].get.parameters.map(({ name }: Json) => name);
    t.ok(names.includes("page"));
    t.equal(names.filter((name: string) => name === "limit").length, 1);
    t.same(document.components.schemas.Event.required, ["type", "page"]);
    t.same(document.security, [{ bearer: [] }]);
  },
);
