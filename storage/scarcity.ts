/** Where the process may have no more than this, memory that only saves time is done without. */
const LEAST_MEMORY_BYTES = 1024 * 1024 * 1024;

/** Is the process in a control group with little memory? 0 and huge numbers: it is in none. */
export function isMemoryScarce(): boolean {
  const bytes = process.constrainedMemory();
  return bytes > 0 && bytes < LEAST_MEMORY_BYTES;
}
