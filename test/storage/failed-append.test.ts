import t from "tap";
import { record } from "./samples.js";
import { newLogPath, openLogAt } from "./segment-support.js";

t.test("after a failed append the log takes no more records before it is opened anew", async (t) => {
  const path = await newLogPath(t);
  const opened = await openLogAt(path);
  const { log, environment } = opened;
  await log.append(record(1));
  const write = environment.write.bind(environment);
  environment.write = () => Promise.reject(new Error("the disk does not answer"));
  const attempts = [log.append(record(2)), log.append(record(3))];
  for (const attempt of attempts) await t.rejects(attempt, /does not answer/);
  environment.write = write;
  await t.rejects(log.append(record(4)), /does not answer/, "there could be a hole before it");
  t.equal(log.head, 1);
  await opened.close();
  const again = await openLogAt(path);
  t.equal(await again.log.append(record(2)), 2);
  await again.close();
});
