/**
 * The first opening after an unclean stop, in a process of its own, which LMDB may bring down:
 *   node verify-main.js DIRECTORY records|sums|values
 * It sends a `Verified` of that depth to its parent.
 */
import { Environment } from "./environment.js";
import { verifyRecords, type Depth } from "./verify.js";

const [directory = ".", depth = "values"] = process.argv.slice(2);
const environment = Environment.openReader(directory);
const verified = verifyRecords(environment, depth as Depth);
await environment.close();
await new Promise<void>((resolve) => void process.send?.(verified, () => resolve()));
process.disconnect();
