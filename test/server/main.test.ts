import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { openMemory } from "../../storage/memory.js";
import { ConfigError, readConfig, type Config } from "../../server/config.js";
import { startServer } from "../../server/index.js";
import { Client } from "./support/http.js";
import { LiveClient } from "./support/live-client.js";
import { Program } from "./support/process.js";

const TOKEN = "f3b1c59a0e7d42688be2f0a1d94c7756";
const JSON_TYPE = { "content-type": "application/json" };
const NDJSON = { "content-type": "application/x-ndjson" };
const VIEWS = '{"date_range":"all","metrics":["views"]}';

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), "tidemark-"));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function config(args: string[], env: Record<string, string> = {}): Config {
  const command = readConfig(args, env);
  if (command.kind !== "run") throw new Error(`not run but ${command.kind}`);
  return command.config;
}

t.test("settings come from flags, then the environment, then defaults", async (t) => {
  t.same(config([]), {
    host: "127.0.0.1",
    port: 4567,
    data: "./data",
    token: undefined,
    origins: [],
    logLevel: "info",
    archive: undefined,
    maxBytes: undefined,
    ballastBytes: 64 * 1024 * 1024,
    engine: {},
    warnings: [],
  });
  t.equal(config(["--port", "8080"], { TIDEMARK_PORT: "9090" }).port, 8080);
  t.equal(config([], { TIDEMARK_PORT: "0" }).port, 0);
  const schema = join(folder(t), "schema.json");
  writeFileSync(schema, '{"dimensions":["blog","device"],"remembered":[],"rollups":[[],["blog","device"]]}');
  const full = config(
    ["--home-zone", "Asia/Kolkata, Europe/Berlin", "--allowed-lateness=2h", "--schema", schema],
    {
      TIDEMARK_HOST: "0.0.0.0",
      TIDEMARK_TOKEN: TOKEN,
      TIDEMARK_MAX_LATENESS: "400d",
      TIDEMARK_MAX_SKEW: "90s",
      TIDEMARK_IDLE_AFTER: "0s",
      TIDEMARK_PUSH_INTERVAL: "50ms",
      TIDEMARK_VIEWER_KEY: "000102030405060708090A0b0c0d0e0f",
      TIDEMARK_ORIGINS: "https://Stats.example.org:443,http://localhost:3000",
      TIDEMARK_MAX_VALUES: "1000",
      TIDEMARK_LOG: "silent",
      TIDEMARK_TOKN: "oops",
    },
  );
  t.match(full, {
    host: "0.0.0.0",
    token: TOKEN,
    logLevel: "silent",
    warnings: [/^TIDEMARK_TOKN is not a setting/],
  });
  t.same(full.origins, ["https://stats.example.org", "http://localhost:3000"]);
  t.same(full.engine, {
    homeZones: ["Asia/Kolkata", "Europe/Berlin"],
    schema: { dimensions: ["blog", "device"], remembered: [], rollups: [[], ["blog", "device"]] },
    allowedLatenessMs: 7_200_000,
    maxLatenessMs: 34_560_000_000,
    maxSkewMs: 90_000,
    idleAfterMs: 0,
    pushIntervalMs: 50,
    maxValuesPerDimension: 1000,
    viewerKey: Uint8Array.from({ length: 16 }, (_, i) => i),
  });
  t.equal(readConfig(["--help", "--port", "x"], {}).kind, "help");
  t.equal(readConfig(["--version"], {}).kind, "version");
  for (const host of ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
    t.equal(config(["--host", host]).host, host);
});

t.test("every bad setting is one sentence that names it, and secrets are not repeated", async (t) => {
  const file = (text: string): string => {
    const path = join(folder(t), "schema.json");
    writeFileSync(path, text);
    return path;
  };
  const cases: [string[], Record<string, string>, RegExp][] = [
    [["--prot", "1"], {}, /--prot/],
    [["extra"], {}, /extra/],
    [["--port"], {}, /--port/],
    [["--token", TOKEN], {}, /--token/],
    [["--port", "65536"], {}, /^--port must be a whole number .* not "65536"\.$/],
    [[], { TIDEMARK_PORT: "tcp://10.0.0.1:4567" }, /^TIDEMARK_PORT must/],
    [[], { TIDEMARK_PORT: "" }, /^TIDEMARK_PORT must/],
    [[], { TIDEMARK_PORT: "80.5" }, /^TIDEMARK_PORT must/],
    [["--host", "127.0.0.1:80:x/"], {}, /^--host must/],
    [["--data", " "], {}, /^--data must/],
    [["--allowed-lateness", "5"], {}, /duration like 90s, 5m, 2h or 30d, not "5"/],
    [["--allowed-lateness", "5 m"], {}, /duration/],
    [["--allowed-lateness", "-5m"], {}, /--allowed-lateness/],
    [["--allowed-lateness", "1.5h"], {}, /duration/],
    [["--allowed-lateness", "99999999d"], {}, /duration/],
    [["--push-interval", "0ms"], {}, /above zero/],
    [["--allowed-lateness", "2d", "--max-lateness", "1d"], {}, /must not be longer/],
    [["--home-zone", "IST"], {}, /IANA time zones/],
    [["--home-zone", "UTC,,Europe/Berlin"], {}, /list/],
    [["--home-zone", "+05:30"], {}, /IANA/],
    [["--origins", "*"], {}, /origins like/],
    [["--origins", "https://a.example/path"], {}, /origins like/],
    [["--origins", "null"], {}, /origins like/],
    [["--max-values", "0"], {}, /at least 1/],
    [["--max-hot-cells", "1e6"], {}, /at least 1/],
    [["--log", "verbose"], {}, /one of silent, error/],
    [["--schema", "/nowhere/schema.json"], {}, /ENOENT/],
    [["--schema", file("{")], {}, /JSON/],
    [["--schema", file("[]")], {}, /object/],
    [["--schema", file('{"dimension":["blog"]}')], {}, /"dimension"/],
    [["--schema", file('{"__proto__":["blog"]}')], {}, /__proto__/],
    [["--schema", file('{"dimensions":5}')], {}, /"dimensions" looks like/],
    [["--schema", file('{"dimensions":["blog",5]}')], {}, /"dimensions" looks like/],
    [["--schema", file('{"rollups":[["blog"],"author"]}')], {}, /"rollups" looks like/],
    [["--schema", file('{"dimensions":["Blog"]}')], {}, /valid schema/],
    [["--host", "0.0.0.0"], {}, /TIDEMARK_TOKEN .* 0\.0\.0\.0/],
    [["--host", "::"], {}, /TIDEMARK_TOKEN/],
    [["--host", "192.168.1.7"], {}, /TIDEMARK_TOKEN/],
    [["--host", "127.0.0.1.example.org"], {}, /TIDEMARK_TOKEN/],
    [[], { TIDEMARK_VIEWER_KEY: "0011" }, /^TIDEMARK_VIEWER_KEY must be 32 hex/],
    [[], { TIDEMARK_TOKEN: "" }, /^TIDEMARK_TOKEN must/],
    [[], { TIDEMARK_TOKEN: "short" }, /at least 32/],
    [[], { TIDEMARK_TOKEN: TOKEN.slice(1) }, /at least 32/],
    [[], { TIDEMARK_TOKEN: `${TOKEN} with spaces` }, /at least 32/],
    [[], { TIDEMARK_TOKEN: "changeme-changeme-changeme-changeme" }, /placeholder/],
    [[], { TIDEMARK_TOKEN: "your-token-here-0123456789-abcdefgh" }, /placeholder/],
    [[], { TIDEMARK_TOKEN: "a".repeat(64) }, /placeholder/],
    [[], { TIDEMARK_TOKEN: "0".repeat(32) }, /placeholder/],
  ];
  for (const [args, env, sentence] of cases) {
    const what = `${args.join(" ")} ${JSON.stringify(env)}`;
    try {
      config(args, env);
      t.fail(what);
    } catch (error) {
      t.ok(error instanceof ConfigError, what);
      const { message } = error as Error;
      t.match(message, sentence, what);
      t.notMatch(message, /\n/, "one line");
      const { TIDEMARK_TOKEN: token = "" } = env;
      if (token !== "") t.notOk(message.includes(token), "the secret is not repeated");
    }
  }
});

t.test("what startServer cannot start it refuses, and leaves nothing open", async (t) => {
  await t.rejects(startServer({ storage: openMemory(), host: "0.0.0.0" }), { message: /token/ });
  const path = folder(t);
  const first = await startServer({ storage: openMemory() });
  const port = Number(new URL(first.url).port);
  await t.rejects(startServer({ storage: path, port }), { code: "EADDRINUSE" });
  await t.rejects(startServer({ storage: path, homeZones: ["IST"] }), { code: "invalid-timezone" });
  const second = await startServer({ storage: path, token: TOKEN });
  await t.rejects(startServer({ storage: path }), /open/, "one folder, one server");
  t.equal(second.engine.stats().ready, true);
  await Promise.all([first.close(), second.close(), second.close()]);
  t.equal(second.engine.stats().ready, false);
});

t.test("a process that cannot start says why in a sentence and exits with 1", async (t) => {
  const busy = await startServer({ storage: openMemory() });
  t.teardown(() => busy.close());
  const data = folder(t);
  const programs = [
    Program.typescript(t, "server/main.ts", ["--port", new URL(busy.url).port, "--data", data]),
    Program.typescript(t, "server/main.ts", ["--host", "0.0.0.0", "--data", data]),
  ];
  t.same(await Promise.all(programs.map((program) => program.ended)), [1, 1]);
  t.match(programs[0]!.output, /tidemark did not start\. The port is taken .*--port\.\n/);
  t.match(programs[1]!.output, /tidemark did not start\. Without a token .*\n/);
  for (const { output } of programs) t.notMatch(output, /\n\s+at /, "no stack");
});

t.test("what the server prints to do next works as printed, and is there after a restart", async (t) => {
  const data = folder(t);
  const env = { TIDEMARK_DATA: data, TIDEMARK_TOKEN: TOKEN, TIDEMARK_PORT: "0" };
  const server = Program.typescript(t, "server/main.ts", [], env);
  const [, url = ""] = await server.said(/listens on (http:\S+)[\s\S]*Ctrl\+C/);
  const client = new Client(url);
  const curls = [
    ...server.output.matchAll(
      /curl -sS (\S+) -H "authorization: Bearer \$TIDEMARK_TOKEN" -H '([^:]+): ([^']+)' -d '(.*)'/g,
    ),
  ];
  t.equal(curls.length, 2);
  const run = ([, address = "", name = "", value = "", body = ""]: RegExpMatchArray) =>
    client.send("POST", new URL(address).pathname, { authorization: `Bearer ${TOKEN}`, [name]: value }, body);
  t.match(await run(curls[0]!), { status: 202, json: { accepted: 1, durable: true } });
  t.match(await run(curls[1]!), {
    status: 200,
    json: { results: [{ dimensions: ["hello"], metrics: [1, 1] }] },
  });
  const [, script = ""] = /node -e '(.*)'/.exec(server.output) ?? [];
  const live = new Program(t, ["-e", script], env);
  await live.said(/"type":"snapshot","id":"1".*"metrics":\[1,1\]/);
  const watcher = Program.typescript(t, "examples/live.ts", [url], env);
  await watcher.said(/hello +1 +1/);
  server.signal("SIGINT");
  t.equal(await server.ended, 0);
  await watcher.said(/closed: 1001/);
  t.match(server.output, /SIGINT: finishing .*\nClosed\.\n$/);
  client.close();
  const again = await startServer({ storage: data });
  t.same((await again.engine.query(JSON.parse(VIEWS) as never)).results[0]?.metrics, [1]);
  await again.close();
});

