/**
 * Loaded first by every test file of `npm test`. tap follows every promise, to tell which test an error belongs to
 * that nobody caught; that is a third of the time of tests that wait much. Here such an error ends the process, and
 * its file fails all the same. One file by itself (`npx tap FILE`) tells the test.
 */
import hooks from "node:async_hooks";
import { syncBuiltinESMExports } from "node:module";
import "./source-lines.js";

const none: hooks.AsyncHook = { enable: () => none, disable: () => none };
hooks.createHook = () => none;
syncBuiltinESMExports();
