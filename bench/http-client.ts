/**
 * A client on one keep-alive connection, in a process of its own: its work is not the server's. It posts one query after
 * the other and tells how long each took, from the first byte written to the last byte read.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { fileURLToPath } from "node:url";

interface Work {
  readonly port: number;
  readonly bodies: readonly string[];
}

const CLIENT = "client";

/** Milliseconds by query, in order. Rejects when one of them is refused. */
export async function postAll(port: number, bodies: readonly string[]): Promise<Float64Array> {
  const client = fork(fileURLToPath(import.meta.url), [CLIENT]);
  client.send({ port, bodies } satisfies Work);
  const [times] = (await once(client, "message")) as [number[]];
  return Float64Array.from(times);
}

async function post(socket: Socket, body: string): Promise<void> {
  const length = Buffer.byteLength(body);
  socket.write(
    `POST /v1/query HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${body}`,
  );
  let received: Buffer = Buffer.alloc(0);
  for (;;) {
    const [part] = (await once(socket, "data")) as [Buffer];
    received = received.length === 0 ? part : Buffer.concat([received, part]);
    const headEnd = received.indexOf("\r\n\r\n");
    if (headEnd < 0) continue;
    const head = received.toString("latin1", 0, headEnd);
    const expected = Number(/content-length: (\d+)/i.exec(head)?.[1]);
    if (received.length < headEnd + 4 + expected) continue;
    if (!head.startsWith("HTTP/1.1 200")) throw new Error(received.toString("utf8"));
    return;
  }
}

async function run({ port, bodies }: Work): Promise<number[]> {
  const socket = connect(port, "127.0.0.1");
  socket.setNoDelay(true);
  await once(socket, "connect");
  const times: number[] = [];
  for (const body of bodies) {
    const begun = performance.now();
    await post(socket, body);
    times.push(performance.now() - begun);
  }
  socket.destroy();
  return times;
}

if (process.argv[2] === CLIENT) {
  const [work] = (await once(process, "message")) as [Work];
  process.send?.(await run(work));
  process.disconnect();
}