t.test("every command has a help of its own, and says what is wrong with what it is given", async (t) => {
  const run = async (...args: string[]): Promise<{ code: number | string; output: string }> => {
    const program = Program.typescript(t, "server/main.ts", args);
    return { code: await program.ended, output: program.output };
  };
  const cases: [args: string[], code: number, output: RegExp][] = [
    [["--help"], 0, /Usage: tidemark[\s\S]*--port[\s\S]*Commands[\s\S]*backup[\s\S]*repair/],
    [["serve", "--version"], 0, /^\d+\.\d+\.\d+\n$/],
    [["backup", "--help"], 0, /Usage: tidemark backup \[--data FOLDER\] --to FOLDER \[--compact\]/],
    [["restore", "-h"], 0, /^tidemark restore: /],
    [["bakcup"], 1, /^tidemark bakcup was not done\. There is no command "bakcup"\. Try --help\.\n$/],
    [["backup"], 1, /--to is needed/],
    [["verify", "--deep"], 1, /--deep/],
    [["verify", "--data", folder(t)], 1, /There is no store in .*; give the right directory\.\n$/],
    [["repair", "--data", folder(t)], 1, /There is no store/],
    [["quarantine", "--replay", "--discard"], 1, /--replay or --discard, not both/],
    [["quarantine", "--ids", "1"], 1, /--ids goes with --replay or --discard/],
    [["quarantine", "--discard", "--ids", "all"], 1, /whole numbers with commas between/],
    [["restore", "--from", folder(t), "--data", folder(t)], 1, /no tidemark-backup\.json/],
  ];
  const results = await Promise.all(cases.map(([args]) => run(...args)));
  for (const [i, [args, code, output]] of cases.entries()) {
    t.equal(results[i]!.code, code, args.join(" "));
    t.match(results[i]!.output, output, args.join(" "));
    t.notMatch(results[i]!.output, /\n\s+at /, "no stack");
  }
});

