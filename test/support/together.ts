/**
 * Runs several test files, compiled, in this process, one after the other, each as a subtest named after its file: what
 * they load and work out (modules, tables of zones, compiled code) is there once for all of them. Files share nothing
 * else; one that needs a process of its own has one by `processes.ts`.
 */
import { relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import t, { type Test } from "tap";

const HERE = fileURLToPath(new URL("../../", import.meta.url));
/** What test files call on tap's root, which is the file's own when it has a process to itself. */
const METHODS = [
  ...(["test", "setTimeout", "teardown", "comment", "pass", "fail", "ok", "notOk", "equal", "not"] as const),
  ...(["same", "notSame", "strictSame", "match", "notMatch", "throws", "doesNotThrow", "rejects"] as const),
];

type Method = (...args: readonly unknown[]) => unknown;

/** The file that runs, to which calls on the root go. */
let current: Test | undefined;
const runFile = t.test.bind(t);

for (const name of METHODS) {
  const own = t[name].bind(t) as Method;
  const call: Method = (...args) =>
    current === undefined ? own(...args) : (current[name] as Method)(...args);
  Object.defineProperty(t, name, { value: call, configurable: true, writable: true });
}

for (const file of process.argv.slice(2)) {
  await runFile(relative(HERE, file).replace(/\.js$/, ".ts"), async (t) => {
    current = t;
    await import(pathToFileURL(file).href);
  });
}
