import { VERSION } from "./version.js";

/** What to do next, as lines to copy. */
export function welcome(url: string, data: string, hasToken: boolean): string {
  const auth = hasToken ? ` -H "authorization: Bearer $TIDEMARK_TOKEN"` : "";
  const curl = (path: string, body: string): string =>
    `  curl -sS ${url}${path}${auth} -H 'content-type: application/json' -d '${body}'`;
  return [
    `Tidemark ${VERSION} listens on ${url} and keeps its data in ${data}`,
    "",
    "Send an event:",
    curl("/v1/events", '{"type":"view","blog":"hello","author":"ann","country":"IN","viewer":"u1"}'),
    "Ask for today:",
    curl("/v1/query", '{"date_range":"day","metrics":["views","viewers"],"dimensions":["blog"]}'),
    "Watch this hour live (in this folder, or wherever the package ws is installed):",
    `  node -e '${liveScript(url, hasToken)}'`,
    `Everything else that may be asked: ${url}/docs`,
    "",
    "Ctrl+C stops it; nothing that was acknowledged is lost.",
    "",
  ].join("\n");
}

function liveScript(url: string, hasToken: boolean): string {
  const payload = hasToken ? ",payload:{token:process.env.TIDEMARK_TOKEN}" : "";
  const query = `{date_range:"current_hour",metrics:["views","viewers"]}`;
  return [
    `const s=new(require("ws"))("${url.replace(/^http/, "ws")}/v1/live")`,
    `const say=(m)=>s.send(JSON.stringify(m))`,
    `s.on("open",()=>{say({type:"connection_init"${payload}})`,
    `say({type:"subscribe",id:"1",payload:{query:${query}}})})`,
    `s.on("message",(m)=>console.log(String(m)))`,
  ].join(";");
}
