/** `GET /docs`: the OpenAPI document as a page, written out here so that the page needs hardly any script. */
import type { OpenApiDocument } from "../openapi/document.js";
import type { Operation } from "../openapi/operation.js";
import { VERSION } from "../version.js";

/** What the document's operations hold, as far as the page shows it. */
interface Shown {
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly tags: readonly string[];
  readonly parameters?: readonly ShownParameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, ShownContent>> };
  readonly responses: Readonly<
    Record<
      string,
      { readonly description: string; readonly content?: Readonly<Record<string, ShownContent>> }
    >
  >;
}

interface ShownParameter {
  readonly name: string;
  readonly in: string;
  readonly description: string;
  readonly required?: boolean;
  readonly schema: Readonly<Record<string, unknown>>;
  readonly example?: string | number;
}

interface ShownContent {
  readonly schema: unknown;
  readonly example?: unknown;
  readonly examples?: Readonly<Record<string, { readonly value: unknown }>>;
}

/** With a token, a page whose content its script fetches with the token that is typed in; without, all of it. */
export function docsPage(document: OpenApiDocument | undefined): string {
  const main = document === undefined ? TOKEN_FORM : docsOperations(document);
  return [
    "<!doctype html>",
    '<html lang="en"><head><meta charset="utf-8"><title>Tidemark: the HTTP interface</title>',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<link rel="icon" href="data:,"><link rel="stylesheet" href="docs/docs.css">',
    '<script src="docs/docs.js" defer></script></head>',
    `<body><header><h1>Tidemark ${VERSION}</h1><p><a href="openapi.json">openapi.json</a></p></header>`,
    `<main id="operations">${main}</main></body></html>`,
  ].join("\n");
}

const TOKEN_FORM = [
  '<form id="token"><label>This server asks for its token:',
  '<input name="token" type="password" autocomplete="off" required></label>',
  '<button>Show</button><p role="alert"></p></form>',
  "<noscript><p>With a token the page needs its script; openapi.json has the same.</p></noscript>",
].join("\n");

export function docsOperations(document: OpenApiDocument): string {
  const all = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation: asShown(operation) })),
  );
  const sections = document.tags.map(({ name, description }) => {
    const own = all.filter(({ operation }) => operation.tags.includes(name));
    const parts = own.map(({ path, method, operation }) => operationPart(path, method, operation));
    return `<section><h2>${escape(name)}</h2><p>${prose(description)}</p>${parts.join("\n")}</section>`;
  });
  const schemas = Object.entries(document.components.schemas).map(
    ([name, schema]) =>
      `<details id="${escape(name)}"><summary><code>${escape(name)}</code></summary>${schemaText(schema)}</details>`,
  );
  return [
    `<p>${prose(String(document.info["description"]))}</p>`,
    ...sections,
    `<section><h2>Schemas</h2>${schemas.join("\n")}</section>`,
  ].join("\n");
}

function operationPart(path: string, method: string, operation: Shown): string {
  const { operationId, summary, description = "", parameters = [], requestBody, responses } = operation;
  return [
    `<details id="${escape(operationId)}"><summary><b class="${method}">${method.toUpperCase()}</b>`,
    `<code>${escape(path)}</code> ${escape(summary)}</summary>`,
    description === "" ? "" : `<p>${prose(description)}</p>`,
    parameters.length === 0 ? "" : parameterTable(parameters),
    requestBody === undefined ? "" : `<h3>Body</h3>${contents(requestBody.content)}`,
    `<h3>Answers</h3>${Object.entries(responses).map(responsePart).join("\n")}`,
    method === "get" ? tryForm(path, parameters) : "",
    "</details>",
  ].join("\n");
}

function parameterTable(parameters: readonly ShownParameter[]): string {
  const rows = parameters.map(({ name, in: place, description, required, schema }) => {
    const values = Array.isArray(schema["enum"]) ? ` One of ${schema["enum"].join(", ")}.` : "";
    const kind = `${place}${required === true ? ", needed" : ""}`;
    return `<tr><td><code>${escape(name)}</code></td><td>${kind}</td><td>${prose(description + values)}</td></tr>`;
  });
  return `<h3>Parameters</h3><table>${rows.join("")}</table>`;
}

function responsePart([status, { description, content }]: readonly [
  string,
  Shown["responses"][string],
]): string {
  const isProblem = content !== undefined && Object.hasOwn(content, "application/problem+json");
  const body = content === undefined || isProblem ? "" : contents(content);
  return `<p><b>${escape(status)}</b> ${prose(description)}</p>${body}`;
}

function contents(content: Readonly<Record<string, ShownContent>>): string {
  return Object.entries(content)
    .map(([mediaType, { schema, example, examples = {} }]) => {
      const samples = [example, ...Object.values(examples).map(({ value }) => value)];
      const shown = samples.filter((value) => value !== undefined).map((value) => json(value));
      return `<p><code>${escape(mediaType)}</code></p>${schemaText(schema)}${shown.join("")}`;
    })
    .join("\n");
}

/** Empty fields are left out by the script: an empty parameter means something. */
function tryForm(path: string, parameters: readonly ShownParameter[]): string {
  const fields = parameters
    .filter(({ in: place }) => place !== "header")
    .map(({ name, in: place, example, required }) => {
      const value = example !== undefined && (required === true || place === "path") ? String(example) : "";
      const hint = example === undefined ? "" : ` placeholder="${escape(String(example))}"`;
      return `<label>${escape(name)} <input name="${escape(name)}" data-in="${place}" value="${escape(value)}"${hint}></label>`;
    });
  return `<form class="try" data-path="${escape(path)}">${fields.join("\n")}<button>Try it</button><pre></pre></form>`;
}

function schemaText(schema: unknown): string {
  const { $ref: reference } = schema as { $ref?: string };
  if (reference === undefined) return json(schema);
  const name = escape(reference.slice(reference.lastIndexOf("/") + 1));
  return `<p>→ <a href="#${name}">${name}</a></p>`;
}

/** With every reference as a link to its schema. */
function json(value: unknown): string {
  const text = escape(JSON.stringify(value, undefined, 2));
  const linked = text.replace(/&quot;#\/components\/schemas\/(\w+)&quot;/g, '<a href="#$1">$1</a>');
  return `<pre>${linked}</pre>`;
}

/** Text with `code` in it. */
function prose(text: string): string {
  return escape(text).replace(/`([^`]+)`/g, "<code>$1</code>");
}

function escape(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

function asShown(operation: Operation): Shown {
  return operation as unknown as Shown;
}
