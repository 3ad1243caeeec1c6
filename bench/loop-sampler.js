/**
 * Loaded into a server with `--import`: measures, inside the process, how long its event loop was busy at a stretch.
 *
 * A timer of 1 ms is set again each time it fires; whatever more than 1 ms has passed since it fired last is a pause.
 * Timers of the loop go by whole milliseconds, so that an idle loop shows pauses of up to 1 ms: that is the error, and
 * it is left in. With a busy loop there is one sample for each turn of it.
 *
 * Asked "begin" over the channel to the parent it forgets what it has seen; asked "end" it tells it.
 */
import { PerformanceObserver } from "node:perf_hooks";

const RESOLUTION_MS = 1;

/** @type {number[]} */
let pauses = [];
let collectedMs = 0;
let cpu = process.cpuUsage();
let last = performance.now();

function sample() {
  const now = performance.now();
  pauses.push(Math.max(0, now - last - RESOLUTION_MS));
  last = now;
  setTimeout(sample, RESOLUTION_MS).unref();
}

new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) collectedMs += duration;
}).observe({ entryTypes: ["gc"] });

process.on("message", (what) => {
  if (what === "end") {
    const { user, system } = process.cpuUsage(cpu);
    const { rss } = process.memoryUsage();
    process.send({ pauses, collectedMs, cpuMs: (user + system) / 1000, rss });
  }
  pauses = [];
  collectedMs = 0;
  cpu = process.cpuUsage();
  last = performance.now();
});
// The channel alone must not keep the server alive.
process.channel?.unref();
sample();
