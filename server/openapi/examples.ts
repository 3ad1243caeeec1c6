/** Examples of answers; requests have theirs beside them. The document's test holds each against its schema. */

const META = {
  range: ["2026-11-17T00:00:00+05:30", "2026-11-24T00:00:00+05:30"],
  granularity: null,
  watermark: "2026-11-23T14:02:00Z",
  as_of: "2026-11-23T14:03:11Z",
  seq: 88_123,
  non_additive: ["viewers"],
  rows_left_off: 0,
  warnings: [],
} as const;

const QUERY_RESULT = {
  results: [
    { dimensions: ["IN"], metrics: [1204, 811], error: [0, 0], exact: [true, true], state: "partial" },
    { dimensions: [null], metrics: [40, 12], error: [0, 0], exact: [true, true], state: "partial" },
  ],
  meta: META,
  query: {
    date_range: META.range,
    timezone: "Asia/Kolkata",
    metrics: ["views", "viewers"],
    dimensions: ["country"],
  },
} as const;

const week = <T>(value: T): T[][] => Array.from({ length: 7 }, () => Array.from({ length: 24 }, () => value));

const PEAK_RESULT = {
  matrix: week(0.5),
  hours_counted: week(13),
  top: [{ weekday: 2, hour: 14, views: 0.5, share: 0.006 }],
  now: { weekday: 1, hour: 19 },
  meta: { ...META, non_additive: [] },
  query: { date_range: META.range, timezone: "Asia/Kolkata" },
};

const {
  range: _range,
  granularity: _granularity,
  non_additive: _sums,
  rows_left_off: _left,
  ...OVERLAP_META
} = META;

const exactly = (value: number): { value: number; error: number; exact: boolean } => ({
  value,
  error: 0,
  exact: true,
});

const OVERLAP_RESULT = {
  a: exactly(811),
  b: exactly(300),
  both: exactly(120),
  either: exactly(991),
  only_a: exactly(691),
  only_b: exactly(180),
  meta: { ...OVERLAP_META, ranges: { a: META.range, b: META.range } },
  query: { date_range: META.range, timezone: "Asia/Kolkata" },
};

export const ANSWERS = {
  query: QUERY_RESULT,
  peak: PEAK_RESULT,
  overlap: OVERLAP_RESULT,
  batch: {
    answers: [
      QUERY_RESULT,
      { error: { code: "invalid-range", detail: "Give a date_range.", pointer: "/date_range" } },
    ],
    seq: META.seq,
  },
  ingest: {
    accepted: 2,
    duplicate: 0,
    late_accepted: 0,
    late_rejected: 0,
    future_rejected: 0,
    invalid: 1,
    errors: [{ index: 2, type: "/errors/invalid-timestamp", detail: "The time has no offset: end it in Z." }],
    watermark: "2026-11-23T14:02:00Z",
    position: 88_123,
    durable: true,
  },
} as const;

export const PROBLEM = {
  type: "/errors/invalid-timezone",
  title: "Unknown time zone",
  status: 422,
  detail: '"IST" is no IANA name; did you mean Asia/Kolkata?',
  instance: "/v1/query",
  errors: [{ pointer: "/timezone" }],
} as const;
