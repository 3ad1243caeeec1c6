import { verifyDirectory } from "../../storage/verify-directory.js";
import { DATA_OPTION, dataFolder, EXIT, say, type Command } from "./command.js";

/** Lines about single records; the count is complete. */
const MOST_LINES = 50;

export const verify: Command = {
  name: "verify",
  summary: "check every page and every record of a store that no server has open",
  details: `Ends with ${EXIT.damage} when it found damage, and says what to do.`,
  options: { data: DATA_OPTION },
  async run(args) {
    const data = dataFolder(args);
    const { structure, verified } = await verifyDirectory(data);
    const { pages, usedPages, freePages } = structure;
    say(`${data}: ${pages} pages, ${usedPages} used, ${freePages} free; the structure is sound.`);
    say(`${verified.records} records were read; the log ends at ${verified.logHead}.`);
    for (const { what } of verified.damage.slice(0, MOST_LINES)) say(`Damaged: ${what}`);
    if (verified.refusal !== undefined) say(`The store cannot be opened: ${verified.refusal}`);
    else if (verified.damagedRecords > 0) {
      say(
        `${verified.damagedRecords} records are damaged; the store can be opened, and rebuilds buckets from raw events.`,
      );
    }
    return verified.damagedRecords === 0 && verified.refusal === undefined ? EXIT.ok : EXIT.damage;
  },
};
