import type { Test } from "tap";
import { after, countByBlog, EVENTS_PER_BATCH, post, sendUntilKilled, type Batch } from "./batches.js";
import { Process } from "./process.js";

/** From the start of the process on: it opens its store about then. */
const MAX_START_KILL_AFTER_MS = 1000;
/** From the start of a backup on. */
const MAX_BACKUP_KILL_AFTER_MS = 700;
/** Acknowledged batches that are sent again all the same. */
const RESENT = 4;

/** Frequent seals, commits and images of hot cells, so that kills fall among them. */
const SETTINGS = {
  ALLOWED_LATENESS: "0s",
  IDLE_AFTER: "0s",
  MAX_HOT_CELLS: "500",
  MAX_LATENESS: "30d",
  MAX_REPLAY_EVENTS: "40",
};

export interface StoreOptions {
  readonly t: Test;
  readonly path: string;
  readonly next: () => Batch;
  readonly random: () => number;
}

/** One store, and what was sent to it. */
export class Store {
  readonly #t: Test;
  readonly #path: string;
  readonly #next: () => Batch;
  readonly #random: () => number;
  readonly #acknowledged: Batch[] = [];
  #unknown: Batch[] = [];

  constructor({ t, path, next, random }: StoreOptions) {
    this.#t = t;
    this.#path = path;
    this.#next = next;
    this.#random = random;
  }

  /**
   * One start: first it shows that the kill before lost nothing, then it is written to, and killed in its turn. In
   * between, now and then, a process is killed that starts, or a backup while it is made.
   */
  async round(kill: number): Promise<void> {
    if (kill % 3 === 2) await this.#killAtStart();
    const server = this.#start([]);
    const url = await server.ready();
    await this.#check(url, `after ${kill} kills`);
    const backup = kill % 5 === 1 ? this.#killBackup(`${this.#path}-backup-${kill}`) : undefined;
    const { acked, unknown } = await sendUntilKilled(url, this.#next, server, this.#random);
    await backup;
    this.#acknowledged.push(...acked);
    this.#unknown = unknown;
  }

  /** A last start, which ends in good order, and one after it. */
  async finish(): Promise<void> {
    for (const when of ["at the end", "after a good end"]) {
      const server = this.#start([]);
      await this.#check(await server.ready(), when);
      await server.kill("SIGTERM");
    }
  }

  async #check(url: string, when: string): Promise<void> {
    const counted = await countByBlog(url);
    this.#checkAcknowledged(counted, when);
    const torn = this.#unknown.filter(
      ({ blog }) => ![undefined, EVENTS_PER_BATCH].includes(counted.get(blog)),
    );
    this.#t.same(
      torn,
      [],
      `none of ${this.#unknown.length} batches without a reply is there in part, or twice`,
    );
    // A client that never saw its reply sends again; so does one that only believes so.
    const again = [...this.#unknown, ...this.#acknowledged.slice(-RESENT)];
    for (const batch of again) await post(url, batch);
    this.#acknowledged.push(...this.#unknown);
    this.#unknown = [];
    if (again.length > 0) this.#checkAcknowledged(await countByBlog(url), `${when}, and the retries`);
  }

  #checkAcknowledged(counted: ReadonlyMap<string, number>, when: string): void {
    const wrong = this.#acknowledged.filter(({ blog }) => counted.get(blog) !== EVENTS_PER_BATCH);
    const found = wrong.map(({ blog }) => `${blog}: ${counted.get(blog) ?? 0} of ${EVENTS_PER_BATCH}`);
    this.#t.same(
      found,
      [],
      `all of ${this.#acknowledged.length} acknowledged batches are there once ${when}`,
    );
  }

  async #killAtStart(): Promise<void> {
    const server = this.#start([]);
    await after(this.#random() * MAX_START_KILL_AFTER_MS);
    await server.kill("SIGKILL");
  }

  async #killBackup(to: string): Promise<void> {
    const backup = this.#start(["backup", "--data", this.#path, "--to", to]);
    await after(this.#random() * MAX_BACKUP_KILL_AFTER_MS);
    await backup.kill("SIGKILL");
  }

  #start(args: readonly string[]): Process {
    const started = new Process(args, { ...SETTINGS, DATA: this.#path });
    this.#t.teardown(() => started.kill("SIGKILL"));
    return started;
  }
}
