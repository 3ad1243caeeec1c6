/** Tidemark's engine as a library: streaming aggregation of blog events, without a server. */
export * from "./api.js";
export { createEngine } from "./engine.js";
export { ERROR_CODES, TidemarkError, type ErrorCode } from "./errors.js";
export { GRAINS, getZone, supportedZones, type Grain, type Zone } from "./calendar/index.js";
export { DEFAULT_SCHEMA, defineSchema, type Rollup, type Schema, type SchemaConfig } from "./schema.js";
export { HyperLogLog } from "./sketch/hyperloglog.js";
export { murmur3x64 } from "./sketch/murmur3.js";
export type { BatchClaim, EventBatch, EventLog, LogEntry, LogRecord, Position } from "./log.js";
export type {
  QuarantineChange,
  QuarantineChunk,
  QuarantineId,
  QuarantinePort,
  QuarantineReason,
  QuarantineState,
} from "./quarantine-port.js";
export { FLAG_CREATED, FLAG_ID, FLAG_VIEWER } from "./log.js";
export type {
  BucketAddress,
  BucketHead,
  BucketStore,
  CellBlock,
  Storage,
  StoreCommit,
  StoreMeta,
  StoredBucket,
} from "./store.js";
