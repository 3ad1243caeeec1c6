/** The server process: configuration, start, what to do next, signals. */
import type { FastifyServerOptions } from "fastify";
import { giveCollectorRoom } from "../collector.js";
import { readConfig, type Config } from "../config.js";
import { SHUTDOWN_MS } from "../limits.js";
import { helpText } from "../settings.js";
import { startServer, type RunningServer } from "../start.js";
import { VERSION } from "../version.js";
import { welcome } from "../welcome.js";
import { EXIT } from "./command.js";

/**
 * Starts the server with the flags of `readConfig`. Resolves when it listens, or when all that was asked for is
 * printed; the process then ends with a signal, with `EXIT.ok` or `EXIT.forced`.
 */
export async function serve(args: readonly string[]): Promise<void> {
  const command = readConfig(args, process.env);
  if (command.kind !== "run") {
    process.stdout.write(command.kind === "help" ? helpText() : `${VERSION}\n`);
    return;
  }
  const { config } = command;
  giveCollectorRoom();
  for (const warning of config.warnings) process.stderr.write(`${warning}\n`);
  const { host, port, token, origins, data } = config;
  const server = await startServer({
    ...config.engine,
    ...(token === undefined ? {} : { token }),
    host,
    port,
    origins,
    storage: data,
    archive: config.archive,
    room: {
      ballastBytes: config.ballastBytes,
      ...(config.maxBytes === undefined ? {} : { maxBytes: config.maxBytes }),
    },
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
    if (closing) exit(EXIT.forced, `${signal} again: stopped at once.`);
    closing = true;
    process.stderr.write(`${signal}: finishing what is under way (again to stop at once)\n`);
    setTimeout(() => exit(EXIT.forced, "Closing took too long: stopped."), SHUTDOWN_MS).unref();
    server.close().then(
      () => exit(EXIT.ok, "Closed."),
      (error: unknown) => exit(EXIT.forced, `Closing failed: ${(error as Error).message}`),
    );
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
}

function exit(code: number, sentence: string): never {
  process.stderr.write(`${sentence}\n`);
  process.exit(code);
}
