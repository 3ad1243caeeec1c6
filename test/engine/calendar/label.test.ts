import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import t from "tap";
import {
  GRAINS,
  getZone,
  isGrain,
  label,
  parseInstant,
  type Grain,
  type Zone,
} from "../../../engine/calendar/index.js";
import { needsShared, sharedPath } from "../../support/env.js";

function at(text: string): number {
  return parseInstant(text)!;
}

t.test("labels have the forms that are promised, and Z is for UTC alone", (t) => {
  const instant = at("2016-03-14T13:54:36Z");
  const forms = (name: string): string[] => GRAINS.map((grain) => label(getZone(name), grain, instant));
  t.same(forms("Asia/Kolkata"), [
    "2016-03-14T19:15:00+05:30",
    "2016-03-14T19:00:00+05:30",
    "2016-03-14",
    "2016-W11",
    "2016-03",
    "2016",
  ]);
  t.same(forms("UTC").slice(0, 2), ["2016-03-14T13:45:00Z", "2016-03-14T13:00:00Z"]);
  t.equal(forms("Etc/UTC")[1], "2016-03-14T13:00:00Z");
  t.equal(forms("Europe/London")[1], "2016-03-14T13:00:00+00:00");
  t.equal(label(getZone("UTC"), "week", instant, 7), "2016-03-13");
  t.equal(label(getZone("UTC"), "week", at("2021-01-03T00:00:00Z")), "2020-W53");
  t.same([isGrain("hour"), isGrain("minute"), isGrain(undefined)], [true, false, false]);
  t.throws(() => getZone("UTC").startOf("week", instant, 8), /BUG: weekStart 8/);
  t.end();
});

interface Truth {
  zones: Record<string, Record<Exclude<Grain, "quarter" | "hour">, Record<string, [number, number]>>>;
}
interface HourTruth {
  zones: Record<string, { hours: Record<string, [number, number]> }>;
}

for (const set of ["deskdrop", "sparkdev"]) {
  const folder = `data/${set}`;
  t.test(`real views of ${set} fall into the buckets of the truth, one by one`, needsShared(folder), (t) => {
    const read = (file: string): Buffer => readFileSync(sharedPath(`${folder}/${file}`));
    const truth = JSON.parse(read("truth.json").toString()) as Truth;
    const hours = JSON.parse(read("truth-hours.json").toString()) as HourTruth;
    const instants = [
      ...gunzipSync(read("events.ndjson.gz"))
        .toString()
        .matchAll(/"ts":(\d+)/g),
    ].map((m) => +m[1]!);
    for (const name of Object.keys(truth.zones)) {
      for (const grain of ["day", "week", "month", "year"] as const)
        t.strictSame(
          countViews(name, grain, instants),
          viewsOf(truth.zones[name]![grain]),
          `${name} ${grain}`,
        );
      t.strictSame(countViews(name, "hour", instants), viewsOf(hours.zones[name]!.hours), `${name} hour`);
    }
    t.equal(Object.keys(truth.zones).length >= 4, true);
    t.end();
  });
}

function viewsOf(cells: Record<string, [number, number]>): Map<string, number> {
  return new Map(
    Object.entries(cells)
      .map(([key, [views]]) => [key, views] as const)
      .sort(byKey),
  );
}

function countViews(name: string, grain: Grain, instants: number[]): Map<string, number> {
  const zone = getZone(name);
  const byStart = new Map<number, number>();
  for (const utcMs of instants) {
    const start = zone.startOf(grain, utcMs);
    byStart.set(start, (byStart.get(start) ?? 0) + 1);
  }
  return new Map(
    [...byStart].map(([start, views]) => [truthKey(zone, grain, start), views] as const).sort(byKey),
  );
}

/** The truth names an hour by clock hour and offset: "2016-03-14T19+05:30". */
function truthKey(zone: Zone, grain: Grain, start: number): string {
  const text = label(zone, grain, start);
  return grain === "hour" ? text.slice(0, 13) + text.slice(19).replace("Z", "+00:00") : text;
}

function byKey(a: readonly [string, number], b: readonly [string, number]): number {
  return a[0] < b[0] ? -1 : 1;
}
