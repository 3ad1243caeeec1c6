import fc from "fast-check";
import t from "tap";
import type { FilterInput, Metric, QueryResult } from "../../../engine/api.js";
import {
  CALENDAR_END_MS,
  CALENDAR_START_MS,
  DAY_MS,
  GRAINS,
  QUARTER_MS,
  supportedZones,
} from "../../../engine/calendar/index.js";
import { TidemarkError } from "../../../engine/errors.js";
import type { Questions } from "../../../engine/query/index.js";
import { Period, naiveAnswer, periodsOf, toQuery, type Periods, type Question } from "./naive.js";
import { buildWorld, makeQuestion, questionPlan, timeIn, worldPlan } from "./random-questions.js";
import type { World } from "./world.js";

const SEED = Number(process.env["TIDEMARK_SEED"] ?? 20_261_124);
/** Worlds; each is asked `QUERIES` questions. */
const RUNS = Number(process.env["TIDEMARK_RUNS"] ?? 450);
const QUERIES = 64;
const zones = supportedZones();

/** How many buckets before its own a metric looks at. */
function reachBack(each: Metric): number {
  if (typeof each === "string" || each[0] === "cumulative") return 0;
  const inner = each[0] === "rolling" ? 0 : reachBack(each[1]);
  switch (each[0]) {
    case "rolling":
      return each[2] - 1;
    case "moving_average":
      return inner + each[2] - 1;
    case "change":
      return inner + 1;
    case "rate":
      return inner;
    case "ratio":
      return Math.max(inner, reachBack(each[2]));
  }
}

/** Why the engine must refuse the question, if it must, for one of these reasons; otherwise its periods. */
function refusals(world: World, question: Question): ReadonlySet<string> | Periods {
  const { columns, filters, compare, preset, includeToday } = question;
  const found = new Set<string | undefined>([
    rangeRefusal(question),
    compare?.range && rangeRefusal(compare.range),
  ]);
  if (!includeToday && !/^(week|month|year|all|\d+(d|w|mo|y))$/.test(preset!)) found.add("invalid-range");
  const names = [...columns.filter((name) => name !== "time"), ...filters.flatMap(dimensionsIn)];
  const isCovered = world.schema.rollups.some((rollup) =>
    names.every((name) => rollup.dims.includes(world.schema.dimensions.indexOf(name))),
  );
  if (!isCovered) found.add("dimension-set-not-materialised");
  found.delete(undefined);
  if (found.size > 0) return found as ReadonlySet<string>;
  found.add(planRefusal(question, new Period(question.zone, question.grain, question)));
  try {
    const periods = periodsOf(question);
    found.add(periods.other && planRefusal(question, periods.other.period));
    found.delete(undefined);
    return found.size > 0 ? (found as ReadonlySet<string>) : periods;
  } catch (error) {
    return new Set([...(found as ReadonlySet<string>), codeOf(error)]);
  }
}

function rangeRefusal({ fromMs, toMs }: { fromMs: number; toMs: number }): string | undefined {
  if (fromMs % QUARTER_MS !== 0 || toMs % QUARTER_MS !== 0) return "range-not-aligned";
  // Days that touch the calendar at either end may stretch beyond it.
  return fromMs < CALENDAR_START_MS - DAY_MS || toMs > CALENDAR_END_MS + DAY_MS ? "invalid-range" : undefined;
}

function dimensionsIn(filter: FilterInput): readonly string[] {
  switch (filter[0]) {
    case "and":
    case "or":
      return filter[1].flatMap(dimensionsIn);
    case "not":
      return dimensionsIn(filter[1]);
    default:
      return [filter[1]];
  }
}

/** Buckets before the range must be whole, within the calendar, and end on quarters. */
function planRefusal({ zone, grain, metrics }: Question, period: Period): string | undefined {
  const lead = grain === null ? 0 : Math.max(...metrics.map(reachBack));
  if (lead > 0 && zone.startOf(grain!, period.fromMs) !== period.fromMs) return "range-not-aligned";
  if (period.startOf(-lead) < CALENDAR_START_MS - DAY_MS) return "invalid-range";
  if (grain !== "hour") return undefined;
  for (let time = -lead; time <= period.times; time++) {
    if (period.startOf(time) % QUARTER_MS !== 0) return "range-not-aligned";
  }
  return undefined;
}

