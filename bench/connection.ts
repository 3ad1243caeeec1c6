/** One connection to the server that is measured, whatever it speaks. */
import type { Socket } from "node:net";
import type { Workload } from "./workload.js";

/** "more" is to come, the reply is "done", or the other side asks for the request "again". */
export type Progress = "more" | "done" | "again";

/** How events are said to one kind of server. A module exports one as `protocol`. */
export interface Protocol {
  /** One for each `size` events; `connections` of them are under way at once. */
  requests(workload: Workload, size: number, connections: number): Iterable<Buffer>;
  /** Reads the replies on one connection, part by part. Throws when one is a refusal. */
  reader(): (part: Buffer) => Progress;
  /** What is to be said on a new connection before the first request. */
  greeting?(connection: number): Buffer;
}

/** One request at a time. A connection that is closed by the other side ends the process. */
export class Connection {
  readonly #socket: Socket;
  readonly #read: (part: Buffer) => Progress;
  #replied: (progress: Progress) => void = () => {};

  constructor(socket: Socket, protocol: Protocol) {
    this.#socket = socket;
    this.#read = protocol.reader();
    socket.setNoDelay(true);
    socket.on("data", (part: Buffer) => {
      const progress = this.#read(part);
      if (progress !== "more") this.#replied(progress);
    });
    socket.once("close", () => {
      throw new Error("the server closed a connection");
    });
  }

  async ask(request: Buffer): Promise<Progress> {
    const reply = new Promise<Progress>((resolve) => (this.#replied = resolve));
    this.#socket.write(request);
    return await reply;
  }

  end(): void {
    this.#socket.removeAllListeners("close").destroy();
  }
}
