import { repairDirectory } from "../../storage/salvage.js";
import { DATA_OPTION, dataFolder, EXIT, say, type Command } from "./command.js";

export const repair: Command = {
  name: "repair",
  summary: "save what can be read of a damaged store that no server has open",
  details:
    "Restore a backup instead if there is one. The damaged folder is kept beside the new one. Buckets of which\n" +
    "something is missing are made anew from raw events at the next start, and answers say where they may be\n" +
    `incomplete. Ends with ${EXIT.damage} when something was lost.`,
  options: { data: DATA_OPTION },
  async run(args) {
    const data = dataFolder(args);
    const { kept, records, losses } = await repairDirectory(data, Date.now());
    const list = Object.entries(records).map(([name, count]) => `${count} of ${name}`);
    say(`Saved to ${data}: ${list.join(", ")}. The damaged files are in ${kept}.`);
    for (const loss of losses) say(loss);
    say(
      losses.length === 0
        ? "Nothing was lost."
        : "Start the server to have buckets made anew; see what is lost above.",
    );
    return losses.length === 0 ? EXIT.ok : EXIT.damage;
  },
};
