import type { Engine } from "../../engine/index.js";
import type { QuarantinePort, QuarantineReason } from "../../engine/quarantine-port.js";
import type { Oracle } from "../support/oracle.js";
import { equal } from "./check.js";
import { pick } from "./numbers.js";
import { heldOf, type Refused, type Waiting } from "./waiting.js";

const REASONS: readonly QuarantineReason[] = ["too-old", "too-far-ahead"];
/** No event has this id. */
const NOBODY = Number.MAX_SAFE_INTEGER;

export interface Order {
  readonly isReplay: boolean;
  readonly events: readonly Refused[];
  /** Undefined for all. */
  readonly ids: readonly number[] | undefined;
  readonly givenAt: number;
}

type Report = Readonly<Record<string, unknown>>;

/** What is certain to be there is counted after all, or given up: all of it or some. Undefined when there is nothing. */
export function orderOf(
  waiting: Waiting,
  isReplay: boolean,
  choice: number,
  givenAt: number,
): Order | undefined {
  const { events: certain, isAll } = waiting.certain(givenAt);
  if (certain.length === 0) return undefined;
  if (isAll && choice % 2 === 0) return { isReplay, events: certain, ids: undefined, givenAt };
  const events = certain.filter((_, i) => pick([true, (choice >>> (i % 8)) % 2 === 0], choice >>> 1));
  return { isReplay, events, ids: [...events.map(({ id }) => id!), NOBODY], givenAt };
}

export async function give({ isReplay, ids }: Order, engine: Engine): Promise<Report> {
  const selection = ids === undefined ? {} : { ids };
  return isReplay
    ? { ...(await engine.replayQuarantine(selection)) }
    : { ...(await engine.discardQuarantine(selection)) };
}

/**
 * The disk tells which events are gone; those of a replay are counted from here on. Without a report the order may
 * have been carried out in part: each reason whole or not at all.
 */
export function carryOut(
  order: Order,
  port: QuarantinePort,
  oracle: Oracle,
  waiting: Waiting,
  report?: Report,
): void {
  const { isReplay, events, ids, givenAt } = order;
  const isDue = ({ event }: Refused): boolean => !isReplay || !oracle.isAhead(event, givenAt);
  const held = heldOf(port, events);
  const gone = new Set<Refused>();
  let accepted = 0;
  for (const reason of REASONS) {
    const some = events.filter((refused) => refused.reason === reason);
    const due = some.filter(isDue);
    const left = some.filter((refused) => held.has(refused));
    const isDone = due.length > 0 && !held.has(due[0]!);
    equal(left.length, isDone ? some.length - due.length : some.length, `${reason} events left by an order`);
    if (!isDone) continue;
    for (const refused of due) {
      gone.add(refused);
      if (isReplay && oracle.countOnce(refused.event, givenAt)) accepted++;
    }
  }
  waiting.remove(gone, isReplay ? "released" : "discarded");
  if (report === undefined) return;
  const missing = ids === undefined ? 0 : 1;
  const kept = events.length - gone.size;
  equal(kept, events.filter((refused) => !isDue(refused)).length, "events that an order left");
  if (!isReplay) return equal(report, { discarded: gone.size, missing }, "report of a discard");
  const { late_accepted: _, position, ...counts } = report;
  equal(counts, { accepted, duplicate: gone.size - accepted, kept, missing }, "report of a replay");
  equal(position === null, accepted === 0, "no place in the log");
}
