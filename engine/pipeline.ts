import {
  concat,
  defer,
  exhaustMap,
  filter,
  forkJoin,
  interval,
  merge,
  of,
  takeUntil,
  throttle,
  timer,
  type Observable,
  type SchedulerLike,
} from "rxjs";
import type { LiveMessage, LiveOptions } from "./api.js";
import type { Committer } from "./hot/committer.js";
import type { Images } from "./hot/images.js";
import type { Folded } from "./ingest.js";
import type { LiveView } from "./live.js";
import type { Upkeep } from "./upkeep/upkeep.js";

/** How often the clock is asked whether a quiet source leaves something to seal or an hour has ended. */
const TICK_MS = 1000;

/** How often is looked for what has become too old, and whether a comparison is due. */
const UPKEEP_MS = 3_600_000;

export interface PipelineOptions {
  readonly folded$: Observable<Folded>;
  readonly closed$: Observable<unknown>;
  readonly scheduler: SchedulerLike;
}

/** Asks what may fail on a damaged store; what it says then is told by whoever comes upon it next. */
function when(condition: () => boolean): boolean {
  try {
    return condition();
  } catch {
    return false;
  }
}

/**
 * batches ─┬─ a quarter was sealed? ─┐
 * ticks  ──┴─ anything else due?  ───┴─ commit (one at a time; what comes meanwhile waits for the next)
 */
export function commits$(committer: Committer, options: PipelineOptions): Observable<void> {
  const sealed$ = options.folded$.pipe(
    filter(() => when(() => committer.isSealDue() || committer.isPressing())),
  );
  const due$ = interval(TICK_MS, options.scheduler).pipe(filter(() => when(() => committer.isDue())));
  return merge(sealed$, due$).pipe(
    exhaustMap(() => committer.commitDue()),
    takeUntil(options.closed$),
  );
}

/** batches that make a restart too long, ticks after which the image is of no use ── an image of the hot cells */
export function images$(images: Images, { folded$, closed$, scheduler }: PipelineOptions): Observable<void> {
  const due$ = folded$.pipe(filter(() => when(() => images.isDue())));
  const useless$ = interval(TICK_MS, scheduler).pipe(filter(() => when(() => images.isUseless())));
  return merge(due$, useless$).pipe(
    exhaustMap(() => images.renew()),
    takeUntil(closed$),
  );
}

/** Now and then: what is too old is given up, a day is compared with its raw events. */
export function upkeep$(
  upkeep: Upkeep,
  { closed$, scheduler }: Omit<PipelineOptions, "folded$">,
): Observable<void> {
  return interval(UPKEEP_MS, scheduler).pipe(
    exhaustMap(() => upkeep.inBackground()),
    takeUntil(closed$),
  );
}

export interface PushPace extends LiveOptions {
  /** Least time between two messages, ms. */
  readonly pushIntervalMs: number;
}

/**
 * batches, at most one per `pushIntervalMs`, and when the reader is ready ─┐
 * ticks (the hour may end without an event) ──────────────────────────────┴─ what has changed in the view
 */
export function live$(
  view: () => LiveView,
  { pushIntervalMs, ready }: PushPace,
  options: PipelineOptions,
): Observable<LiveMessage> {
  const { folded$, closed$, scheduler } = options;
  return defer(() => {
    const live = view();
    const rest$ = (): Observable<unknown> => {
      const interval$ = timer(pushIntervalMs, scheduler);
      return ready === undefined ? interval$ : forkJoin([interval$, ready()]);
    };
    const pushes$ = folded$.pipe(throttle(rest$, { leading: true, trailing: true }));
    const ticks$ = interval(TICK_MS, scheduler).pipe(filter(() => live.hasEnded()));
    return concat(of(live.snapshot()), merge(pushes$, ticks$).pipe(exhaustMap(() => live.changes())));
  }).pipe(takeUntil(closed$));
}
