import type { CellBlock } from "../engine/store.js";
import type { Sketches } from "./block-rows.js";

/** The sketches of rows, as they are read. */
export class SketchColumn {
  readonly #tokenStart: Uint32Array;
  readonly #tokens: Uint32Array;
  readonly dense = new Map<number, Uint8Array>();
  #row = 0;

  /** `tokens`: there are no more. */
  constructor(rows: number, tokens: number) {
    this.#tokenStart = new Uint32Array(rows + 1);
    this.#tokens = new Uint32Array(tokens);
  }

  /** How many tokens were read. */
  get end(): number {
    return this.#tokenStart[this.#row]!;
  }

  read(source: Sketches): void {
    const row = this.#row++;
    const start = this.#tokenStart[row]!;
    const sketch = source.next(this.#tokens, start);
    this.#tokenStart[row + 1] = start;
    if (typeof sketch === "number") this.#tokenStart[row + 1] = start + sketch;
    else this.dense.set(row, sketch);
  }

  columns(): Pick<CellBlock, "tokenStart" | "tokens" | "dense"> {
    const { end } = this;
    const tokens = this.#tokens.length === end ? this.#tokens : this.#tokens.slice(0, end);
    return { tokenStart: this.#tokenStart, tokens, dense: this.dense };
  }
}
