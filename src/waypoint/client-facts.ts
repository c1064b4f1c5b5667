/**
 * Who the client of a tunnel is, for routes that ask: its namespace as its certificate proves it, and the labels of the
 * workload at its address, if that workload is the one that has the certificate.
 */
import { parseSpiffeId } from '../base/spiffe.ts';
import type { Tunnel } from './context.ts';

export interface ClientFacts {
  readonly namespace: string | undefined;
  /** Undefined: not known, or somebody else's. */
  readonly labels: Readonly<Record<string, string>> | undefined;
}

const kept = new WeakMap<Tunnel, ClientFacts>();

export function clientFacts(tunnel: Tunnel): ClientFacts {
  return kept.getOrInsertComputed(tunnel, factsOf);
}

function factsOf({ clientIdentity, clientWorkload }: Tunnel): ClientFacts {
  const namespace = parseSpiffeId(clientIdentity)?.namespace;
  const proven = clientWorkload?.identity === clientIdentity;
  return { namespace, labels: proven ? clientWorkload.labels : undefined };
}
