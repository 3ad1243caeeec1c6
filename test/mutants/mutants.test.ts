import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";
import { COMMANDS, MUTANTS } from "./list.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

t.test("every bug of the list has its place in the code, and its test", async (t) => {
  const wrong = MUTANTS.flatMap(({ name, file, before, after, caughtBy }) => {
    const places = readFileSync(`${root}${file}`, "utf8").split(before).length - 1;
    const [script] = COMMANDS[caughtBy].args;
    return [
      ...(places === 1 ? [] : [`${name}: found ${places} times in ${file}`]),
      ...(before === after ? [`${name}: changes nothing`] : []),
      ...(existsSync(`${root}${script}`) ? [] : [`${name}: ${script} is not there`]),
    ];
  });
  t.same(wrong, []);
  t.equal(new Set(MUTANTS.map(({ name }) => name)).size, MUTANTS.length, "each has a name of its own");
  t.ok(MUTANTS.length >= 20, `${MUTANTS.length} bugs`);
});
