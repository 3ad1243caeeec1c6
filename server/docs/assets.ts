/** The page's script and style, served as files of their own: its policy allows nothing within the page. */

/** What the page may do: load these two files, and ask this server. */
export const DOCS_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src data:",
  "connect-src 'self'",
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** Takes the token, kept in memory only, and sends what the forms say. Text that is fetched is never read as HTML. */
export const DOCS_SCRIPT = `"use strict";
let token = "";

async function ask(address) {
  const headers = token === "" ? {} : { authorization: "Bearer " + token };
  return await fetch(address, { headers });
}

async function showOperations(form) {
  token = new FormData(form).get("token").trim();
  const response = await ask("docs/operations");
  if (response.ok) document.getElementById("operations").innerHTML = await response.text();
  else form.querySelector("[role=alert]").textContent = (await response.json()).detail;
}

function addressOf(form) {
  let path = form.dataset.path;
  const search = new URLSearchParams();
  for (const { name, value, dataset } of form.querySelectorAll("input")) {
    if (dataset.in === "path") path = path.replace("{" + name + "}", encodeURIComponent(value));
    else if (value !== "") search.append(name, value);
  }
  return path.slice(1) + (search.size === 0 ? "" : "?" + search);
}

async function tryIt(form) {
  const address = addressOf(form);
  const output = form.querySelector("pre");
  output.textContent = "GET /" + address;
  const response = await ask(address);
  const text = await response.text();
  const isJson = /json/.test(response.headers.get("content-type"));
  const body = isJson && text !== "" ? JSON.stringify(JSON.parse(text), undefined, 2) : text;
  const kept = ["etag", "cache-control"].map((name) => name + ": " + response.headers.get(name));
  output.textContent = ["GET /" + address, response.status, ...kept, "", body].join("\\n");
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const work = form.id === "token" ? showOperations(form) : tryIt(form);
  work.catch((error) => { form.lastElementChild.textContent = String(error); });
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  const target = link && document.getElementById(link.hash.slice(1));
  if (target) target.open = true;
});
`;

export const DOCS_STYLE = `:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; }
h3 { font-size: 1rem; }
code, pre { font: 0.875em/1.4 ui-monospace, monospace; }
pre { overflow: auto; max-height: 24rem; padding: 0.5rem; border: 1px solid #8886; border-radius: 4px; }
pre:empty { display: none; }
details { margin: 0.25rem 0; padding: 0.25rem 0.5rem; border: 1px solid #8884; border-radius: 4px; }
summary { cursor: pointer; }
summary b { display: inline-block; min-width: 3.5rem; }
table { border-collapse: collapse; }
td { padding: 0.25rem 0.75rem 0.25rem 0; vertical-align: top; }
form.try { display: flex; flex-wrap: wrap; gap: 0.5rem; align-items: end; }
form.try label { display: flex; flex-direction: column; font-size: 0.875rem; }
form.try pre { width: 100%; }
`;
