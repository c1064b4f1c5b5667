/**
 * What becomes of plaintext that arrives for a workload from outside the mesh (port 15006): policies decide without an
 * identity, and the client's address is kept (ztunnel.md §4.5, seed-design.md R54). Pure.
 */
import type { SocketAddress } from '../base/address.ts';
import type { ResponseFlag } from '../base/errors.ts';
import type { PolicyKey, Workload } from '../mesh/model.ts';
import type { SocketProfile } from '../net/socket-spec.ts';
import { authorize, type PolicyOutcome } from './authorization.ts';
import type { InboundContext } from './inbound-decision.ts';
import { isOwnPort } from './settings.ts';
import { applicationSocket } from './socket-rules.ts';

export interface PlaintextEvent {
  readonly client: SocketAddress;
  readonly destination: SocketAddress;
}

export type PlaintextDecision =
  | {
      readonly kind: 'dial';
      readonly workload: Workload;
      readonly destination: SocketAddress;
      readonly socket: SocketProfile;
      readonly reason: string;
      readonly outcome: PolicyOutcome;
    }
  | {
      readonly kind: 'refuse';
      readonly flag: ResponseFlag;
      readonly reason: string;
      readonly workload: Workload | undefined;
      readonly outcome: PolicyOutcome | undefined;
      readonly emptyMatchOf: PolicyKey | undefined;
    }
  /** Ask again after a change of the mesh, or when this time is over. */
  | { readonly kind: 'wait'; readonly forMs: number };

export function decidePlaintext(event: PlaintextEvent, context: InboundContext): PlaintextDecision {
  const { client, destination } = event;
  const refusal = {
    kind: 'refuse',
    flag: 'CONNECT',
    workload: undefined,
    outcome: undefined,
    emptyMatchOf: undefined,
  } as const;
  if (isOwnPort(destination.port, context.settings.ports)) {
    return { ...refusal, reason: `port ${destination.port} is a listener of this proxy` };
  }
  const workload = context.workloadAt(destination.ip);
  if (workload === undefined) {
    return { ...refusal, reason: `no workload of this node has the address ${destination.ip}` };
  }
  const authorization = authorize(
    workload,
    undefined,
    { sourceIp: client.ip, destinationIp: destination.ip, destinationPort: destination.port },
    context,
  );
  switch (authorization.kind) {
    case 'wait':
      return authorization;
    case 'deny':
      return { ...refusal, ...authorization, kind: 'refuse', flag: 'DENY', workload };
    case 'allow': {
      const socket = applicationSocket(context.sockets, client.ip, destination.ip);
      const { reason, outcome } = authorization;
      return { kind: 'dial', workload, destination, socket, reason, outcome };
    }
  }
}
