import type { Duplex } from "node:stream";
import type { Socket } from "node:net";
import websocket, { type WebsocketPluginOptions } from "@fastify/websocket";
import type { FastifyInstance } from "fastify";
import type { WebSocket } from "ws";
import { TidemarkError } from "../../engine/errors.js";
import { bearerToken, type TokenCheck } from "../auth.js";
import { LIVE_CLOSE_GRACE_MS, MAX_LIVE_FRAGMENTS, MAX_LIVE_MESSAGE_BYTES } from "../limits.js";
import { answerRaw } from "../node-server.js";
import { originAllowed } from "../origin.js";
import { checkParameters } from "../parameters.js";
import { HttpProblem } from "../problem.js";
import type { LiveHub } from "./hub.js";
import { CLOSE, SUBPROTOCOL } from "./protocol.js";

/** `closeTimeout` is documented by ws and missing in its types. */
const WS_OPTIONS: NonNullable<WebsocketPluginOptions["options"]> & { closeTimeout: number } = {
  maxPayload: MAX_LIVE_MESSAGE_BYTES,
  maxFragments: MAX_LIVE_FRAGMENTS,
  perMessageDeflate: false,
  autoPong: false,
  closeTimeout: LIVE_CLOSE_GRACE_MS,
  handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
};

/** Teaches the app to upgrade; the route itself must be added in a plugin that is loaded later. */
export function addLivePlugin(app: FastifyInstance, hub: LiveHub): void {
  void app.register(websocket, {
    options: WS_OPTIONS,
    // ws closes by itself what it refuses to read; this is for what our own handler throws.
    errorHandler: (error: Error, socket: WebSocket) => {
      app.log.debug({ err: error }, "socket failed");
      socket.close(CLOSE.internal);
    },
    preClose(done: () => void) {
      hub.close();
      app.websocketServer.close();
      done();
    },
  });
  app.addHook("onReady", async () => {
    app.websocketServer.on("wsClientError", (error: Error, socket: Duplex) => {
      answerRaw(socket as Socket, new HttpProblem("invalid-request", `${error.message}.`));
    });
  });
}

export interface LiveRouteOptions {
  readonly check: TokenCheck;
  readonly origins: ReadonlySet<string>;
}

/** `GET /v1/live`: the handshake. What is said after it is in protocol.ts. */
export function addLiveRoute(app: FastifyInstance, hub: LiveHub, { check, origins }: LiveRouteOptions): void {
  app.route({
    method: "GET",
    url: "/v1/live",
    config: { auth: "later", upgrades: true },
    onRequest: async (request) => {
      if (!request.ws) return;
      checkParameters(request.query, []);
      const { origin, host } = request.raw.headers;
      if (!originAllowed(origin, host, origins)) {
        throw new HttpProblem("forbidden-origin", "List the origin of the page in TIDEMARK_ORIGINS.");
      }
      if (hub.sockets >= hub.limits.maxSockets) {
        throw new TidemarkError("overloaded", "Too many sockets are open; try again later.");
      }
    },
    handler: async () => {
      throw new HttpProblem("upgrade-required", "Connect with a WebSocket client.", {
        upgrade: "websocket",
        connection: "upgrade",
      });
    },
    wsHandler: (socket, request) => {
      const token = bearerToken(request.raw.headers.authorization);
      hub.accept(socket, request.raw.socket, token !== undefined && check(token) ? undefined : check);
    },
  });
}