t.test("a store is backed up under a server, verified, restored, damaged, and repaired", async (t) => {
  const root = folder(t);
  const [data, copy, restored] = ["data", "copy", "restored"].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ];
  const run = async (...args: string[]): Promise<{ code: number | string; output: string }> => {
    const program = Program.typescript(t, "server/main.ts", args);
    return { code: await program.ended, output: program.output };
  };
  const server = Program.typescript(t, "server/main.ts", ["serve", "--port", "0", "--data", data]);
  const [, url = ""] = await server.said(/listens on (http:\S+)/);
  const client = new Client(url);
  const send = async (): Promise<void> => {
    t.match(await client.send("POST", "/v1/events", JSON_TYPE, '{"type":"view","blog":"b"}'), {
      status: 202,
    });
  };
  await send();
  const busy = await run("verify", "--data", data);
  t.same([busy.code, /Process \d+ on .* has .* open/.test(busy.output)], [1, true], busy.output);
  t.match(await run("backup", "--data", data, "--to", copy), { code: 0, output: /the log up to record 1,/ });
  t.match(await run("backup", "--data", data, "--to", copy), { code: 1, output: /is not empty/ });
  await send();
  client.close();
  server.signal("SIGTERM");
  t.equal(await server.ended, 0, "the backup did not disturb it");
  t.match(await run("verify", "--data", data), { code: 0, output: /structure is sound[\s\S]*ends at 2\./ });
  t.match(await run("restore", "--from", copy, "--data", restored), { code: 0, output: /up to record 1\./ });
  const views = async (path: string): Promise<unknown> => {
    const again = await startServer({ storage: path });
    const { results } = await again.engine.query(JSON.parse(VIEWS) as never);
    await again.close();
    return results[0]?.metrics;
  };
  t.same(await views(restored), [1], "as of the backup");

  const file = readFileSync(join(data, "data.mdb"));
  const page = file.indexOf(Buffer.from("TIDEMARK")) & ~4095;
  file.fill(0, page, page + 20);
  writeFileSync(join(data, "data.mdb"), file);
  const damagedStore = await run("verify", "--data", data);
  t.equal(damagedStore.code, 1);
  t.match(damagedStore.output, /Page \d+ of .* in .*data\.mdb .*tidemark repair/);
  const repaired = await run("repair", "--data", data);
  t.ok(repaired.code === 0 || repaired.code === 3, repaired.output);
  t.match(repaired.output, /Saved to .* The damaged files are in .*data\.damaged-/);
  t.same(await views(data), [2], "everything is there again");
});

