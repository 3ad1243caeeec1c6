/** `tidemark/server`: the HTTP and WebSocket server as a library. */
export { buildApp, type AppOptions } from "./app.js";
export { readConfig, ConfigError, type Command, type Config } from "./config.js";
export { ThreadDecoder } from "./decode/decoder.js";
export type { LiveLimits } from "./live/hub.js";
export { startServer, type RunningServer, type ServerOptions } from "./start.js";
