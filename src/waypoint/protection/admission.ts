/**
 * Whether a waypoint that nears its limits takes one more request or tunnel, and from whom. What runs is never cut for what
 * comes; readiness and metrics have ports of their own and are not asked about. Pure.
 *
 * I1: near the limit of requests no client has more than its share begun: the limit divided by the clients that have some.
 */

export interface AdmissionLimits {
  /** Requests or tunnels at a time, of all clients. */
  readonly most: number;
  /** From this part of `most` on, clients are held to their share. */
  readonly fairFrom: number;
}

export interface PressureLimits {
  /** Mean delay of the event loop from which some new requests are refused; from twice that, all. 0: never. */
  readonly eventLoopDelayMs: number;
  /** The same for memory, as a part of what the process may have: from half way between that and all of it, every one. 0: never. */
  readonly memoryShare: number;
}

export interface Pressure {
  readonly eventLoopDelayMs: number;
  /** Part of what the process may have; 0: no limit is known. */
  readonly memoryShare: number;
}

export type AdmissionVerdict =
  | { readonly kind: 'admit' }
  | { readonly kind: 'refuse'; readonly reason: 'too_many' | 'client_share' | 'event_loop_delay' | 'memory' };

const admit: AdmissionVerdict = { kind: 'admit' };

/** `own`: those of the client. `clients`: how many clients have any, this one included. */
export function decideShare(limits: AdmissionLimits, all: number, own: number, clients: number): AdmissionVerdict {
  if (all >= limits.most) return { kind: 'refuse', reason: 'too_many' };
  if (all < limits.most * limits.fairFrom) return admit;
  const share = Math.max(1, Math.floor(limits.most / Math.max(1, clients)));
  return own >= share ? { kind: 'refuse', reason: 'client_share' } : admit;
}

/** `draw` from 0 to 1: a part of the requests is refused that grows with the pressure, so that it is not all or nothing. */
export function decidePressure(limits: PressureLimits, pressure: Pressure, draw: number): AdmissionVerdict {
  const { eventLoopDelayMs: delay, memoryShare: memory } = limits;
  if (delay > 0 && draw < pressure.eventLoopDelayMs / delay - 1) return { kind: 'refuse', reason: 'event_loop_delay' };
  if (memory > 0 && draw < (2 * (pressure.memoryShare - memory)) / (1 - memory)) {
    return { kind: 'refuse', reason: 'memory' };
  }
  return admit;
}
