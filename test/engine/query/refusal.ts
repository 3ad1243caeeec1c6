import { TidemarkError } from "../../../engine/errors.js";

/** Code, pointer and sentence of the refusal. */
export function refusalOf(run: () => unknown): {
  code: string;
  pointer: string | undefined;
  detail: string;
  extra: unknown;
} {
  try {
    run();
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error;
    return { code: error.code, pointer: error.pointer, detail: error.message, extra: error.extra };
  }
  throw new Error("was not refused");
}