/** What the questions of a run met. */
interface Met {
  readonly tiers: Set<string>;
  readonly zones: Set<string>;
  answered: number;
  readonly refused: Map<string, number>;
  compared: number;
  others: number;
  pages: number;
}

function checkAnswer(
  world: World,
  question: Question,
  periods: Periods,
  result: QueryResult,
  met: Met,
): void {
  const expected = naiveAnswer(world.seen, question, periods);
  const rows = expected.rows.slice(0, question.limit);
  same(result.results.map(plain), rows.map(plain));
  same(result.meta.rows_left_off, expected.rows.length - rows.length);
  same(result.total && plain(result.total), question.total ? plain(expected.total) : undefined);
  same(result.other?.metrics, question.other ? expected.other : undefined);
  if (result.total !== undefined) checkState(world, question, result.total.state, question);
  for (const [i, { state, error, exact }] of result.results.entries()) {
    // Fewer than 1,024 viewers are counted exactly.
    if (error.some((each) => each !== 0) || !exact.every(Boolean)) same([error, exact], "exact values");
    checkState(world, question, state, { fromMs: rows[i]!.fromMs, toMs: rows[i]!.endMs });
  }
  if (question.compare !== undefined) met.compared++;
  if (result.other !== undefined) met.others++;
}

interface PlainValues {
  readonly dimensions?: readonly (string | null)[];
  readonly metrics: readonly (number | null)[];
  readonly compare?:
    | { readonly metrics: readonly (number | null)[]; readonly change: readonly (number | null)[] }
    | null
    | undefined;
}

function plain({ dimensions, metrics, compare }: PlainValues): PlainValues {
  const compared = compare && { metrics: compare.metrics, change: compare.change };
  return { ...(dimensions && { dimensions }), metrics, ...(compare !== undefined && { compare: compared }) };
}

function checkState(
  world: World,
  { now }: Question,
  state: string,
  { fromMs, toMs }: { fromMs: number; toMs: number },
): void {
  if (toMs > now || toMs > world.watermarkMs) same(state, "partial");
  else if (toMs > world.sealedUntil) same(state, "provisional");
  else {
    const isLate = world.late.some(({ ts }) => ts >= fromMs && ts < toMs);
    // A bucket of a coarse grain may have been made after the quarter was changed: then it is as it was sealed.
    if (!isLate) same(state, "final");
    else same(["final", "revised"].includes(state), true);
    const waits = [...world.buckets.deltas(fromMs, toMs)].some(
      ([quarterMs]) => quarterMs < world.sealedUntil,
    );
    if (waits) same(state, "revised");
  }
}

function same(found: unknown, wanted: unknown): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`found ${a?.slice(0, 2000)}, wanted ${b?.slice(0, 2000)}`);
}

function check(world: World, questions: Questions, question: Question, met: Met): void {
  world.now = question.now;
  const query = toQuery(question);
  const outcome = refusals(world, question);
  if (outcome instanceof Set) {
    const code = thrownBy(() => questions.queryNow(query));
    if (!outcome.has(code)) same(code, [...outcome]);
    met.refused.set(code, (met.refused.get(code) ?? 0) + 1);
    return;
  }
  const result = questions.queryNow(query);
  checkAnswer(world, question, outcome as Periods, result, met);
  met.answered++;
  met.zones.add(question.zone.name);
  for (const { tier } of result.meta.sources!) met.tiers.add(tier);
  if (met.answered % 8 === 0) checkEcho(world, result);
  else if (met.answered % 4 === 1) checkPages(questions, query, result, met);
}

