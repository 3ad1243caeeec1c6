/** The quarantine without files. */
import type {
  QuarantineChange,
  QuarantineChunk,
  QuarantineId,
  QuarantinePort,
  QuarantineState,
} from "../engine/quarantine-port.js";
import type { LogSession } from "./memory-log.js";

/** What outlives a quarantine. */
export class QuarantineDisk {
  readonly chunks = new Map<QuarantineId, QuarantineChunk>();
  state: QuarantineState | undefined;

  apply({ put, removed, state }: QuarantineChange): void {
    for (const chunk of put) this.chunks.set(chunk.name, chunk);
    for (const name of removed) this.chunks.delete(name);
    this.state = state;
  }
}

export class MemoryQuarantine implements QuarantinePort {
  readonly #session: LogSession;

  constructor(session: LogSession) {
    this.#session = session;
  }

  state(): QuarantineState | undefined {
    return this.#session.disk.quarantine.state;
  }

  names(): QuarantineId[] {
    return [...this.#session.disk.quarantine.chunks.keys()].sort((a, b) => a - b);
  }

  read(name: QuarantineId): QuarantineChunk | undefined {
    return this.#session.disk.quarantine.chunks.get(name);
  }

  write(change: QuarantineChange): Promise<void> {
    return this.#session.later(({ quarantine }) => quarantine.apply(change));
  }
}