t.test(
  "SIGTERM under load: whatever was acknowledged is there, sockets close with 1001, the process ends with 0",
  async (t) => {
    const data = folder(t);
    const server = Program.typescript(t, "server/main.ts", ["--port", "0", "--data", data]);
    const [, url = ""] = await server.said(/listens on (http:\S+)/);
    const watcher = await LiveClient.ready(t, url);
    // Half a request, which never comes to its end: the server must not wait for it for ever.
    const half = connect(Number(new URL(url).port), "127.0.0.1").on("error", () => undefined);
    half.write(
      "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    );
    let [acknowledged, unknown, stopped, refusals] = [0, 0, false, 0];
    const enough = deferred();
    const sender = async (n: number): Promise<void> => {
      const client = new Client(url);
      for (let batch = 0; !stopped; batch++) {
        const lines = Array.from(
          { length: 50 },
          (_, i) => `{"type":"view","blog":"b","id":"${n}-${batch}-${i}"}`,
        ).join("\n");
        const answer = await client.send("POST", "/v1/events", NDJSON, lines).catch(() => undefined);
        if (answer?.status === 202) acknowledged += answer.json.accepted as number;
        else {
          if (answer === undefined) unknown += 50;
          else refusals++;
          stopped = true;
        }
        if (acknowledged > 5000) enough.resolve();
      }
      client.close();
    };
    const senders = Array.from({ length: 4 }, (_, n) => sender(n));
    await enough.promise;
    server.signal("SIGTERM");
    t.equal((await watcher.closed).code, 1001);
    await Promise.all(senders);
    t.equal(await server.ended, 0);
    const again = await startServer({ storage: data });
    const [views = 0] = (await again.engine.query(JSON.parse(VIEWS) as never)).results[0]?.metrics ?? [];
    t.ok(
      views !== null && views >= acknowledged && views <= acknowledged + unknown,
      `${acknowledged} acknowledged, ${views} found, ${unknown} unknown, ${refusals} refused`,
    );
    await again.close();
  },
);

t.test("a second signal ends the process at once, with 2, and what was acknowledged is there", async (t) => {
  const data = folder(t);
  const server = Program.typescript(t, "server/main.ts", ["--port", "0", "--data", data]);
  const [, url = ""] = await server.said(/listens on (http:\S+)/);
  const client = new Client(url);
  t.match(await client.send("POST", "/v1/events", JSON_TYPE, '{"type":"view","blog":"b"}'), { status: 202 });
  const half = connect(Number(new URL(url).port), "127.0.0.1").on("error", () => undefined);
  half.write(
    "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
  );
  t.equal((await client.send("GET", "/healthz")).status, 200);
  server.signal("SIGTERM");
  await server.said(/SIGTERM: finishing/);
  server.signal("SIGTERM");
  t.equal(await server.ended, 2);
  t.match(server.output, /SIGTERM again/);
  client.close();
  const again = await startServer({ storage: data });
  t.same((await again.engine.query(JSON.parse(VIEWS) as never)).results[0]?.metrics, [1]);
  await again.close();
});

t.test("the embedding example runs, and finds its events again the second time", async (t) => {
  const data = folder(t);
  for (const views of [2, 4]) {
    const example = Program.typescript(t, "examples/embed.ts", [data]);
    t.equal(await example.ended, 0, example.output);
    t.match(example.output, `today [{"dimensions":["ann"],"metrics":[${views},2]`);
    t.match(example.output, /^snapshot /);
  }
});

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}
