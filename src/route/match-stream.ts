/**
 * The route of a connection that is not parsed as HTTP: the first in the given order whose match holds, by the server
 * name of the TLS client, who the client is, and the address it asked for.
 */
import { cidrContains, ipToBytes } from '../base/address.ts';
import { hasLabels } from './match-route.ts';
import type { StreamRoute } from './model.ts';

export interface StreamFacts {
  /** Lower case; undefined: no TLS, or a client that names nobody. */
  readonly serverName: string | undefined;
  readonly clientNamespace: string | undefined;
  readonly clientLabels: Readonly<Record<string, string>> | undefined;
  readonly destinationIp: string;
}

/** Undefined with routes that are not empty: the connection is to be refused. */
export function matchStream(routes: readonly StreamRoute[], facts: StreamFacts): StreamRoute | undefined {
  return routes.find((route) => matches(route, facts));
}

/** Whether the first bytes have to be seen before a route can be chosen. */
export function asksServerName(routes: readonly StreamRoute[]): boolean {
  return routes.some(({ serverNames }) => serverNames !== undefined);
}

function matches(route: StreamRoute, facts: StreamFacts): boolean {
  const { serverNames, sourceNamespace, sourceLabels, destinations } = route;
  if (serverNames !== undefined && !serverNames.some((name) => isServerName(name, facts.serverName))) return false;
  if (sourceNamespace !== undefined && sourceNamespace !== facts.clientNamespace) return false;
  if (sourceLabels.length > 0 && !hasLabels(sourceLabels, facts.clientLabels)) return false;
  if (destinations === undefined) return true;
  const bytes = ipToBytes(facts.destinationIp);
  return destinations.some((block) => cidrContains(block, bytes));
}

/** `*.example.com` stands for one or more labels before the rest (Gateway API, Hostname), `*` for any name. */
function isServerName(pattern: string, name: string | undefined): boolean {
  if (name === undefined) return false;
  if (pattern === '*') return true;
  return pattern.startsWith('*.') ? name.endsWith(pattern.slice(1)) && name.length >= pattern.length : name === pattern;
}
