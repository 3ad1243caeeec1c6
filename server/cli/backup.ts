import { backupDirectory } from "../../storage/backup.js";
import { DATA_OPTION, dataFolder, EXIT, say, textOf, type Command } from "./command.js";

export const backup: Command = {
  name: "backup",
  summary: "copy a store, also while a server writes to it",
  details:
    "The copy is as of one moment: everything acknowledged before the backup began is in it. A manifest beside it\n" +
    "tells how far it goes and what its checksum is.",
  options: {
    data: DATA_OPTION,
    to: { type: "string", value: "FOLDER", help: "where to; empty or not there", isRequired: true },
    compact: { type: "boolean", help: "leave free pages out: smaller, and slower to make" },
  },
  async run(args) {
    const to = textOf(args, "to");
    const { bytes, logHead, generation } = await backupDirectory(dataFolder(args), to, {
      compact: args["compact"] === true,
    });
    say(`Backed up to ${to}: ${bytes} bytes, the log up to record ${logHead}, generation ${generation}.`);
    return EXIT.ok;
  },
};
