/**
 * A TCP connection as a ByteEnd, driven by hand: read when the kernel has something, written in the same call, with no stream, no
 * event and no object for a chunk between. A net.Socket costs a proxy more than all the rest of a connection.
 *
 * I1: reading is into one buffer of the thread, and what is read is lent (`byte-end.ts`); nothing read is ever kept here.
 * I2: `onGone` is called once, when the descriptor is closed, whoever closes it.
 * I3: a socket reads at most `readsPerTurn` buffers before others have their turn.
 */
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { canonicalIp, type SocketAddress } from '../base/address.ts';
import { AmbitError, type ErrorOrigin } from '../base/errors.ts';
import type { ByteEndHandler, TcpByteEnd } from './byte-end.ts';
import { countDescriptor } from './descriptors.ts';
import { nativeSockets } from './native-sockets.ts';
import { originalDestinationOf } from './original-destination.ts';
import { ownCopy, readBuffer } from './plain-socket.ts';
import { type PolledSocket, readiness, tcpPoll } from './tcp-poll.ts';

const readsPerTurn = 4;
/** What may wait to be written before its source is paused, bytes. */
const highWaterMark = 256 * 1024;
/** A TLS read of 64 KiB arrives as four records: pieces so large wait for the check phase and leave in one call. */
const gatheredBytes = 8 * 1024;
/** Chunks of one `sendChunks`. */
const mostChunks = 64;
/** Before a connection is closed, so that it is by FIN: what the peer sent and nobody wants. */
const readsBeforeClose = 16;

const discarded = Buffer.allocUnsafeSlow(16 * 1024);
/** EAGAIN, as the addon tells it. */
const nothingNow = -constants.errno.EAGAIN;

export class TcpEnd implements TcpByteEnd, PolledSocket {
  readonly #fd: number;
  readonly #origin: ErrorOrigin;
  readonly #uncount: () => void;
  readonly #onGone: (() => void)[] = [];
  #onConnect: ((error?: Error) => void) | undefined;
  #handler: ByteEndHandler | undefined;
  #flowing = false;
  /** The kernel may have something to read. */
  #readable = false;
  /** Of which the end, or an error, is the last: no edge will come for that. */
  #hung = false;
  #receivedEnd = false;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  /** The kernel has no room: its edge is waited for. */
  #blocked = false;
  /** `proceed` is due. */
  #awaited = false;
  #wantsDrain = false;
  #ending = false;
  #sentEnd = false;
  #finished: (() => void) | undefined;
  #gone = false;
  /** Nobody is told anything any more. */
  #silent = false;
  #cause: unknown;

  /**
   * The descriptor is owned from now on; when this throws a SystemError it is not. `onConnect`: its connection does not stand yet.
   * It is called once: with an error the descriptor is closed. Nothing but `reset` is allowed until then.
   */
  constructor(fd: number, origin: ErrorOrigin, onConnect?: (error?: Error) => void) {
    this.#fd = fd;
    this.#origin = origin;
    this.#onConnect = onConnect;
    tcpPoll().add(fd, this);
    this.#uncount = countDescriptor();
  }

