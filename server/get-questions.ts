/** From the address of a GET form to the question it stands for: docs/http.md. */
import type { FilterInput, Question, RangeInput } from "../engine/api.js";
import { TidemarkError } from "../engine/errors.js";
import { COMPARE_MODES } from "../engine/query/parse.js";
import type { Schema } from "../engine/schema.js";
import { GET_FORMS, dimensionParameters, type GetForm, type GetFormName } from "./get-parameters.js";
import { invalidParameter, Parameters, pointerTo } from "./parameters.js";

/** Rows of `/v1/top`: what fits on a screen. */
const TOP_ROWS = 10;

const FLAG = { true: true, false: false } as const;

/** Members that are given; their values are judged by the engine, as those of a posted question are. */
type Members = Record<string, unknown>;

export interface GetQuestion {
  readonly question: Question;
  /** From a pointer into the question to one that begins with the parameter's name. */
  readonly places: Places;
}

/** Throws `invalid-parameter`. What the parameters say is for the engine to judge. */
export function readQuestion(name: GetFormName, url: string, schema: Schema): GetQuestion {
  return new AddressReader(name, url, schema).read();
}

/** Which parameter a member of the question came from. */
export class Places {
  readonly #places: { readonly from: string; readonly to: string; readonly keepsRest: boolean }[] = [];

  /** `keepsRest`: the parameter is JSON, and what lies below the member lies below the parameter, too. */
  add(from: string, parameter: string, keepsRest = false): void {
    this.#places.push({ from, to: parameter, keepsRest });
  }

  of(pointer: string): string {
    for (const { from, to, keepsRest } of this.#places) {
      if (pointer !== from && !pointer.startsWith(`${from}/`)) continue;
      return keepsRest ? to + pointer.slice(from.length) : to;
    }
    return pointer;
  }

  /** An error of the engine as one of the address. */
  translate(error: unknown): unknown {
    if (!(error instanceof TidemarkError) || error.pointer === undefined) return error;
    const { code, message, extra } = error;
    return new TidemarkError(code, message, { pointer: this.of(error.pointer), extra, cause: error });
  }
}

class AddressReader {
  readonly #form: GetForm;
  readonly #parameters: Parameters;
  readonly #places = new Places();

