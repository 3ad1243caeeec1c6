/** Events for `POST /v1/events`, as NDJSON and durable, and the replies to them. */
import type { Progress, Protocol } from "./connection.js";
import { toNdjson } from "./workload.js";

const HEAD_END = Buffer.from("\r\n\r\n");
const ACCEPTED = "HTTP/1.1 202";
const OVERLOADED = "HTTP/1.1 503";
const ALL_COUNTED = '"late_rejected":0,"future_rejected":0,"invalid":0,';

export const protocol: Protocol = {
  *requests(workload, size) {
    for (const body of toNdjson(workload, size)) yield requestOf(body);
  },
  reader() {
    let received: Buffer = Buffer.alloc(0);
    return (part) => {
      received = received.length === 0 ? part : Buffer.concat([received, part]);
      const headEnd = received.indexOf(HEAD_END);
      if (headEnd < 0) return "more";
      const head = received.toString("latin1", 0, headEnd);
      const expected = headEnd + HEAD_END.length + Number(/content-length: (\d+)/i.exec(head)?.[1]);
      if (received.length < expected) return "more";
      const reply = received.toString("utf8");
      received = Buffer.alloc(0);
      return check(reply);
    };
  },
};

/** `body` is NDJSON. */
export function requestOf(body: Uint8Array): Buffer {
  const head =
    "POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\n" +
    `Content-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

/** Every event of a batch must be counted: a refused one would be cheap. */
function check(reply: string): Progress {
  if (reply.startsWith(OVERLOADED)) return "again";
  if (reply.startsWith(ACCEPTED) && reply.includes(ALL_COUNTED)) return "done";
  throw new Error(reply);
}
