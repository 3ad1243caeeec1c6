import { Subject } from "rxjs";
import { TidemarkError, type ErrorCode } from "./errors.js";
import type { BucketAddress } from "./store.js";

const RETRY_AFTER_S = 5;

const STORAGE_CODES: ReadonlySet<ErrorCode> = new Set(["storage-failed", "storage-full"]);

/**
 * Can the storage be trusted with the next write? After a failed one nobody knows what is on disk: nothing more is
 * written until the storage has been opened anew and read again.
 */
export class Health {
  /** Emits once, when a write has failed. */
  readonly failed$ = new Subject<TidemarkError>();
  /** Buckets that were found damaged. */
  readonly damage$ = new Subject<BucketAddress>();
  #failure: TidemarkError | undefined;

  /** Why nothing can be written; undefined while all is well. */
  get failure(): TidemarkError | undefined {
    return this.#failure;
  }

  /** Throws the failure, if there is one. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Something went wrong with a stored bucket, or with a write. */
  report(error: unknown): void {
    const bucket = damagedBucket(error);
    if (bucket === undefined) this.fail(error);
    else this.damage$.next(bucket);
  }

  /** Something else went wrong; if the storage is to blame, it is not trusted any more. */
  notice(error: unknown): void {
    const isStorage = error instanceof TidemarkError && STORAGE_CODES.has(error.code);
    if (isStorage) this.fail(error);
  }

  /** A write has failed; returns the failure that is told from now on. */
  fail(error: unknown): TidemarkError {
    if (this.#failure === undefined) {
      this.#failure = told(error);
      this.failed$.next(this.#failure);
    }
    return this.#failure;
  }
}

/** The bucket that could not be read, when that is what the error says. */
export function damagedBucket(error: unknown): BucketAddress | undefined {
  if (!(error instanceof TidemarkError) || error.code !== "storage-damaged") return undefined;
  return error.extra["bucket"] as BucketAddress | undefined;
}

function told(error: unknown): TidemarkError {
  if (!(error instanceof TidemarkError)) {
    return new TidemarkError(
      "storage-failed",
      "The store could not be written; send again in a few seconds.",
      {
        cause: error,
        extra: { retryAfterS: RETRY_AFTER_S },
      },
    );
  }
  const { code, message, extra, cause } = error;
  return new TidemarkError(code, message, { extra: { retryAfterS: RETRY_AFTER_S, ...extra }, cause });
}
