/**
 * Watches the views of this hour, by blog, and prints the ten most read ones whenever they change.
 *
 *   npx tsx examples/live.ts [http://127.0.0.1:4567]      (TIDEMARK_TOKEN, if the server has one)
 */
import WebSocket from "ws";

interface Message {
  readonly type: "connection_ack" | "snapshot" | "delta" | "rollover" | "heartbeat" | "complete" | "error";
  readonly payload: {
    readonly results?: readonly {
      readonly dimensions: readonly string[];
      readonly metrics: readonly number[];
    }[];
    readonly set?: readonly (readonly [readonly string[], readonly number[]])[];
    readonly detail?: string;
  };
}

const url = new URL("/v1/live", process.argv[2] ?? "http://127.0.0.1:4567");
url.protocol = url.protocol.replace("http", "ws");
const token = process.env["TIDEMARK_TOKEN"];
const query = { date_range: "current_hour", metrics: ["views", "viewers"], dimensions: ["blog"], limit: 100 };

const rows = new Map<string, readonly number[]>();
const socket = new WebSocket(url, "tidemark.live.v1");
const say = (message: unknown): void => socket.send(JSON.stringify(message));

socket.on("open", () => say({ type: "connection_init", payload: token === undefined ? {} : { token } }));
socket.on("message", (data) => {
  const { type, payload } = JSON.parse((data as Buffer).toString("utf8")) as Message;
  if (type === "connection_ack") say({ type: "subscribe", id: "blogs", payload: { query } });
  if (type === "error") console.error(payload.detail);
  if (type === "snapshot") {
    rows.clear();
    for (const { dimensions, metrics } of payload.results ?? []) rows.set(String(dimensions[0]), metrics);
  }
  // A delta carries the new values themselves, not differences: losing one does no harm.
  if (type === "delta") for (const [[blog], metrics] of payload.set ?? []) rows.set(String(blog), metrics);
  if (type === "snapshot" || type === "delta") print();
});
socket.on("close", (code, reason) => console.error(`closed: ${code} ${String(reason)}`));
socket.on("error", (error) => console.error(error.message));

function print(): void {
  const top = [...rows].sort(([, a], [, b]) => (b[0] ?? 0) - (a[0] ?? 0)).slice(0, 10);
  console.log(`\n${"blog".padEnd(30)} ${"views".padStart(9)} ${"viewers".padStart(9)}`);
  for (const [blog, [views = 0, viewers = 0]] of top) {
    console.log(
      `${blog.slice(0, 30).padEnd(30)} ${String(views).padStart(9)} ${String(viewers).padStart(9)}`,
    );
  }
}
