/** The inside of a `WorkThread`. */
import { setPriority } from "node:os";
import { parentPort } from "node:worker_threads";
import { TidemarkError } from "../engine/errors.js";
import type { Answered, Outcome } from "./work-thread.js";

/** Ten per cent of a core that others want too, and all of one that nobody else does. */
const BACKGROUND = 10;

/** Lets the process's other threads go first: for work that nobody waits for. */
export function stayInBackground(): void {
  // Elsewhere it would be the priority of the whole process.
  if (process.platform !== "linux") return;
  try {
    setPriority(0, BACKGROUND);
  } catch {
    // A sandbox may forbid it: then it has its share like any other.
  }
}

/** Answers each request, in order, with what `answer` returns or throws. */
export function answerRequests<Reply>(answer: (request: never) => Answered<Reply>): void {
  const port = parentPort;
  if (port === null) throw new Error("BUG: this module is the entry of a thread");
  const send = (outcome: Outcome<Reply>, transfer: Answered<Reply>[1]): void =>
    port.postMessage(outcome, transfer);
  port.on("message", (request: unknown) => {
    try {
      const [reply, transfer] = answer(request as never);
      send({ reply }, transfer);
    } catch (error) {
      const { code, extra } = error instanceof TidemarkError ? error : { code: undefined, extra: {} };
      send({ message: (error as Error).message, code, extra }, []);
    }
  });
}
