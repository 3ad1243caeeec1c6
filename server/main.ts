#!/usr/bin/env node
/** The server process: configuration, start, what to do next, signals, exit codes. */
import type { FastifyServerOptions } from "fastify";
import { TidemarkError } from "../engine/errors.js";
import { ConfigError, readConfig, type Config } from "./config.js";
import { SHUTDOWN_MS } from "./limits.js";
import { helpText } from "./settings.js";
import { startServer, type RunningServer } from "./start.js";
import { VERSION } from "./version.js";
import { welcome } from "./welcome.js";

const EXIT_OK = 0;
/** Not started: a setting, the port, the store. */
const EXIT_NOT_STARTED = 1;
/** Closed by force: a second signal, or the close took too long. Acknowledged events are safe all the same. */
const EXIT_FORCED = 2;

async function main(): Promise<void> {
  const command = readConfig(process.argv.slice(2), process.env);
  if (command.kind !== "run") {
    process.stdout.write(command.kind === "help" ? helpText() : `${VERSION}\n`);
    return;
  }
  const { config } = command;
  for (const warning of config.warnings) process.stderr.write(`${warning}\n`);
  const { host, port, token, origins, data } = config;
  const server = await startServer({
    ...config.engine,
    ...(token === undefined ? {} : { token }),
    host,
    port,
    origins,
    storage: data,
    logger: loggerOptions(config),
  });
  closeOnSignal(server);
  process.stdout.write(welcome(server.url, data, token !== undefined));
}

/** Lines of JSON on stderr. No bodies, no headers, no addresses of clients: those are personal. */
function loggerOptions({ logLevel }: Config): FastifyServerOptions["logger"] {
  return {
    level: logLevel,
    stream: process.stderr,
    redact: ["req.headers", "headers", "authorization", "*.authorization"],
    serializers: {
      req: (request) => ({ method: request.method, url: request.url }),
      res: (reply) => ({ statusCode: reply.statusCode }),
    },
  };
}

function closeOnSignal(server: RunningServer): void {
  let closing = false;
  const onSignal = (signal: string): void => {
    if (closing) exit(EXIT_FORCED, `${signal} again: stopped at once.`);
    closing = true;
    process.stderr.write(`${signal}: finishing what is under way (again to stop at once)\n`);
    setTimeout(() => exit(EXIT_FORCED, "Closing took too long: stopped."), SHUTDOWN_MS).unref();
    server.close().then(
      () => exit(EXIT_OK, "Closed."),
      (error: unknown) => exit(EXIT_FORCED, `Closing failed: ${(error as Error).message}`),
    );
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
}

function exit(code: number, sentence: string): never {
  process.stderr.write(`${sentence}\n`);
  process.exit(code);
}

function sentenceFor(error: unknown): string {
  if (error instanceof ConfigError || error instanceof TidemarkError) return error.message;
  const { code, message, stack } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  if (code === "EADDRINUSE") return "The port is taken by another process; choose one with --port.";
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND")
    return "This machine has no such address; see --host.";
  if (code === "EACCES") return `Not permitted: ${message}.`;
  return stack ?? message;
}

main().catch((error: unknown) => exit(EXIT_NOT_STARTED, `tidemark did not start. ${sentenceFor(error)}`));
