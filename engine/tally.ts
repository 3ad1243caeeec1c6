import type { EngineStats, RejectionCode } from "./api.js";
import type { Decoded } from "./body.js";
import type { Admission } from "./hot/admission.js";

/** What became of all events since the engine was opened. */
export class Tally {
  readonly #events = { accepted: 0, duplicate: 0, late_accepted: 0 };
  readonly #rejected: Partial<Record<RejectionCode, number>> = {};

  get events(): EngineStats["events"] {
    return { ...this.#events };
  }

  get rejected(): EngineStats["rejected"] {
    return { ...this.#rejected };
  }

  count({ invalidByType }: Decoded, { batch, duplicate, late, tooOld, tooFarAhead }: Admission): void {
    this.#events.accepted += batch.count;
    this.#events.duplicate += duplicate;
    this.#events.late_accepted += late;
    for (const [type, count] of invalidByType) this.#reject(type, count);
    this.#reject("too-old", tooOld.length);
    this.#reject("too-far-ahead", tooFarAhead.length);
  }

  /** Events that came out of the quarantine; that they were refused stays counted. */
  replayed({ batch, duplicate, late }: Admission): void {
    this.#events.accepted += batch.count;
    this.#events.duplicate += duplicate;
    this.#events.late_accepted += late;
  }

  #reject(type: RejectionCode, count: number): void {
    if (count > 0) this.#rejected[type] = (this.#rejected[type] ?? 0) + count;
  }
}
