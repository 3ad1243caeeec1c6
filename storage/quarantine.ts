/** The quarantine in LMDB: refused events beside the log, written with it. FORMAT.md. */
import type {
  QuarantineChange,
  QuarantineChunk,
  QuarantineId,
  QuarantinePort,
  QuarantineState,
} from "../engine/quarantine-port.js";
import type { Environment, Put } from "./environment.js";
import { logKey, positionOf } from "./keys.js";
import { decodeChunk, decodeState, encodeChunk, encodeState, STATE_KEY } from "./quarantine-codec.js";

/** Beyond all names. */
const END = logKey(Number.MAX_SAFE_INTEGER);

/** Writes in the transactions of the log, in the order of the calls. */
type WriteAside = (puts: readonly Put[]) => Promise<void>;

export class LmdbQuarantine implements QuarantinePort {
  readonly #environment: Environment;
  readonly #write: WriteAside;

  constructor(environment: Environment, write: WriteAside) {
    this.#environment = environment;
    this.#write = write;
  }

  state(): QuarantineState | undefined {
    const bytes = this.#environment.get(this.#environment.quarantine, STATE_KEY);
    return bytes === undefined ? undefined : decodeState(bytes);
  }

  names(): QuarantineId[] {
    return this.#environment.keys(this.#environment.quarantine, logKey(1), END).map(positionOf);
  }

  read(name: QuarantineId): QuarantineChunk | undefined {
    const bytes = this.#environment.get(this.#environment.quarantine, logKey(name));
    return bytes === undefined ? undefined : decodeChunk(name, bytes);
  }

  write(change: QuarantineChange): Promise<void> {
    return this.#write(quarantinePuts(this.#environment, change));
  }
}

/** What a change is to a transaction. */
export function quarantinePuts({ quarantine: db }: Environment, change: QuarantineChange): Put[] {
  return [
    ...change.put.map((chunk) => ({ db, key: logKey(chunk.name), value: encodeChunk(chunk) })),
    ...change.removed.map((name) => ({ db, key: logKey(name), value: undefined })),
    { db, key: STATE_KEY, value: encodeState(change.state) },
  ];
}
