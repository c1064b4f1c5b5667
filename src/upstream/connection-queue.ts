/**
 * Requests of one destination that wait for a connection, where a limit on connections or on waiting was set. A pool by
 * itself would open a connection or hold the request without end; here it is asked first whether either may be.
 *
 * I1: an endpoint without any connection may always open one, whatever others hold: nobody waits for what cannot come.
 * I2: who waits is bounded by the circuit's limit and by `mostWaiting`; one more is refused at once.
 * I3: in order of arrival, but for those whose endpoint is not the one that has become free.
 */
import type { Circuit } from './circuit.ts';

/** A pool as far as the queue looks at it. */
export interface QueuedPool {
  /** Connections that could take a request now. */
  readonly free: number;
  /** Connections that stand or are being made. */
  readonly connections: number;
}

export interface QueuedRequest {
  readonly pool: QueuedPool;
  /** Nobody wants it any more. */
  readonly over: boolean;
  /** Its request is on a connection. */
  readonly started: boolean;
  start(): void;
}

/** Where the rule says nothing. */
export const mostWaiting = 1024;

export class ConnectionQueue {
  readonly #circuit: Circuit;
  #waiting: QueuedRequest[] = [];
  #waking = false;

  constructor(circuit: Circuit) {
    this.#circuit = circuit;
  }

  /** Starts the request or keeps it. What `waits`, on the way to a connection or for one, is to be `left`. */
  enter(request: QueuedRequest): 'started' | 'waits' | 'refused' {
    const circuit = this.#circuit;
    if (this.#waiting.length === 0 && request.pool.free > 0) {
      request.start();
      return 'started';
    }
    if (circuit.pending >= Math.min(circuit.limits.maxPending, mostWaiting)) {
      circuit.refuse('pending');
      return 'refused';
    }
    if (this.#waiting.length === 0 && this.#mayOpen(request.pool)) {
      circuit.pending++;
      request.start();
      return 'waits';
    }
    circuit.pending++;
    this.#waiting.push(request);
    return 'waits';
  }

  /** The request is on a connection, or over. Called once for each that was entered as waiting. */
  left(request: QueuedRequest): void {
    this.#circuit.pending--;
    const at = this.#waiting.indexOf(request);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  /** Something has become free. undici lets a connection rest for one turn before it is. */
  wake(): void {
    if (this.#waking || this.#waiting.length === 0) return;
    this.#waking = true;
    setImmediate(setImmediate, () => {
      this.#waking = false;
      this.#startThoseThatCan();
    });
  }

  #startThoseThatCan(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const request of waiting) {
      if (request.over) continue;
      if (request.pool.free > 0 || this.#mayOpen(request.pool)) request.start();
      else this.#waiting.push(request);
    }
  }

  #mayOpen(pool: QueuedPool): boolean {
    return pool.connections === 0 || this.#circuit.connections < this.#circuit.limits.maxConnections;
  }
}
