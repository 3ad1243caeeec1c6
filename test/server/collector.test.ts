import t from "tap";
import { growingPercent } from "../../server/collector.js";

const MIB = 1024 * 1024;

t.test("a small heap may grow by 64 MiB before it is collected, a large one as V8 thinks fit", (t) => {
  for (const mib of [4, 20, 50]) {
    const room = (mib * growingPercent(mib * MIB)) / 100;
    t.ok(room >= 64 && room < 65, `${mib} MiB: ${room} MiB`);
  }
  t.equal(growingPercent(64 * MIB), 0);
  t.equal(growingPercent(900 * MIB), 0);
  t.end();
});