  /** Undefined once it is gone. */
  get addresses(): { readonly local: SocketAddress; readonly peer: SocketAddress } | undefined {
    if (this.#gone) return undefined;
    try {
      const native = nativeSockets();
      return { local: addressOf(native.localAddress(this.#fd)), peer: addressOf(native.peerAddress(this.#fd)) };
    } catch {
      // ENOTCONN: the peer has cut it, which is told otherwise.
      return undefined;
    }
  }

  /** See `original-destination.ts`. */
  get originalDestination(): SocketAddress | undefined {
    return this.#gone ? undefined : originalDestinationOf(this.#fd);
  }

  get heldBytes(): number {
    return this.#queuedBytes;
  }

  get gone(): boolean {
    return this.#gone;
  }

  onGone(listener: () => void): void {
    this.#onGone.push(listener);
  }

  start(handler: ByteEndHandler): void {
    this.#handler = handler;
    if (this.#gone) {
      setImmediate(() => this.#tellBroken());
      return;
    }
    this.#flowing = true;
    if (this.#readable) this.#waitForTurn();
  }

  write(chunk: Uint8Array, lent = false): boolean {
    if (this.#gone || this.#ending || chunk.length === 0) return true;
    let rest = chunk;
    if (this.#queue.length === 0 && (lent || chunk.length < gatheredBytes)) {
      const sent = nativeSockets().sendBytes(this.#fd, chunk);
      if (sent === chunk.length) return true;
      if (sent < 0 && sent !== nothingNow) {
        this.#failedLater(sent);
        return true;
      }
      this.#blocked = true;
      if (sent > 0) rest = chunk.subarray(sent);
    }
    this.#queue.push(lent ? ownCopy(rest) : rest);
    this.#queuedBytes += rest.length;
    if (!this.#blocked) this.#waitForTurn();
    if (this.#queuedBytes < highWaterMark) return true;
    this.#wantsDrain = true;
    return false;
  }

  end(finished?: () => void): void {
    if (this.#ending) return;
    this.#ending = true;
    this.#finished = finished;
    if (this.#queue.length === 0) this.#sendEnd();
  }

  pause(): void {
    this.#flowing = false;
  }

  resume(): void {
    if (this.#flowing) return;
    this.#flowing = true;
    if (this.#readable) this.#waitForTurn();
  }

  reset(): void {
    this.#silent = true;
    this.#handler = undefined;
    this.#onConnect = undefined;
    this.#close(true);
  }

  destroyWhenFinished(): void {
    this.#silent = true;
    this.#handler = undefined;
    this.#flowing = false;
    if (this.#sentEnd) this.#closeByFin();
    else if (this.#ending) this.#finished = undefined;
    else this.end();
  }

  // As the poll sees it.

  ready(events: number): void {
    if (this.#onConnect !== undefined) this.#connected(events);
    if (this.#gone) return;
    if ((events & ~readiness.writable) !== 0) {
      this.#readable = true;
      if ((events & (readiness.finished | readiness.error)) !== 0) this.#hung = true;
      if (this.#flowing) this.#read();
      else if (this.#handler === undefined && (events & readiness.error) !== 0) this.#lookForError();
    }
    if ((events & readiness.writable) !== 0 && this.#blocked && !this.#gone) {
      this.#blocked = false;
      this.#sendQueue();
    }
  }

  proceed(): void {
    this.#awaited = false;
    if (this.#gone) return;
    if (this.#cause !== undefined) {
      this.#fail();
      return;
    }
    if (this.#queue.length > 0 && !this.#blocked) this.#sendQueue();
    if (this.#flowing && this.#readable && !this.#gone) this.#read();
  }

  #connected(events: number): void {
    const tell = this.#onConnect;
    const code = nativeSockets().takeSocketError(this.#fd);
    if (code === 0 && (events & readiness.writable) === 0) return;
    this.#onConnect = undefined;
    if (code < 0) this.#close(false);
    tell?.(code < 0 ? systemError(code) : undefined);
  }

  #read(): void {
    const native = nativeSockets();
    for (let left = readsPerTurn; this.#flowing && this.#readable && !this.#gone; left--) {
      if (left === 0) {
        this.#waitForTurn();
        return;
      }
      const count = native.receiveBytes(this.#fd, readBuffer);
      if (count > 0) {
        // Less than there was room for is all there was.
        if (count < readBuffer.length && !this.#hung) this.#readable = false;
        this.#handler?.data(readBuffer.subarray(0, count), true);
      } else {
        this.#readable = false;
        if (count === 0) this.#receiveEnd();
        else if (count !== nothingNow) this.#failed(count);
      }
    }
  }

  #receiveEnd(): void {
    this.#receivedEnd = true;
    this.#handler?.end();
    this.#settle();
  }

  /** Nobody reads it: the peer may have cut it all the same. */
  #lookForError(): void {
    const code = nativeSockets().takeSocketError(this.#fd);
    if (code < 0) this.#failed(code);
  }

  #sendQueue(): void {
    const native = nativeSockets();
    const queue = this.#queue;
    while (queue.length > 0 && !this.#gone) {
      const [first] = queue as [Uint8Array];
      const sent = queue.length === 1 ? native.sendBytes(this.#fd, first) : native.sendChunks(this.#fd, queue);
      if (sent === nothingNow) {
        this.#blocked = true;
        return;
      }
      if (sent < 0) {
        this.#failed(sent);
        return;
      }
      this.#dequeue(sent);
    }
    if (this.#ending && !this.#sentEnd) this.#sendEnd();
    if (!this.#wantsDrain || this.#gone) return;
    this.#wantsDrain = false;
    this.#handler?.drain();
  }

  #dequeue(sentBytes: number): void {
    this.#queuedBytes -= sentBytes;
    let left = sentBytes;
    let whole = 0;
    for (; whole < Math.min(this.#queue.length, mostChunks); whole++) {
      const { length } = this.#queue[whole] as Uint8Array;
      if (left < length) break;
      left -= length;
    }
    this.#queue.splice(0, whole);
    const [first] = this.#queue;
    if (left > 0 && first !== undefined) this.#queue[0] = first.subarray(left);
  }

  #sendEnd(): void {
    if (this.#gone) return;
    const code = nativeSockets().shutdownSending(this.#fd);
    if (code < 0) {
      this.#failedLater(code);
      return;
    }
    this.#sentEnd = true;
    const finished = this.#finished;
    this.#finished = undefined;
    finished?.();
    this.#settle();
  }

  /** Both directions have finished, or nobody wants the other. */
  #settle(): void {
    if (this.#gone || !this.#sentEnd) return;
    if (this.#silent) {
      this.#closeByFin();
      return;
    }
    if (!this.#receivedEnd) return;
    this.#close(false);
    this.#handler?.closed();
  }

  /** Closing what has unread bytes resets the connection, and what was sent may be lost with it. */
  #closeByFin(): void {
    if (this.#gone) return;
    const native = nativeSockets();
    for (let left = readsBeforeClose; left > 0 && native.receiveBytes(this.#fd, discarded) > 0; left--);
    this.#close(false);
  }

  /** Not in the call that found it: whoever writes is not told in the midst of that. */
  #failedLater(code: number): void {
    this.#cause ??= systemError(code);
    this.#waitForTurn();
  }

  #failed(code: number): void {
    this.#cause ??= systemError(code);
    this.#fail();
  }

  #fail(): void {
    this.#close(false);
    this.#tellBroken();
  }

  #tellBroken(): void {
    const handler = this.#handler;
    this.#handler = undefined;
    const origin = this.#origin;
    handler?.broken(
      new AmbitError('the connection was reset', { code: 'NET_RESET', origin, cause: this.#cause }),
      false,
    );
  }

  #waitForTurn(): void {
    if (this.#awaited) return;
    this.#awaited = true;
    tcpPoll().later(this);
  }

  #close(byReset: boolean): void {
    if (this.#gone) return;
    this.#gone = true;
    tcpPoll().remove(this.#fd);
    if (byReset) nativeSockets().resetConnection(this.#fd);
    else nativeSockets().closeFd(this.#fd);
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#uncount();
    for (const listener of this.#onGone) listener();
  }
}

function addressOf({ address, port }: { readonly address: string; readonly port: number }): SocketAddress {
  return { ip: canonicalIp(address) ?? address, port };
}

function systemError(code: number): Error {
  const name = getSystemErrorName(code);
  return Object.assign(new Error(`the connection broke (${name})`), { code: name, errno: code });
}