  constructor(
    readonly name: GetFormName,
    url: string,
    readonly schema: Schema,
  ) {
    this.#form = GET_FORMS[name];
    const filters = this.#form.dimensionPrefixes.flatMap((prefix) =>
      dimensionParameters(this.#form, prefix, schema.dimensions).map((dimension) => prefix + dimension),
    );
    this.#parameters = new Parameters(url, [...this.#form.parameters, ...filters]);
    for (const required of this.#form.required) this.#require(required);
  }

  read(): GetQuestion {
    return { question: this.#question() as unknown as Question, places: this.#places };
  }

  #question(): Members {
    switch (this.name) {
      case "query":
        this.#places.add("", "/q", true);
        return { query: this.#parameters.json("q") };
      case "timeseries": {
        const fill = this.#parameters.has("by") ? {} : { fill: "zero" };
        return { query: { ...fill, ...this.#rows(this.#grain() ?? "time") } };
      }
      case "breakdown":
        return { query: this.#rows(undefined) };
      case "top": {
        const defaults = { limit: TOP_ROWS, include: { total: true, other: true } };
        return { query: { ...defaults, ...this.#rows(undefined) } };
      }
      case "compare":
        return { query: this.#rows(this.#grain()) };
      case "peak":
        return { peak: { ...this.#common(), ...this.#limit() } };
      case "overlap":
        return { overlap: this.#overlap() };
    }
  }

  /** A query with the dimensions `time`, if any, and `by`. */
  #rows(time: string | undefined): Members {
    const by = this.#parameters.list("by") ?? [];
    if (time !== undefined) this.#places.add("/dimensions/0", this.#at("grain"));
    this.#places.add("/dimensions", this.#at("by"));
    const cursor = this.#parameters.one("cursor");
    return given({
      ...this.#common(),
      metrics: this.#metrics(),
      dimensions: time === undefined ? by : [time, ...by],
      compare: this.#compare(),
      order_by: this.#order(),
      ...this.#limit(),
      cursor: cursor === "" ? null : cursor,
      fill: this.#parameters.one("fill"),
      include_today: this.#parameters.oneOf("include_today", FLAG),
      source: this.#parameters.one("source"),
      include: this.#include(),
    });
  }

  #common(): Members {
    this.#places.add("/date_range", this.#at("range"));
    this.#places.add("/timezone", this.#at("tz"));
    return given({
      date_range: this.#range("range"),
      timezone: this.#parameters.one("tz"),
      filters: this.#filters("", "/filters"),
    });
  }

  #overlap(): Members {
    const { date_range, timezone } = this.#common();
    const side = (name: "a" | "b"): Members => {
      this.#places.add(`/${name}/date_range`, this.#at(`${name}.range`));
      return given({
        date_range: this.#range(`${name}.range`),
        filters: this.#filters(`${name}.`, `/${name}/filters`),
      });
    };
    return given({ date_range, timezone, a: side("a"), b: side("b") });
  }

  #range(name: string): RangeInput | undefined {
    const text = this.#parameters.one(name);
    return text === undefined ? undefined : rangeOf(text, name);
  }

  #grain(): string | undefined {
    const grain = this.#parameters.one("grain");
    if (grain === undefined) return undefined;
    return grain === "auto" ? "time" : `time:${grain}`;
  }

  #metrics(): unknown {
    const isJson = this.#isJsonList("metrics");
    this.#places.add("/metrics", this.#at("metrics"), isJson);
    return isJson ? this.#parameters.json("metrics") : this.#parameters.list("metrics");
  }

  #order(): unknown {
    const isJson = this.#isJsonList("order");
    this.#places.add("/order_by", this.#at("order"), isJson);
    if (isJson) return this.#parameters.json("order");
    return this.#parameters.list("order")?.map((item) => {
      const [, name, direction] = /^(.+):(asc|desc)$/.exec(item) ?? [];
      if (name !== undefined) return [name, direction];
      throw invalidParameter("order", `Write order as name:asc or name:desc, not "${item.slice(0, 80)}".`);
    });
  }

  #limit(): Members {
    if (this.#parameters.has("n") && this.#parameters.has("limit")) {
      throw invalidParameter("limit", "n and limit are the same here: give one of them.");
    }
    const name = this.#parameters.has("n") ? "n" : "limit";
    this.#places.add("/limit", this.#at(name));
    return given({ limit: this.#parameters.wholeNumber(name) });
  }

  #compare(): Members | undefined {
    const fallback = this.name === "compare" ? "previous_period" : undefined;
    const text = this.#parameters.one("compare") ?? fallback;
    this.#places.add("/compare/match_day_of_week", this.#at("match"));
    this.#places.add("/compare/whole", this.#at("whole"));
    this.#places.add("/compare", this.#at("compare"));
    if (text === undefined) return this.#requireNoneOf("match", "whole");
    const options = given({
      match_day_of_week: this.#parameters.oneOf("match", { weekday: true, date: false }),
      whole: this.#parameters.oneOf("whole", FLAG),
    });
    const isMode = text !== "custom" && (COMPARE_MODES as readonly string[]).includes(text);
    return isMode
      ? { mode: text, ...options }
      : { mode: "custom", date_range: rangeOf(text, "compare"), ...options };
  }

  #requireNoneOf(...names: readonly string[]): undefined {
    const name = names.find((each) => this.#parameters.has(each));
    if (name === undefined) return undefined;
    throw invalidParameter(name, `"${name}" says how to compare: give compare as well.`);
  }

  #include(): Members | undefined {
    this.#places.add("/include", this.#at("include"));
    const names = this.#parameters.list("include");
    return names === undefined ? undefined : Object.fromEntries(names.map((name) => [name, true]));
  }

  #filters(prefix: string, pointer: string): readonly FilterInput[] | undefined {
    const filters: FilterInput[] = [];
    for (const dimension of dimensionParameters(this.#form, prefix, this.schema.dimensions)) {
      const values = this.#parameters.all(prefix + dimension);
      if (values.length === 0) continue;
      this.#places.add(`${pointer}/${filters.length}`, this.#at(prefix + dimension));
      filters.push(["is", dimension, values.map((value) => (value === "" ? null : value))]);
    }
    const name = `${prefix}filters`;
    const json = this.#parameters.json(name);
    if (json === undefined) return filters.length === 0 ? undefined : filters;
    if (!Array.isArray(json)) throw invalidParameter(name, `"${name}" is a JSON list of filters.`);
    const further = json as readonly FilterInput[];
    for (const i of further.keys()) {
      this.#places.add(`${pointer}/${filters.length + i}`, `${this.#at(name)}/${i}`, true);
    }
    this.#places.add(pointer, this.#at(name));
    return [...filters, ...further];
  }

  #isJsonList(name: string): boolean {
    return this.#parameters.one(name)?.trimStart().startsWith("[") ?? false;
  }

  #require(name: string): void {
    if (this.#parameters.has(name)) return;
    const advice: Readonly<Record<string, string>> = {
      range: "a preset such as 7d, or from..to such as 2026-01-01..2026-01-31",
      by: `dimensions of ${this.schema.dimensions.join(", ")}`,
      q: "the question as JSON, percent-encoded",
    };
    throw invalidParameter(name, `Give "${name}": ${advice[name]}.`);
  }

  #at(name: string): string {
    return pointerTo(name);
  }
}

/** Whether no range of the question moves with the clock. */
export function isFixed(question: Question): boolean {
  if ("peak" in question) return Array.isArray(question.peak.date_range);
  const ranges =
    "query" in question
      ? [question.query.date_range, question.query.compare?.date_range]
      : [question.overlap.date_range, question.overlap.a.date_range, question.overlap.b.date_range];
  return ranges.every((range) => range === undefined || Array.isArray(range));
}

/** The reference of a page behind this one, relative to its address; the server may stand behind a longer path. */
export function nextPage(url: string, cursor: string): string {
  const search = new URLSearchParams(url.slice(url.indexOf("?") + 1));
  const q = search.get("q");
  if (q === null) search.set("cursor", cursor);
  else search.set("q", JSON.stringify({ ...(JSON.parse(q) as object), cursor }));
  return `?${search.toString()}`;
}

/** `a..b`, or a preset. A plus that was not encoded has become a space, which stands nowhere in an instant. */
function rangeOf(text: string, name: string): RangeInput {
  const [from = "", to, more] = text.replaceAll(/ (?=\d\d:\d\d(?:$|\.\.))/g, "+").split("..");
  if (to === undefined) return from;
  if (from !== "" && to !== "" && more === undefined) return [from, to];
  throw invalidParameter(name, `Give "${name}" as a preset, or as from..to with both ends.`);
}

function given(members: Members): Members {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}
