/** A whole server in one call: storage, engine and HTTP, opened in this order and closed in the other. */
import { randomInt } from "node:crypto";
import type { AddressInfo } from "node:net";
import type { FastifyInstance } from "fastify";
import type { Engine, EngineOptions } from "../engine/api.js";
import { createEngine } from "../engine/engine.js";
import type { Storage } from "../engine/store.js";
import { openArchive } from "../storage/archive.js";

import { TURNS } from "../storage/write-queue.js";
import { openLmdb, type LmdbOptions } from "../storage/lmdb.js";
import { buildApp, type AppOptions } from "./app.js";
import { ConfigError, isLoopback } from "./config.js";
import { ThreadDecoder } from "./decode/decoder.js";
import { DRAIN_MS } from "./limits.js";

export interface ServerOptions
  extends Omit<EngineOptions, "storage" | "archive">, Omit<AppOptions, "engine"> {
  /** `127.0.0.1` by default; anything off loopback needs a token. */
  readonly host?: string;
  /** Any free port by default. */
  readonly port?: number;
  /** Folder of the LMDB files, or a storage that is open already; the server closes it. */
  readonly storage: string | Storage;
  /** How far the store may grow, when `storage` is a folder. */
  readonly room?: Pick<LmdbOptions, "maxBytes" | "ballastBytes">;
  /** Folder that expiring tiers go to before they are given up. */
  readonly archive?: string | undefined;
}

export interface RunningServer {
  readonly app: FastifyInstance;
  readonly engine: Engine;
  /** Like `http://127.0.0.1:4567`. */
  readonly url: string;
  /**
   * Takes no more requests, finishes those under way (for at most `DRAIN_MS`), closes the sockets with 1001, writes
   * everything and closes the storage. Idempotent.
   */
  close(): Promise<void>;
}

/** Rejects with a `TidemarkError`, a `ConfigError` or Node's error (`EADDRINUSE`), and leaves nothing open. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { host = "127.0.0.1", port = 0, storage } = options;
  if (options.token === undefined && !isLoopback(host)) {
    throw new ConfigError(`A server on ${host} needs a token; without one it listens on loopback only.`);
  }
  const opened = typeof storage === "string" ? await openLmdb(storage, options.room) : storage;
  const decoder = new ThreadDecoder();
  let engine: Engine | undefined;
  try {
    const { archive, ...settings } = options;
    engine = await createEngine({
      // Senders must not be able to choose ids that collide in memory.
      hashSeed: randomInt(2 ** 32),
      ...TURNS,
      decoder,
      ...settings,
      storage: opened,
      ...(archive === undefined ? {} : { archive: await openArchive(archive) }),
    });
    const app = buildApp({ ...options, engine });
    await app.listen({ host, port });
    return running(app, engine, decoder);
  } catch (error) {
    await decoder.close();
    await (engine ?? opened).close();
    throw error;
  }
}

function running(app: FastifyInstance, engine: Engine, decoder: ThreadDecoder): RunningServer {
  let closing: Promise<void> | undefined;
  return {
    app,
    engine,
    url: urlOf(app.server.address() as AddressInfo),
    close: () => (closing ??= close(app, engine, decoder)),
  };
}

async function close(app: FastifyInstance, engine: Engine, decoder: ThreadDecoder): Promise<void> {
  const cut = setTimeout(() => app.server.closeAllConnections(), DRAIN_MS);
  try {
    await app.close();
  } finally {
    clearTimeout(cut);
    await Promise.all([engine.close(), decoder.close()]);
  }
}

function urlOf({ address, port, family }: AddressInfo): string {
  return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}
