/** The process of bench/senders.ts: is told what to send and where to, makes the requests, and sends those it is asked to. */
import { once } from "node:events";
import { connect } from "node:net";
import { Connection, type Protocol } from "./connection.js";
import type { SendersOptions, SendersReport } from "./senders.js";
import { generate } from "./workload.js";

/** Before a refused request is sent again. */
const RETRY_MS = 20;

async function sendAll(
  connections: readonly Connection[],
  requests: readonly Buffer[],
  [from, to]: readonly [number, number],
): Promise<SendersReport> {
  const cpu = process.cpuUsage();
  const begun = performance.now();
  const times: number[] = [];
  let next = from;
  let refused = 0;
  const sendOn = async (connection: Connection): Promise<void> => {
    while (next < to) {
      const request = requests[next++]!;
      const asked = performance.now();
      while ((await connection.ask(request)) === "again") {
        refused++;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
      times.push(performance.now() - asked);
    }
  };
  await Promise.all(connections.map(sendOn));
  const { user, system } = process.cpuUsage(cpu);
  return {
    ms: performance.now() - begun,
    cpuMs: (user + system) / 1000,
    times: Float64Array.from(times).sort(),
    refused,
  };
}

async function open({ to }: SendersOptions, protocol: Protocol, number: number): Promise<Connection> {
  const socket = connect(to);
  await once(socket, "connect");
  const connection = new Connection(socket, protocol);
  const greeting = protocol.greeting?.(number);
  if (greeting !== undefined) await connection.ask(greeting);
  return connection;
}

async function run(options: SendersOptions): Promise<void> {
  const { protocol } = (await import(options.module)) as { protocol: Protocol };
  const workload = generate(options.workload);
  const requests = [...protocol.requests(workload, options.batch, options.connections)];
  const opening = Array.from({ length: options.connections }, (_, i) => open(options, protocol, i));
  const connections = await Promise.all(opening);
  process.on("message", (range: [number, number]) => {
    void sendAll(connections, requests, range).then((report) => process.send!(report));
  });
  process.once("disconnect", () => {
    for (const connection of connections) connection.end();
  });
  process.send!("ready");
}

const [options] = (await once(process, "message")) as [SendersOptions];
await run(options);
