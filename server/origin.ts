/** Who may connect from a browser: checks of the `Origin` and `Host` headers. */
import { isIP } from "node:net";

/**
 * Whether a page of this origin may open a WebSocket. Programs send no `Origin` and may; pages must be of the host
 * that they connect to, or of a configured origin (browsers do not ask the server before they connect).
 */
export function originAllowed(
  origin: string | undefined,
  host: string | undefined,
  allowed: ReadonlySet<string>,
): boolean {
  if (origin === undefined) return true;
  if (allowed.has(origin)) return true;
  const page = parseOrigin(origin);
  if (page === undefined || host === undefined) return false;
  // With the page's scheme, so that a default port that only one of the two names is the same port.
  const here = parseOrigin(`${page.protocol}//${host.toLowerCase()}`);
  return here !== undefined && here.host === page.host;
}

/** The URL of a serialised origin (RFC 6454, section 6.2); undefined when the text is anything else. */
export function parseOrigin(origin: string): URL | undefined {
  if (!URL.canParse(origin)) return undefined;
  const url = new URL(origin);
  const isWeb = url.protocol === "http:" || url.protocol === "https:";
  const isBare = url.pathname === "/" && url.search === "" && url.hash === "" && url.username === "";
  return isWeb && isBare && !/[/?#@]/.test(origin.slice(url.protocol.length + 2)) ? url : undefined;
}

/**
 * Whether a server without a token may answer to this `Host`. A page that has pointed its own name at our address
 * (DNS rebinding) is same-origin with us, but it cannot send a name that is not its own. Addresses and `localhost`
 * belong to nobody else.
 */
export function hostAllowed(host: string, allowedNames: ReadonlySet<string>): boolean {
  if (!URL.canParse(`http://${host}`)) return false;
  const { hostname, pathname, username } = new URL(`http://${host}`);
  if (pathname !== "/" || username !== "" || host.includes("?") || host.includes("#")) return false;
  const name = hostname.replace(/^\[(.*)\]$/, "$1");
  return isIP(name) > 0 || name === "localhost" || name.endsWith(".localhost") || allowedNames.has(name);
}
