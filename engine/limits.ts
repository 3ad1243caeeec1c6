/** Every limit of the engine, in one place, each with its reason. */

/** UTF-8 bytes of one dimension value, viewer or event id. Real paths reach 257 bytes; a URL fits in 1,024. */
export const MAX_ID_BYTES = 1024;

/** Events in one batch: one batch is one log record and one turn of the event loop (about 100 ms of folding). */
export const MAX_BATCH_EVENTS = 100_000;

/** Errors listed in one reply; the counts stay exact. A batch of garbage must not answer with more than it sent. */
export const MAX_REPORTED_ERRORS = 100;

/** Declared dimensions: a row of a rollup is compared dimension by dimension. */
export const MAX_DIMENSIONS = 16;

/** Declared rollups: every event touches one cell in each; a rollup is addressed by one byte in the store. */
export const MAX_ROLLUPS = 32;

/** Distinct values kept per dimension before new ones count as `(other)`: about 100 bytes each. */
export const DEFAULT_MAX_VALUES_PER_DIMENSION = 2_000_000;

/** Bytes of batches that wait for the disk before new ones are refused as overload. */
export const DEFAULT_MAX_QUEUED_BYTES = 64 * 1024 * 1024;

/** Answers kept to be given again: some thousand of a dashboard's. */
export const DEFAULT_MAX_CACHE_BYTES = 64 * 1024 * 1024;

/** Rows of one answer: beyond it the dashboard is unreadable and the event loop blocked. */
export const MAX_QUERY_ROWS = 100_000;

/** Time buckets of one answer (a year of hours is 8,784). */
export const MAX_TIME_BUCKETS = 50_000;

/** Events that a restart folds again before an image of the hot cells is made: well under a second of it. */
export const DEFAULT_MAX_REPLAY_EVENTS = 500_000;

/** Refused events kept in quarantine: some 10 MB on disk, and as much work as one batch at a replay. */
export const DEFAULT_MAX_QUARANTINED_EVENTS = 100_000;

/** Bytes of them, at most, however long their values are. */
export const DEFAULT_MAX_QUARANTINED_BYTES = 64 * 1024 * 1024;

/** Event ids and keys remembered at most: 16 to 32 bytes each. A day at 200 events with ids a second. */
export const DEFAULT_MAX_DEDUPE_ENTRIES = 20_000_000;
