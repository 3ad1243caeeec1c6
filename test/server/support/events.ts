import type { TestApp } from "./app.js";
import type { Answer } from "./http.js";

export const GOOD = '{"type":"view","blog":"b","viewer":"u"}';
export const NDJSON = { "content-type": "application/x-ndjson" };

/** Views counted so far: what is refused must not change it. */
export async function views(app: TestApp): Promise<number> {
  const answer = await app.post("/v1/query", '{"date_range":"all","metrics":["views"]}');
  return (answer.json.results[0]?.metrics[0] as number | undefined) ?? 0;
}

export function send(
  app: TestApp,
  body: string | Buffer,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return app.post("/v1/events", body, headers);
}
