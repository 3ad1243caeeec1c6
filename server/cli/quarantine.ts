import type { DiscardReport, QuarantineReport, QuarantineSelection, ReplayReport } from "../../engine/api.js";
import { ConfigError } from "../config.js";
import { idList } from "../routes/admin-input.js";
import { EXIT, say, type Command, type CommandArgs } from "./command.js";
import { ask, STORE_DETAILS, STORE_OPTIONS } from "./upkeep.js";

const PATH = "/v1/admin/quarantine";

export const quarantine: Command = {
  name: "quarantine",
  summary: "list events that were refused for their time, count them after all, or give them up",
  details: `Without --replay and --discard they are listed, oldest first, one line of JSON each.\n${STORE_DETAILS}`,
  options: {
    ...STORE_OPTIONS,
    replay: { type: "boolean", help: "count them, those that were too old as a backfill" },
    discard: { type: "boolean", help: "give them up" },
    ids: { type: "string", value: "LIST", help: "only these, with commas between; all by default" },
  },
  async run(args) {
    const selection = selectionOf(args);
    if (args["replay"] === true && args["discard"] === true) {
      throw new ConfigError("Give --replay or --discard, not both.");
    }
    if (args["replay"] === true) return await replay(args, selection);
    if (args["discard"] === true) return await discard(args, selection);
    if (selection.ids !== undefined) throw new ConfigError("--ids goes with --replay or --discard.");
    return await list(args);
  },
};

async function replay(args: CommandArgs, selection: QuarantineSelection): Promise<number> {
  const report = await ask<ReplayReport>(args, "POST", `${PATH}/replay`, selection, (engine) =>
    engine.replayQuarantine(selection),
  );
  say(JSON.stringify(report, null, 2));
  return EXIT.ok;
}

async function discard(args: CommandArgs, selection: QuarantineSelection): Promise<number> {
  const ids = selection.ids === undefined ? "" : `?ids=${selection.ids.join(",")}`;
  const report = await ask<DiscardReport>(args, "DELETE", `${PATH}${ids}`, undefined, (engine) =>
    engine.discardQuarantine(selection),
  );
  say(JSON.stringify(report, null, 2));
  return EXIT.ok;
}

async function list(args: CommandArgs): Promise<number> {
  for (let after: number | null = 0; after !== null;) {
    const start: number = after;
    const path = `${PATH}?limit=1000&after=${start}`;
    const report: QuarantineReport = await ask(args, "GET", path, undefined, (engine) =>
      engine.quarantine({ after: start, limit: 1000 }),
    );
    for (const event of report.events) say(JSON.stringify(event));
    after = report.next;
  }
  return EXIT.ok;
}

function selectionOf({ ids: text }: CommandArgs): QuarantineSelection {
  if (typeof text !== "string") return {};
  const ids = idList(text);
  if (ids !== undefined) return { ids };
  throw new ConfigError("--ids are whole numbers with commas between.");
}
