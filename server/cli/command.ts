/** One command of the `tidemark` program, and what all of them share. */
import { parseArgs } from "node:util";
import { TidemarkError } from "../../engine/errors.js";
import { ConfigError } from "../config.js";

/** Exit codes of every command: docs/runbook.md. */
export const EXIT = {
  ok: 0,
  /** It was not done, or the server did not start: a setting, the port, the store. */
  failed: 1,
  /** Closed by force: a second signal, or the close took too long. Acknowledged events are safe all the same. */
  forced: 2,
  /** It was done, and found or left damage: read what it said. */
  damage: 3,
} as const;

export interface CommandOption {
  readonly type: "string" | "boolean";
  /** What stands for the value in the help: "FOLDER". */
  readonly value?: string;
  readonly help: string;
  /** It must be given. */
  readonly isRequired?: boolean;
}

export type CommandArgs = Readonly<Record<string, string | boolean | undefined>>;

export interface Command {
  readonly name: string;
  /** One line: what it does. */
  readonly summary: string;
  /** Further sentences of its help. */
  readonly details?: string;
  readonly options: Readonly<Record<string, CommandOption>>;
  /** Resolves to an exit code; what it throws is told as a sentence. */
  run(args: CommandArgs): Promise<number>;
}

export const DATA_OPTION: CommandOption = {
  type: "string",
  value: "FOLDER",
  help: "the store (TIDEMARK_DATA, else ./data)",
};

/** Where the store is, by the same rule as for the server. */
export function dataFolder({ data }: CommandArgs): string {
  return typeof data === "string" ? data : (process.env["TIDEMARK_DATA"] ?? "./data");
}

/** The value of an option that is required. */
export function textOf(args: CommandArgs, name: string): string {
  const value = args[name];
  if (typeof value !== "string") throw new ConfigError(`--${name} is needed. Try --help.`);
  return value;
}

/** Throws `ConfigError` for what the command does not take; undefined when help was asked for. */
export function readArgs(command: Command, args: readonly string[]): CommandArgs | undefined {
  const options: Record<string, { type: "string" | "boolean"; short?: string }> = {
    help: { type: "boolean", short: "h" },
  };
  for (const [name, { type }] of Object.entries(command.options)) options[name] = { type };
  let values: CommandArgs;
  try {
    values = parseArgs({ args: [...args], options }).values;
  } catch (error) {
    const [sentence = ""] = (error as Error).message.split(/\. |\n/);
    throw new ConfigError(`${sentence}. Try tidemark ${command.name} --help.`);
  }
  if (values["help"] === true) return undefined;
  for (const [name, { isRequired }] of Object.entries(command.options)) {
    if (isRequired === true && values[name] === undefined) {
      throw new ConfigError(`--${name} is needed. Try tidemark ${command.name} --help.`);
    }
  }
  return values;
}

export function commandHelp({ name, summary, details, options }: Command): string {
  const rows = Object.entries(options).map(([flag, { value = "", help, isRequired }]) => {
    const left = `--${flag} ${value}`.trim();
    return [isRequired === true ? left : `[${left}]`, help] as const;
  });
  const width = Math.max(0, ...rows.map(([left]) => left.length));
  return [
    `tidemark ${name}: ${summary}`,
    ...(details === undefined ? [] : ["", details]),
    "",
    `Usage: tidemark ${[name, ...rows.map(([left]) => left)].join(" ")}`,
    "",
    ...rows.map(([left, help]) => `  ${left.padEnd(width)}  ${help}`),
    "",
  ].join("\n");
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** What went wrong, without a stack where it is nobody's bug. */
export function sentenceFor(error: unknown): string {
  if (error instanceof ConfigError || error instanceof TidemarkError) return error.message;
  const { code, message, stack } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  if (code === "EADDRINUSE") return "The port is taken by another process; choose one with --port.";
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND")
    return "This machine has no such address; see --host.";
  if (code === "EACCES") return `Not permitted: ${message}.`;
  return stack ?? message;
}
