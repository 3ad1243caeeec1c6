/** Lets so many through at once; a number of others wait for their turn, in the order in which they came. */
export class Gate {
  readonly #width: number;
  readonly #room: number;
  readonly #waiting: (() => void)[] = [];
  #inside = 0;

  /** `width`: at once. `room`: waiting, at most. */
  constructor(width: number, room: number) {
    this.#width = width;
    this.#room = room;
  }

  /** Would the next one neither come through nor find room to wait? */
  get isFull(): boolean {
    return this.#inside >= this.#width && this.#waiting.length >= this.#room;
  }

  /** Does the work when its turn comes, whatever became of those before. */
  async pass<T>(work: () => Promise<T>): Promise<T> {
    if (this.isFull) throw new Error("BUG: no room to wait");
    // Who waited takes the place of the one that left, so that nobody slips in between.
    if (this.#inside < this.#width) this.#inside++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#inside--;
      else next();
    }
  }
}
