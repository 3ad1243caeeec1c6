import { restoreDirectory } from "../../storage/backup.js";
import { openLmdb } from "../../storage/lmdb.js";
import { DATA_OPTION, dataFolder, EXIT, say, textOf, type Command } from "./command.js";

export const restore: Command = {
  name: "restore",
  summary: "make a store from a backup",
  details: "The backup is compared with its manifest, copied, and opened once with every record checked.",
  options: {
    from: { type: "string", value: "FOLDER", help: "the backup", isRequired: true },
    data: { ...DATA_OPTION, help: `${DATA_OPTION.help}; empty or not there` },
  },
  async run(args) {
    const data = dataFolder(args);
    const { madeAt } = await restoreDirectory(textOf(args, "from"), data);
    const storage = await openLmdb(data, { verify: "always" });
    const { head } = storage.log;
    const { damage } = storage;
    await storage.close();
    say(`Restored the backup of ${madeAt} to ${data}: the log up to record ${head}.`);
    for (const { what } of damage) say(`Damaged in the backup already: ${what}`);
    return damage.length === 0 ? EXIT.ok : EXIT.damage;
  },
};
