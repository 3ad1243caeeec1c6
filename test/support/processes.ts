/**
 * Which test files of a whole run share a process, those that take longest first: begun last, one of them would keep a
 * core waiting. What walks through all zones goes together, because the tables of all zones take seconds to make.
 */
const PROCESSES: readonly (readonly string[])[] = [
  [
    "engine/query/execute",
    "engine/calendar",
    "engine/query/compare-counterparts",
    "engine/query/compare-range",
    "engine/query/complaints-answers",
    "engine/query/complaints-zones",
    "engine/query/peak",
    "engine/query/plan",
    "engine/query/presets",
  ],
  ["engine"],
  ["simulation/histories"],
  ["data"],
  ["storage/contract", "storage/damage", "storage/heal", "storage/segment-damage"],
  ["storage"],
  ["server", "simulation"],
];

/** The files of each process, in the order in which they are begun. The files that are not listed come last, each alone. */
export function processesOf(tests: readonly string[]): string[][] {
  const left = new Set(tests);
  const listed = PROCESSES.map((names) =>
    [...left].filter((test) => names.some((name) => isWithin(test, name)) && left.delete(test)),
  );
  return [...listed.filter((files) => files.length > 0), ...[...left].map((test) => [test])];
}

function isWithin(test: string, name: string): boolean {
  return test === `test/${name}.test.ts` || test.startsWith(`test/${name}/`);
}
