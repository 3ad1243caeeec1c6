/** A token bucket: `burst` at once, then `perSecond`. */
export class Rate {
  #tokens: number;
  #atMs = performance.now();

  constructor(
    readonly burst: number,
    readonly perSecond: number,
  ) {
    this.#tokens = burst;
  }

  /** False when there were too many. */
  take(): boolean {
    const nowMs = performance.now();
    this.#tokens = Math.min(this.burst, this.#tokens + ((nowMs - this.#atMs) / 1000) * this.perSecond);
    this.#atMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