/** As `check`; what fails says of which question. */
function checkOne(world: World, questions: Questions, question: Question, met: Met): void {
  try {
    check(world, questions, question, met);
  } catch (error) {
    const about = `${JSON.stringify(toQuery(question))} at ${new Date(question.now).toISOString()}`;
    throw new Error(`${String(error)}, of ${about}`, { cause: error });
  }
}

/** The counterexample is a world and 64 questions: what failed names the one that matters. */
function report({
  failed,
  seed,
  counterexamplePath,
  errorInstance,
}: Pick<fc.RunDetails<unknown>, "failed" | "seed" | "counterexamplePath" | "errorInstance">): void {
  if (!failed) return;
  throw new Error(`TIDEMARK_SEED=${seed}, path "${counterexamplePath}": ${String(errorInstance)}`, {
    cause: errorInstance,
  });
}

/** The echo is a query with the same answer. */
function checkEcho(world: World, { query, results, total, other }: QueryResult): void {
  const again = world.query(query);
  same([again.results, again.total, again.other, again.query], [results, total, other, query]);
}

/** All pages together are the answer that is given at once. */
function checkPages(
  questions: Questions,
  query: Record<string, unknown>,
  whole: QueryResult,
  met: Met,
): void {
  if (whole.results.length < 2) return;
  const size = Math.ceil(whole.results.length / 3);
  const rows: unknown[] = [];
  let cursor: string | null | undefined = null;
  do {
    const page: QueryResult = questions.queryNow({ ...query, limit: size, cursor });
    rows.push(...page.results);
    same(page.meta.rows_left_off, whole.results.length + whole.meta.rows_left_off - rows.length);
    cursor = page.meta.next_cursor;
    met.pages++;
  } while (cursor !== null && rows.length < whole.results.length);
  same(rows.slice(0, whole.results.length), whole.results);
}

function thrownBy(run: () => unknown): string {
  try {
    run();
    return "answered";
  } catch (error) {
    return codeOf(error);
  }
}

function codeOf(error: unknown): string {
  return error instanceof TidemarkError ? error.code : String(error);
}

t.test("any query over any state gives what going through all events one by one gives", async (t) => {
  t.comment(`TIDEMARK_SEED=${SEED} TIDEMARK_RUNS=${RUNS}`);
  const met: Met = {
    tiers: new Set(),
    zones: new Set(),
    answered: 0,
    refused: new Map(),
    compared: 0,
    others: 0,
    pages: 0,
  };
  await fc.assert(
    fc.asyncProperty(
      worldPlan,
      fc.array(questionPlan, { minLength: QUERIES, maxLength: QUERIES }),
      async (plan, asks) => {
        const world = await buildWorld(plan);
        const questions = world.questions();
        const times = world.seen.map(({ ts }) => ts);
        const all = asks.map((each) => makeQuestion(each, plan, Math.min(...times), Math.max(...times)));
        // A part is asked while a commit is under way, whose deltas are neither in the store nor open.
        const split = plan.days % 4 === 0 ? QUERIES / 2 : QUERIES;
        const ask = (question: Question): void => checkOne(world, questions, question, met);
        all.slice(0, split).forEach(ask);
        const sealing = world.commit(timeIn(plan, 0.5), true);
        all.slice(split).forEach(ask);
        await sealing;
        all.slice(-5).forEach(ask);
      },
    ),
    { numRuns: RUNS, seed: SEED, endOnFailure: process.env["TIDEMARK_SHRINK"] !== "1", reporter: report },
  );
  t.comment(
    JSON.stringify({
      ...met,
      tiers: [...met.tiers],
      zones: met.zones.size,
      refused: Object.fromEntries(met.refused),
    }),
  );
  if (RUNS < 450) return;
  t.ok(met.answered >= 20_000, `${met.answered} queries were answered`);
  t.ok(met.compared > 5000 && met.others > 200 && met.pages > 2000);
  t.strictSame(
    [...met.tiers].sort(),
    [...GRAINS, "hot"].sort(),
    "cells came from every grain and from memory",
  );
  t.equal(met.zones.size, zones.length, "every zone was asked in");
});
