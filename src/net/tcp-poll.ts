/**
 * Tells TCP sockets that are driven by hand (`tcp-end.ts`) what became ready: one epoll set a thread, which the event loop watches
 * like a single socket. Edge-triggered, so a socket costs one `epoll_ctl` in its life, however often it is paused.
 *
 * I1: a socket is told nothing after `remove`, also when its descriptor's number is in use again in the same turn.
 * I2: what one socket throws is an uncaught exception, and costs the others of that turn nothing.
 * I3: all sockets together read no more than `readsPerPhase` buffers at once; those that have to wait come first the next time.
 */
import { inBatch, toldSafely } from './batch-end.ts';
import { nativeSockets } from './native-sockets.ts';

/** The sum of what is true, as the addon tells it. */
export const readiness = { readable: 1, writable: 2, finished: 4, error: 8, urgent: 16 } as const;

export interface PolledSocket {
  ready(events: number): void;
  /** It asked for another turn. */
  proceed(): void;
}

const mostTag = 2 ** 31 - 1;
const wordsOfEvent = 3;
/** Before the rest of the event loop has its turn: about 5 ms, when each fills its buffer. */
const readsPerPhase = 128;

class TcpPoll {
  readonly #epollFd: number;
  readonly #watcher: { ref(): void; unref(): void };
  readonly #words = new Int32Array(wordsOfEvent * 128);
  /** By descriptor. No Map: see `base/members.ts`. */
  readonly #sockets: ({ readonly tag: number; readonly socket: PolledSocket } | undefined)[] = [];
  #count = 0;
  #nextTag = 0;
  #waiting: PolledSocket[] = [];
  #readsLeft = 0;
  /** Some had to wait, and come first. */
  #behind = false;
  readonly #proceed = () => inBatch(this.#tellWaiting);
  readonly #tellWaiting = () => {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#readsLeft = readsPerPhase;
    let served = 0;
    // One that only writes counts as well.
    for (; served < waiting.length && this.#readsLeft-- > 0; served++) {
      const socket = waiting[served] as PolledSocket;
      toldSafely(() => socket.proceed());
    }
    this.#behind = served < waiting.length;
    if (!this.#behind) return;
    if (this.#waiting.length === 0) setImmediate(this.#proceed);
    this.#waiting = [...waiting.slice(served), ...this.#waiting];
  };

  constructor() {
    const native = nativeSockets();
    this.#epollFd = native.createEpoll();
    try {
      this.#watcher = native.watchFd(this.#epollFd, 'r', () => inBatch(this.#tell));
    } catch (error) {
      native.closeFd(this.#epollFd);
      throw error;
    }
    this.#watcher.unref();
  }

  /** Throws SystemError. */
  add(fd: number, socket: PolledSocket): void {
    this.#nextTag = this.#nextTag === mostTag ? 0 : this.#nextTag + 1;
    nativeSockets().epollAdd(this.#epollFd, fd, this.#nextTag);
    const sockets = this.#sockets;
    while (sockets.length <= fd) sockets.push(undefined);
    sockets[fd] = { tag: this.#nextTag, socket };
    if (++this.#count === 1) this.#watcher.ref();
  }

  /** Before its descriptor is closed, which takes it out of the set. */
  remove(fd: number): void {
    if (this.#sockets[fd] === undefined) return;
    this.#sockets[fd] = undefined;
    if (--this.#count === 0) this.#watcher.unref();
  }

  /** Calls `proceed` in the check phase of this turn, or in the next. */
  later(socket: PolledSocket): void {
    if (this.#waiting.push(socket) === 1) setImmediate(this.#proceed);
  }

  /** Of a socket that was told, or proceeds: whether it may read once more. Else it asks for another turn. */
  mayRead(): boolean {
    return this.#readsLeft-- > 0;
  }

  readonly #tell = (): void => {
    this.#readsLeft = this.#behind ? 0 : readsPerPhase;
    const words = this.#words;
    const end = wordsOfEvent * nativeSockets().epollWait(this.#epollFd, words);
    for (let at = 0; at < end; at += wordsOfEvent) {
      const entry = this.#sockets[words[at] as number];
      if (entry?.tag !== words[at + 1]) continue;
      const { socket } = entry as { readonly socket: PolledSocket };
      toldSafely(() => socket.ready(words[at + 2] as number));
    }
  };
}

let poll: TcpPoll | undefined;

/** Of this thread. Throws when the addon is not built. */
export function tcpPoll(): Pick<TcpPoll, 'add' | 'remove' | 'later' | 'mayRead'> {
  poll ??= new TcpPoll();
  return poll;
}
