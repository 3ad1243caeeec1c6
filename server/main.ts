#!/usr/bin/env node
/** The `tidemark` program: which command, its exit code, and what is said when it fails. */
import { archive } from "./cli/archive.js";
import { backup } from "./cli/backup.js";
import { commandHelp, EXIT, readArgs, sentenceFor, type Command } from "./cli/command.js";
import { quarantine } from "./cli/quarantine.js";
import { repair } from "./cli/repair.js";
import { restore } from "./cli/restore.js";
import { serve } from "./cli/serve.js";
import { reconcile, retention, revisions } from "./cli/upkeep.js";
import { verify } from "./cli/verify.js";
import { ConfigError } from "./config.js";

/** All but `serve`, which has the settings for its flags, and is what runs when no command is named. */
const COMMANDS: readonly Command[] = [
  backup,
  restore,
  verify,
  repair,
  reconcile,
  retention,
  revisions,
  quarantine,
  archive,
];

const SERVE = "serve";

async function main([first = "", ...rest]: readonly string[]): Promise<void> {
  if (first === "" || first.startsWith("-")) return await start([first, ...rest].filter((arg) => arg !== ""));
  if (first === SERVE) return await start(rest);
  const command = COMMANDS.find(({ name }) => name === first);
  if (command === undefined) throw new ConfigError(`There is no command "${first}". Try --help.`);
  const args = readArgs(command, rest);
  if (args === undefined) process.stdout.write(commandHelp(command));
  else process.exitCode = await command.run(args);
}

async function start(args: readonly string[]): Promise<void> {
  await serve(args);
  if (args.includes("--help") || args.includes("-h")) process.stdout.write(commandList());
}

function commandList(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  const rows = [
    [SERVE, "run the server (also without a command)"],
    ...COMMANDS.map((c) => [c.name, c.summary]),
  ];
  const lines = rows.map(([name, summary]) => `  ${name!.padEnd(width)}  ${summary}`);
  return ["", "Commands, each with a --help of its own:", "", ...lines, ""].join("\n");
}

function failed(error: unknown): void {
  const first = process.argv[2] ?? "";
  const isServe = first === "" || first.startsWith("-") || first === SERVE;
  const what = isServe ? "tidemark did not start." : `tidemark ${first} was not done.`;
  process.stderr.write(`${what} ${sentenceFor(error)}\n`);
  process.exit(EXIT.failed);
}

main(process.argv.slice(2)).catch(failed);
