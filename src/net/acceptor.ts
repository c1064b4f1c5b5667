/**
 * Accepts on a listening descriptor, a few connections a turn. Node's own server takes everything there is in one turn, so
 * that a flood on one listener would stop all others; it cannot wait, and out of descriptors it throws connections away.
 *
 * I1: at most `perTurn` connections are taken in one turn of the event loop; the rest waits in the kernel's queue.
 * I2: while the gate says so, or while there are no descriptors, nothing is taken and nothing spins.
 * I3: `close` loses no connection whose handshake has begun: new SYNs are dropped (their clients send them again, to whoever
 *     listens then), what the kernel still accepts is taken, and only then is the descriptor closed. Exactly once.
 */
import type { Clock, Timer } from '../base/clock.ts';
import { nativeSockets } from './native-sockets.ts';

/** Says when a listener may take its next connection. Asked before each, so it must cost nothing. */
export interface AcceptGate {
  /** Milliseconds to wait; 0: now. */
  waitMs(): number;
}

export interface AcceptorOptions {
  readonly clock: Clock;
  readonly gate?: AcceptGate | undefined;
  /** The connection is the receiver's. Must not throw. */
  readonly onDescriptor: (fd: number) => void;
  /** No connection could be accepted (out of descriptors); the listener goes on after a pause. */
  readonly onAcceptError: (error: Error) => void;
}

/** About 5 ms of work at the most. */
const perTurn = 16;
/** After EMFILE, ENFILE, ENOBUFS, ENOMEM. */
const backOffMs = 100;
/** Longer than a handshake between two hosts takes. */
const settleMs = 50;

export class Acceptor {
  readonly #fd: number;
  readonly #options: AcceptorOptions;
  readonly #watcher: { close(): void; setEvents(events: 'r' | 'none'): void };
  #waiting: Timer | undefined;
  #closing: Promise<void> | undefined;
  #finishClosing: (() => void) | undefined;
  #closed = false;

  /** Owns the descriptor, which must listen and not block. */
  constructor(fd: number, options: AcceptorOptions) {
    this.#fd = fd;
    this.#options = options;
    this.#watcher = nativeSockets().watchFd(fd, 'r', () => this.#takeSome(perTurn));
  }

  /** Resolves when the descriptor is closed; what was accepted until then has been handed over. */
  close(): Promise<void> {
    this.#closing ??= this.#leave();
    return this.#closing;
  }

  /** Closes at once; what waits in the kernel's queue is reset. */
  destroy(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#waiting?.cancel();
    this.#watcher.close();
    nativeSockets().closeFd(this.#fd);
    this.#finishClosing?.();
  }

  #leave(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    try {
      nativeSockets().dropSyns(this.#fd);
    } catch {
      // Without the filter the wait would only let more in that might be lost.
      this.#takeRest();
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#finishClosing = resolve;
      this.#options.clock.after(settleMs, () => this.#takeRest());
    });
  }

  #takeRest(): void {
    if (this.#closed) return;
    // The kernel's queue bounds it.
    while (!this.#closed && this.#takeOne() === 'taken');
    this.destroy();
  }

  #takeSome(most: number): void {
    const { gate } = this.#options;
    for (let left = most; left > 0 && !this.#closed; left--) {
      const waitMs = gate === undefined || this.#closing !== undefined ? 0 : gate.waitMs();
      if (waitMs > 0) {
        this.#wait(waitMs);
        return;
      }
      const outcome = this.#takeOne();
      if (outcome === 'failed') this.#wait(backOffMs);
      if (outcome !== 'taken') return;
    }
  }

  #takeOne(): 'taken' | 'none' | 'failed' {
    const { onDescriptor, onAcceptError } = this.#options;
    let fd: number | undefined;
    try {
      fd = nativeSockets().acceptConnection(this.#fd);
    } catch (error) {
      onAcceptError(error instanceof Error ? error : new Error(String(error)));
      return 'failed';
    }
    if (fd === undefined) return 'none';
    onDescriptor(fd);
    return 'taken';
  }

  #wait(forMs: number): void {
    this.#watcher.setEvents('none');
    this.#waiting?.cancel();
    this.#waiting = this.#options.clock.after(forMs, () => {
      this.#waiting = undefined;
      if (!this.#closed) this.#watcher.setEvents('r');
    });
  }
}
