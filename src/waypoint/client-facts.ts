/**
 * Who the client of a tunnel is, for routes that ask: its namespace as its certificate proves it, and the labels of the
 * workload at its address, if that workload is the one that has the certificate.
 */
import { parseSpiffeId } from '../base/spiffe.ts';
import type { ClientFacts, Tunnel } from './context.ts';

export function clientFacts(tunnel: Tunnel): ClientFacts {
  tunnel.facts ??= factsOf(tunnel);
  return tunnel.facts;
}

function factsOf({ clientIdentity, clientWorkload }: Tunnel): ClientFacts {
  const namespace = parseSpiffeId(clientIdentity)?.namespace;
  const proven = clientWorkload?.identity === clientIdentity;
  return { namespace, labels: proven ? clientWorkload.labels : undefined };
}
