/** The inside of a `WorkThread`. */
import { parentPort } from "node:worker_threads";
import { TidemarkError } from "../engine/errors.js";
import type { Answered, Outcome } from "./work-thread.js";

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
      const code = error instanceof TidemarkError ? error.code : undefined;
      send({ message: (error as Error).message, code }, []);
    }
  });
}
