import { Agent, request, type IncomingMessage } from "node:http";
import { Readable } from "node:stream";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- answers are judged by what they hold
  readonly json: any;
}

/** Node's own client: a third of what `fetch` costs, and it can be given what a browser would not send. */
export class Client {
  readonly #agent = new Agent({ keepAlive: true });
  constructor(readonly url: string) {}

  /** A body without a length is sent in chunks. An answer may come before the body is sent; then it counts. */
  send(
    method: string,
    path: string,
    headers: Record<string, string> = {},
    body: string | Uint8Array | Readable = "",
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const outgoing = request(this.url + path, { method, headers, agent: this.#agent });
      let hasAnswer = false;
      outgoing.on("response", (incoming) => {
        hasAnswer = true;
        readAnswer(incoming).then(resolve, reject);
      });
      outgoing.on("error", (error) => {
        if (!hasAnswer) reject(error);
      });
      if (body instanceof Readable) body.pipe(outgoing);
      else outgoing.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

function readAnswer(incoming: IncomingMessage): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const done = (): void => {
      const text = Buffer.concat(chunks).toString("utf8");
      const isJson = incoming.headers["content-type"]?.includes("json") ?? false;
      resolve({
        status: incoming.statusCode ?? 0,
        headers: incoming.headers,
        text,
        json: isJson ? JSON.parse(text) : undefined,
      });
    };
    incoming
      .on("data", (chunk: Buffer) => chunks.push(chunk))
      .on("end", done)
      .on("error", reject);
  });
}
