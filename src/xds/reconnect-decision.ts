/**
 * When to ask again after a stream ended, and what the end is called in metrics: ztunnel's four reasons. Pure. Unlike the
 * original, an end counts as benign only for a stream that had served for a while: a server that is not ready, or breaks
 * each stream, is asked at growing intervals instead of a hundred times a second.
 */
import type { StreamEvent } from '../rpc/byte-stream.ts';
import type { RpcFailure } from '../rpc/outcome.ts';

export type StreamOutcome =
  | { readonly kind: 'not-connected'; readonly failure: RpcFailure }
  /** The server said what the protocol forbids. */
  | { readonly kind: 'breach'; readonly reason: string }
  | {
      readonly kind: 'ended';
      readonly event: Exclude<StreamEvent, { kind: 'message' }>;
      /** Whether the server had answered anything. */
      readonly answered: boolean;
      readonly livedMs: number;
    };

export type TerminationReason = 'ConnectionError' | 'Error' | 'Reconnect' | 'Complete';

export interface Reconnect {
  readonly reason: TerminationReason;
  /** `soon`: 10 ms, and growing intervals begin anew. */
  readonly wait: 'none' | 'soon' | 'backoff';
  readonly level: 'debug' | 'warn';
  readonly text: string;
}

export const soonMs = 10;
const settledMs = 1000;
const benign: ReadonlySet<string> = new Set(['UNKNOWN', 'CANCELLED', 'DEADLINE_EXCEEDED', 'UNAVAILABLE']);

export function decideReconnect(outcome: StreamOutcome): Reconnect {
  switch (outcome.kind) {
    case 'not-connected': {
      const { code, message } = outcome.failure;
      return { reason: 'ConnectionError', wait: 'backoff', level: 'warn', text: `${code}: ${message}` };
    }
    case 'breach':
      return { reason: 'Error', wait: 'backoff', level: 'warn', text: outcome.reason };
    case 'ended': {
      const { event, answered, livedMs } = outcome;
      const settled = answered && livedMs >= settledMs;
      const level = settled ? 'debug' : 'warn';
      if (event.kind === 'end') {
        return { reason: 'Complete', wait: settled ? 'none' : 'backoff', level, text: 'the server ended the stream' };
      }
      const text = `${event.code}: ${event.message}`;
      if (!benign.has(event.code)) return { reason: 'Error', wait: 'backoff', level: 'warn', text };
      return { reason: 'Reconnect', wait: settled ? 'soon' : 'backoff', level, text };
    }
  }
}
