import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { QueryInput, QueryResult } from "../../engine/index.js";
import { sharedPath } from "./env.js";
import { randomWords } from "./random.js";

type Counts = readonly [views: number, viewers: number];
type ByLabel = Readonly<Record<string, Counts>>;
type ByGrain = Readonly<Record<string, ByLabel>>;

/** `truth.json` and `truth-hours.json`: see data/README.md. */
interface Truth {
  readonly views: number;
  readonly uniqueViewers: number;
  readonly zones: Readonly<Record<string, ByGrain>>;
  readonly top: Readonly<Record<string, readonly (readonly [id: string, views: number, viewers: number])[]>>;
  readonly cells: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, ByGrain>>>>>>;
}

interface Hours {
  readonly zones: Readonly<Record<string, { readonly hours: ByLabel }>>;
}

export type Ask = (query: QueryInput) => Promise<QueryResult>;

export interface Verdict {
  readonly cells: number;
  readonly exact: number;
  /** Estimates that are further off than three standard errors. */
  readonly outliers: number;
  /** What is wrong, in words; the first few. */
  readonly wrong: readonly string[];
}

const DIMENSIONS = ["blog", "author", "country"] as const;
/** Every event of both sets, in whole local years. */
const ALL = ["2016-01-01", "2017-12-31"] as const;
const MAX_WRONG = 20;
const MAX_ROWS = 100_000;

export class DataSet {
  readonly lines: readonly string[];
  readonly #truth: Truth;
  readonly #hours: Hours;

  constructor(name: "deskdrop" | "sparkdev") {
    const read = (file: string): Buffer => readFileSync(sharedPath(`data/${name}/${file}`));
    this.lines = gunzipSync(read("events.ndjson.gz")).toString("utf8").trimEnd().split("\n");
    this.#truth = JSON.parse(read("truth.json").toString("utf8")) as Truth;
    this.#hours = JSON.parse(read("truth-hours.json").toString("utf8")) as Hours;
  }

  get zones(): string[] {
    return Object.keys(this.#truth.zones);
  }

  /** The lines in another order, the same for the same seed. */
  shuffled(seed: number): string[] {
    const lines = [...this.lines];
    const next = randomWords(seed);
    for (let i = lines.length - 1; i > 0; i--) {
      const j = next() % (i + 1);
      [lines[i], lines[j]] = [lines[j]!, lines[i]!];
    }
    return lines;
  }

  /** Every time bucket of every zone, the top lists, and the cells of the greatest blogs, authors and countries. */
  async check(ask: Ask, depth: "all" | "buckets" = "all"): Promise<Verdict> {
    const judge = new Judge();
    for (const zone of this.zones) {
      const grains: ByGrain = { ...this.#truth.zones[zone]!, hour: this.#hours.zones[zone]!.hours };
      for (const [grain, cells] of Object.entries(grains))
        await judgeSeries(judge, ask, zone, grain, cells, []);
    }
    const { results } = await ask({ date_range: ALL });
    judge.cell("total", results[0], [this.#truth.views, this.#truth.uniqueViewers]);
    if (depth === "all") await this.#checkDimensions(judge, ask);
    return judge;
  }

  async #checkDimensions(judge: Judge, ask: Ask): Promise<void> {
    for (const dimension of DIMENSIONS) {
      const top = this.#truth.top[dimension]!;
      const { results } = await ask({ date_range: ALL, dimensions: [dimension], limit: top.length });
      for (const [i, [id, ...counts]] of top.entries()) {
        judge.same(results[i]?.dimensions[0], id, `place ${i} of ${dimension}`);
        judge.cell(`top ${dimension} ${id}`, results[i], counts);
      }
      for (const [id, zones] of Object.entries(this.#truth.cells[dimension]!)) {
        for (const [zone, grains] of Object.entries(zones)) {
          for (const [grain, cells] of Object.entries(grains)) {
            await judgeSeries(judge, ask, zone, grain, cells, [["is", dimension, [id]]]);
          }
        }
      }
    }
  }
}

async function judgeSeries(
  judge: Judge,
  ask: Ask,
  zone: string,
  grain: string,
  cells: ByLabel,
  filters: NonNullable<QueryInput["filters"]>,
): Promise<void> {
  const query = { date_range: ALL, timezone: zone, dimensions: [`time:${grain}`], filters, limit: MAX_ROWS };
  const { results } = await ask(query);
  const name = `${zone} ${grain} ${JSON.stringify(filters)}`;
  const rows = new Map(results.map((row) => [keyOf(grain, row.dimensions[0]!), row]));
  judge.same(rows.size, results.length, `${name}: distinct labels`);
  judge.same(rows.size, Object.keys(cells).length, `${name}: rows`);
  for (const [label, counts] of Object.entries(cells))
    judge.cell(`${name} ${label}`, rows.get(label), counts);
}

/** Hours of the truth have no minutes: "2016-03-14T19+05:30" for "2016-03-14T19:00:00+05:30". */
function keyOf(grain: string, label: string): string {
  return grain === "hour" ? `${label.slice(0, 13)}${label.slice(19).replace("Z", "+00:00")}` : label;
}

class Judge implements Verdict {
  cells = 0;
  exact = 0;
  outliers = 0;
  readonly wrong: string[] = [];

  same(found: unknown, wanted: unknown, what: string): void {
    if (found === wanted || this.wrong.length >= MAX_WRONG) return;
    this.wrong.push(`${what}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
  }

  cell(name: string, row: QueryResult["results"][number] | undefined, [views, viewers]: Counts): void {
    this.cells++;
    this.same(row?.metrics[0], views, `${name}: views`);
    if (row === undefined || row.exact[1] === true) {
      this.exact++;
      this.same(row?.metrics[1], viewers, `${name}: viewers`);
    } else if (Math.abs(row.metrics[1]! - viewers) > 3 * row.error[1]!) this.outliers++;
  }
}
