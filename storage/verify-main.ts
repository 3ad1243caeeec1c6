/**
 * The first opening after an unclean stop, in a process of its own, which LMDB may bring down:
 *   node verify-main.js DIRECTORY all|records
 * It sends a `Verified` to its parent.
 */
import { Environment } from "./environment.js";
import { verifyRecords } from "./verify.js";

const [directory = ".", what] = process.argv.slice(2);
const environment = Environment.openReader(directory);
const verified = verifyRecords(environment, what === "all");
await environment.close();
await new Promise<void>((resolve) => void process.send?.(verified, () => resolve()));
process.disconnect();
