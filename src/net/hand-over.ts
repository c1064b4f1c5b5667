/**
 * Connections handed from the process that accepts them to one that serves them: each goes as a descriptor in a record of
 * one byte, the number of the listener it came to. The kernel keeps what was handed over and not taken yet.
 *
 * I1: a connection has one owner: the sender's copy is closed once it was sent. I2: a receiver that its gate makes wait takes
 * nothing, so that the sender finds the channel full in the end and chooses another.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Clock, Timer } from '../base/clock.ts';
import { errorCode } from '../base/errors.ts';
import { countListener } from './descriptors.ts';
import { adoptConnection, type ListenHooks, type Listening } from './listener.ts';
import { nativeSockets } from './native-sockets.ts';
import type { ListenSpec } from './socket-spec.ts';

/** Both ends of a channel; each is its owner's to close. */
export interface HandOverChannel {
  readonly near: number;
  readonly far: number;
}

export function createHandOverChannel(): HandOverChannel {
  const native = nativeSockets();
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-hand-over-'));
  try {
    const socket = path.join(folder, 's');
    const listener = native.seqpacketListen(socket, 1);
    try {
      const near = native.seqpacketConnect(socket);
      const far = native.seqpacketAccept(listener);
      if (far === undefined) {
        native.closeFd(near);
        throw new Error('the other end of a channel is not there');
      }
      return { near, far };
    } finally {
      native.closeFd(listener);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** `full`: the receiver is behind, the connection is still the caller's. `gone`: so is the receiver. */
export function handOver(channel: number, connection: number, listener: number): 'sent' | 'full' | 'gone' {
  const native = nativeSockets();
  let sent: boolean;
  try {
    sent = native.seqpacketSend(channel, Uint8Array.of(listener), [connection]);
  } catch (error) {
    // Too many descriptors on their way between processes, as a full queue.
    if (errorCode(error) === 'ETOOMANYREFS' || errorCode(error) === 'ENOBUFS') return 'full';
    return 'gone';
  }
  if (!sent) return 'full';
  native.closeFd(connection);
  return 'sent';
}

const perTurn = 16;

/** The end of a channel at which connections arrive. */
export class HandOverReceiver {
  readonly #fd: number;
  readonly #clock: Clock;
  readonly #listeners = new Map<number, ListenHooks>();
  readonly #watcher: { close(): void; setEvents(events: 'r' | 'none'): void };
  #made = 0;
  #open = 0;
  #taken = 0;
  #waiting: Timer | undefined;
  #ended = false;

  /** Owns the descriptor. */
  constructor(fd: number, clock: Clock) {
    this.#fd = fd;
    this.#clock = clock;
    this.#watcher = nativeSockets().watchFd(fd, 'r', () => this.#takeSome(perTurn));
  }

  /** Connections that were handed over and have ended. */
  get closed(): number {
    return this.#taken - this.#open;
  }

  /** In place of `listen`: the listeners of a worker are made in the order in which the sender numbers its own. */
  listen(spec: ListenSpec, hooks: ListenHooks): Promise<Listening> {
    const number = this.#made++;
    this.#listeners.set(number, hooks);
    const uncount = countListener();
    const leave = () => {
      if (this.#listeners.get(number) !== hooks) return;
      this.#takeSome(Number.POSITIVE_INFINITY);
      this.#listeners.delete(number);
      uncount();
      if (this.#listeners.size === 0) this.#end();
    };
    return Promise.resolve({
      address: { ip: spec.ip, port: spec.port },
      async close() {
        leave();
      },
      destroy: leave,
    });
  }

  #takeSome(most: number): void {
    for (let left = most; left > 0 && !this.#ended; left--) {
      // A record is for one listener, which is not known before: the slowest gate counts.
      const waitMs = most === perTurn ? this.#gateMs() : 0;
      if (waitMs > 0) {
        this.#wait(waitMs);
        return;
      }
      const record = nativeSockets().seqpacketReceive(this.#fd, 16, 1);
      if (record === undefined) return;
      if (record.eof) {
        this.#end();
        return;
      }
      const [connection] = record.fds;
      if (connection !== undefined) this.#deliver(connection, record.data[0] ?? 0);
    }
  }

  #deliver(connection: number, listener: number): void {
    const hooks = this.#listeners.get(listener);
    if (hooks === undefined) {
      nativeSockets().closeFd(connection);
      this.#taken++;
      return;
    }
    this.#taken++;
    adoptConnection(
      connection,
      (socket) => {
        this.#open++;
        socket.once('close', () => this.#open--);
        hooks.onSocket(socket);
      },
      hooks.onAcceptError ?? (() => {}),
    );
  }

  #gateMs(): number {
    let most = 0;
    for (const { gate } of this.#listeners.values()) most = Math.max(most, gate?.waitMs() ?? 0);
    return most;
  }

  #wait(forMs: number): void {
    this.#watcher.setEvents('none');
    this.#waiting?.cancel();
    this.#waiting = this.#clock.after(forMs, () => {
      this.#waiting = undefined;
      if (!this.#ended) this.#watcher.setEvents('r');
    });
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#waiting?.cancel();
    this.#watcher.close();
    nativeSockets().closeFd(this.#fd);
  }
}
