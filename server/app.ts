/** The HTTP server around an engine, apart from the process it runs in. */
import fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyHttpOptions,
  type FastifyServerOptions,
  type RawServerDefault,
} from "fastify";
import type { Engine } from "../engine/api.js";
import { TidemarkError } from "../engine/errors.js";
import { tokenCheck } from "./auth.js";
import { ByteBudget } from "./byte-budget.js";
import { addGuards } from "./guards.js";
import * as limits from "./limits.js";
import { LIVE_LIMITS, LiveHub, type LiveLimits } from "./live/hub.js";
import { addLivePlugin, addLiveRoute } from "./live/route.js";
import { onClientError, prepareServer } from "./node-server.js";
import { parseOrigin } from "./origin.js";
import { sendProblem } from "./reply.js";
import { addAdminRoutes } from "./routes/admin.js";
import { addDocsRoutes } from "./routes/docs.js";
import { addEventRoutes } from "./routes/events.js";
import { addHealthRoutes } from "./routes/health.js";
import { addQuarantineRoutes } from "./routes/quarantine.js";
import { addQueryRoutes } from "./routes/query.js";
import { addSchemaRoute } from "./routes/schema.js";

export interface AppOptions {
  readonly engine: Engine;
  /** Whoever sends it may do everything; without one, everybody may. */
  readonly token?: string | undefined;
  /** Origins, like `https://stats.example.org`, whose pages may open a WebSocket besides those of this host. */
  readonly origins?: readonly string[];
  /** Fastify's logger options; off by default. */
  readonly logger?: FastifyServerOptions["logger"];
  /** Instead of `logger`: a logger of the caller's own. */
  readonly loggerInstance?: FastifyBaseLogger;
  /** Shorter times and smaller limits for the WebSocket. */
  readonly live?: Partial<LiveLimits>;
  readonly maxBodiesInFlightBytes?: number;
}

/** Routes, guards and error handling, not listening yet. `app.close()` leaves the engine open. */
export function buildApp(options: AppOptions): FastifyInstance {
  const { engine, token, origins = [] } = options;
  const app = fastify(serverOptions(options));
  const check = tokenCheck(token);
  prepareServer(app);
  app.setErrorHandler(sendProblem);
  app.setNotFoundHandler((request, reply) => {
    sendProblem(new TidemarkError("not-found", "See / for what is here."), request, reply);
  });
  readBodiesInHandlers(app);
  const hub = new LiveHub(engine, { ...LIVE_LIMITS, ...options.live }, app.log);
  addLivePlugin(app, hub);
  addGuards(app, { token, check, hostNames: hostNames(origins) });
  const budget = new ByteBudget(options.maxBodiesInFlightBytes ?? limits.MAX_BODIES_IN_FLIGHT_BYTES);
  // A plugin of its own: it is loaded after that of the WebSocket, which must see every route being added.
  void app.register(async (routes) => {
    const methods = collectMethods(routes);
    addEventRoutes(routes, engine, budget);
    addQueryRoutes(routes, engine, budget);
    addSchemaRoute(routes, engine);
    addHealthRoutes(routes, engine);
    addAdminRoutes(routes, engine, budget);
    addQuarantineRoutes(routes, engine, budget);
    addDocsRoutes(routes, engine, token !== undefined);
    addLiveRoute(routes, hub, { check, origins: new Set(origins) });
    refuseOtherMethods(routes, methods);
  });
  return app;
}

function serverOptions(options: AppOptions): FastifyHttpOptions<RawServerDefault> {
  const { logger = false, loggerInstance } = options;
  return {
    ...(loggerInstance === undefined ? { logger } : { loggerInstance }),
    // One line per request would cost more than the request; faults are logged where they are answered.
    logController: new LogController({ disableRequestLogging: true }),
    // Fastify's own refusal is not problem+json; ours is in guards.ts.
    return503OnClosing: false,
    requestTimeout: limits.REQUEST_TIMEOUT_MS,
    keepAliveTimeout: limits.KEEP_ALIVE_TIMEOUT_MS,
    onProtoPoisoning: "error",
    onConstructorPoisoning: "error",
    frameworkErrors: sendProblem,
    clientErrorHandler: onClientError,
    http: {
      maxHeaderSize: limits.MAX_HEADER_BYTES,
      headersTimeout: limits.HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: limits.TIMEOUT_CHECK_MS,
      // Node answers without a body; ours is in guards.ts.
      requireHostHeader: false,
      insecureHTTPParser: false,
    },
  };
}

/** Handlers read bodies themselves, once they know that they want them (type, encoding, size, load). */
function readBodiesInHandlers(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, done) => done(null));
}

/** Names that pages of the configured origins know this server by. */
function hostNames(origins: readonly string[]): Set<string> {
  return new Set(origins.flatMap((origin) => parseOrigin(origin)?.hostname ?? []));
}

function collectMethods(app: FastifyInstance): Map<string, Set<string>> {
  const methods = new Map<string, Set<string>>();
  app.addHook("onRoute", ({ url, method }) => {
    const known = methods.get(url) ?? new Set();
    methods.set(url, known);
    for (const name of [method].flat()) known.add(name);
  });
  return methods;
}

/** Fastify says 404 to a method that an address does not know; the right answer is 405, and which it knows. */
function refuseOtherMethods(app: FastifyInstance, methods: ReadonlyMap<string, ReadonlySet<string>>): void {
  for (const [url, known] of methods) {
    const allow = [...known].join(", ");
    app.route({
      url,
      method: app.supportedMethods.filter((method) => !known.has(method)),
      handler: async () => {
        throw new TidemarkError("method-not-allowed", `Use ${allow} here.`, { extra: { allow } });
      },
    });
  }
}
