/**
 * A TCP connection as a ByteEnd, driven by hand: read when the kernel has something, written in the same call, with no stream, no
 * event and no object for a chunk between. A net.Socket costs a proxy more than all the rest of a connection.
 *
 * I1: reading is into one buffer of the thread, and what is read is lent (`byte-end.ts`); nothing read is ever kept here.
 * I2: `onGone` is called once, when the descriptor is closed, whoever closes it.
 * I3: a socket reads at most `readsPerTurn` buffers before others have their turn.
 * I4: an error of the socket is told by the kernel once, and looks like FIN to who reads after that: nothing is read after a failure.
 */
import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';
import { canonicalAddress, type SocketAddress } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { AmbitError, type ErrorOrigin } from '../base/errors.ts';
import { Backlog } from './backlog.ts';
import { type ByteEndHandler, lingerMs, type TcpByteEnd, tailMs } from './byte-end.ts';
import { countDescriptor } from './descriptors.ts';
import { nativeSockets } from './native-sockets.ts';
import { originalDestinationOf } from './original-destination.ts';
import { highWaterMark, readBuffer } from './plain-socket.ts';
import { type PolledSocket, readiness, tcpPoll } from './tcp-poll.ts';

const readsPerTurn = 4;
/** A TLS read of 64 KiB arrives as four records: pieces so large wait for the check phase and leave in one call. */
const gatheredBytes = 8 * 1024;
/** Chunks that `sendChunks` takes. */
const mostChunks = 64;
/** Before a connection is closed, so that it is by FIN: what the peer sent and nobody wants. */
const readsBeforeClose = 16;

/** EAGAIN, as the addon tells it. */
const nothingNow = -constants.errno.EAGAIN;

export class TcpEnd implements TcpByteEnd, PolledSocket {
  readonly #fd: number;
  readonly #origin: ErrorOrigin;
  readonly #clock: Clock;
  readonly #uncount: () => void;
  readonly #onGone: (() => void)[] = [];
  #onConnect: ((error?: Error) => void) | undefined;
  #handler: ByteEndHandler | undefined;
  #flowing = false;
  /** The kernel may have something to read. */
  #readable = false;
  /** The end, an error or urgent data stand behind what can be read now: a read that is short says nothing, and no edge will come. */
  #readsUntilEmpty = false;
  /** The kernel has told of an error. */
  #suspect = false;
  #receivedEnd = false;
  /** To leave in the check phase of this turn, as they came. */
  #gathered: Uint8Array[] = [];
  #gatheredBytes = 0;
  /** What the kernel had no room for. */
  #backlog: Backlog | undefined;
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
  #cause: Error | undefined;
  /** Of one that nobody waits for. */
  #deadline: Timer | undefined;

  /**
   * The descriptor is owned from now on; when this throws a SystemError it is not. `onConnect`: its connection does not stand yet.
   * It is called once: with an error the descriptor is closed. Nothing but `reset` is allowed until then.
   */
  constructor(fd: number, origin: ErrorOrigin, clock: Clock, onConnect?: (error?: Error) => void) {
    this.#fd = fd;
    this.#origin = origin;
    this.#clock = clock;
    this.#onConnect = onConnect;
    tcpPoll().add(fd, this);
    this.#uncount = countDescriptor();
  }

  /** Undefined once it is gone. */
  get addresses(): { readonly local: SocketAddress; readonly peer: SocketAddress } | undefined {
    if (this.#gone) return undefined;
    try {
      const native = nativeSockets();
      const [local, peer] = [native.localAddress(this.#fd), native.peerAddress(this.#fd)];
      return { local: canonicalAddress(local), peer: canonicalAddress(peer) };
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
    return this.#gatheredBytes + (this.#backlog?.bytes ?? 0);
  }

  get gone(): boolean {
    return this.#gone;
  }

  onGone(listener: () => void): void {
    this.#onGone.push(listener);
  }

  start(handler: ByteEndHandler): void {
    if (this.#silent) return;
    this.#handler = handler;
    if (this.#gone) {
      setImmediate(() => this.#tellBroken());
      return;
    }
    this.#flowing = true;
    if (this.#readable) this.#waitForTurn();
  }

  write(chunk: Uint8Array, lent = false): boolean {
    if (this.#gone || this.#ending || this.#cause !== undefined || chunk.length === 0) return true;
    if (this.#mustWait) this.#keep(chunk);
    else if (!lent && (chunk.length >= gatheredBytes || this.#gathered.length > 0)) this.#gather(chunk);
    else this.#sendNow(chunk);
    if (this.heldBytes < highWaterMark) return true;
    this.#wantsDrain = true;
    return false;
  }

  end(finished?: () => void): void {
    if (this.#ending) return;
    this.#ending = true;
    this.#finished = finished;
    if (this.heldBytes === 0) this.#sendEnd();
  }

  pause(): void {
    // One that nobody waits for throws away what comes.
    if (!this.#silent) this.#flowing = false;
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

  /** As `reset`, by who owns the connection and not its bytes: the handler hears that it is broken. */
  cut(): void {
    this.#close(true);
    this.#tellBroken();
  }

  destroyWhenFinished(): void {
    if (this.#silent) return;
    this.#silent = true;
    this.#handler = undefined;
    this.#finished = undefined;
    if (this.#gone) return;
    this.resume();
    if (this.#sentEnd) this.#linger();
    else {
      this.#deadline = this.#clock.after(tailMs, () => this.#close(true));
      this.end();
    }
  }

  // As the poll sees it.

  ready(events: number): void {
    if (this.#onConnect !== undefined) this.#connected();
    // `proceed` is due.
    if (this.#gone || this.#cause !== undefined) return;
    if ((events & ~readiness.writable) !== 0) this.#arrived(events);
    if ((events & readiness.writable) !== 0 && this.#blocked && !this.#gone) {
      this.#blocked = false;
      this.#sendHeld();
    }
  }

  proceed(): void {
    this.#awaited = false;
    if (this.#gone) return;
    if (this.#cause !== undefined) {
      this.#fail();
      return;
    }
    if (this.heldBytes > 0 && !this.#blocked) this.#sendHeld();
    if (this.#flowing && this.#readable && !this.#gone) this.#read();
  }

  /** Or not: the first event decides. */
  #connected(): void {
    const tell = this.#onConnect;
    this.#onConnect = undefined;
    const code = nativeSockets().takeSocketError(this.#fd);
    if (code < 0) this.#close(false);
    tell?.(code < 0 ? systemError('connect', code) : undefined);
  }

  #arrived(events: number): void {
    const isError = (events & readiness.error) !== 0;
    if (isError) this.#suspect = true;
    if (this.#receivedEnd) {
      // The end is told as ready with every edge from now on. A reset after it is only seen by who asks.
      if (isError) this.#lookForError();
      return;
    }
    this.#readable = true;
    if ((events & ~(readiness.readable | readiness.writable)) !== 0) this.#readsUntilEmpty = true;
    if (this.#flowing) this.#read();
    else if (this.#handler === undefined && isError) this.#lookForError();
  }

  #read(): void {
    const native = nativeSockets();
    const poll = tcpPoll();
    for (let left = readsPerTurn; this.#flowing && this.#readable && !this.#gone; left--) {
      if (left === 0 || !poll.mayRead()) {
        this.#waitForTurn();
        return;
      }
      const count = native.receiveBytes(this.#fd, readBuffer);
      if (count > 0) {
        // Less than there was room for is all there was.
        if (count < readBuffer.length && !this.#readsUntilEmpty) this.#readable = false;
        this.#handler?.data(readBuffer.subarray(0, count), true);
        // Who is handed it may have written, in vain.
        if (this.#cause !== undefined) return;
      } else {
        this.#readable = false;
        if (count === 0) this.#receiveEnd();
        else if (count !== nothingNow) this.#failed(systemError('read', count));
      }
    }
  }

  #receiveEnd(): void {
    this.#receivedEnd = true;
    this.#handler?.end();
    this.#settle();
    if (this.#suspect && !this.#gone && this.#cause === undefined) this.#lookForError();
  }

  /** Reading does not tell it, or nobody reads. */
  #lookForError(): void {
    const code = nativeSockets().takeSocketError(this.#fd);
    if (code < 0) this.#failed(systemError('read', code));
  }

  #gather(chunk: Uint8Array): void {
    this.#gathered.push(chunk);
    this.#gatheredBytes += chunk.length;
    this.#waitForTurn();
  }

  #sendNow(chunk: Uint8Array): void {
    if (this.#gathered.length > 0) this.#sendGathered();
    const sent = this.#mustWait ? 0 : this.#left(nativeSockets().sendBytes(this.#fd, chunk));
    if (sent < chunk.length) this.#keep(sent === 0 ? chunk : chunk.subarray(sent));
  }

  /** What does not leave is kept. */
  #sendGathered(): void {
    const native = nativeSockets();
    const gathered = this.#gathered;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    for (let from = 0; from < gathered.length; from += mostChunks) {
      const some = gathered.length <= mostChunks ? gathered : gathered.slice(from, from + mostChunks);
      let sent = this.#mustWait ? 0 : this.#left(native.sendChunks(this.#fd, some));
      for (const chunk of some) {
        if (sent < chunk.length) this.#keep(sent === 0 ? chunk : chunk.subarray(sent));
        sent = Math.max(0, sent - chunk.length);
      }
    }
  }

  #sendBacklog(): void {
    const native = nativeSockets();
    for (let first = this.#backlog?.first(); first !== undefined && !this.#isBlocked; first = this.#backlog?.first()) {
      this.#backlog?.consume(this.#left(native.sendBytes(this.#fd, first)));
    }
  }

  get #isBlocked(): boolean {
    return this.#blocked || this.#cause !== undefined;
  }

  /** Something stands before what is to be sent. */
  get #mustWait(): boolean {
    return this.#isBlocked || (this.#backlog?.bytes ?? 0) > 0;
  }

  /** What a send says: how much has left. Less than it was given: the kernel has no more room, or the connection is broken. */
  #left(result: number): number {
    if (result >= 0) return result;
    if (result === nothingNow) this.#blocked = true;
    else this.#failedLater(systemError('write', result));
    return 0;
  }

  /** The kernel has no room for it, or did not take all: another try tells, whose refusal is followed by an edge. */
  #keep(chunk: Uint8Array): void {
    this.#backlog ??= new Backlog();
    this.#backlog.add(chunk);
    if (!this.#isBlocked) this.#waitForTurn();
  }

  #sendHeld(): void {
    this.#sendBacklog();
    if (this.#gathered.length > 0) this.#sendGathered();
    if (this.heldBytes > 0) return;
    this.#backlog = undefined;
    if (this.#ending && !this.#sentEnd) this.#sendEnd();
    if (!this.#wantsDrain || this.#gone) return;
    this.#wantsDrain = false;
    this.#handler?.drain();
  }

  #sendEnd(): void {
    if (this.#gone || this.#cause !== undefined) return;
    const native = nativeSockets();
    const code = native.shutdownSending(this.#fd);
    if (code < 0) {
      // ENOTCONN: why, the socket knows.
      this.#failedLater(systemError('shutdown', native.takeSocketError(this.#fd) || code));
      return;
    }
    this.#sentEnd = true;
    if (this.#silent) this.#linger();
    const finished = this.#finished;
    this.#finished = undefined;
    finished?.();
    this.#settle();
  }

  /** Both directions have finished. */
  #settle(): void {
    if (this.#gone || !this.#sentEnd || !this.#receivedEnd) return;
    this.#close(false);
    const handler = this.#handler;
    this.#handler = undefined;
    handler?.closed();
  }

  /** Until the peer finishes, or has had time enough. What has not left the kernel by then goes on leaving. */
  #linger(): void {
    this.#deadline?.cancel();
    this.#deadline = this.#clock.after(lingerMs, () => {
      const native = nativeSockets();
      for (let left = readsBeforeClose; left > 0 && native.receiveBytes(this.#fd, readBuffer) > 0; left--);
      this.#close(false);
    });
  }

  /** Not in the call that found it: whoever writes is not told in the midst of that. */
  #failedLater(cause: Error): void {
    this.#cause = cause;
    this.#waitForTurn();
  }

  #failed(cause: Error): void {
    this.#cause = cause;
    this.#fail();
  }

  /** By reset: of a connection that stands, and failed here, nothing must look whole. */
  #fail(): void {
    this.#close(true);
    this.#tellBroken();
  }

  #tellBroken(): void {
    const handler = this.#handler;
    this.#handler = undefined;
    const origin = this.#origin;
    handler?.broken(
      new AmbitError('the connection was reset', { code: 'NET_RESET', origin, cause: this.#cause }),
      this.#receivedEnd,
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
    this.#deadline?.cancel();
    tcpPoll().remove(this.#fd);
    if (byReset) nativeSockets().resetConnection(this.#fd);
    else nativeSockets().closeFd(this.#fd);
    this.#gathered = [];
    this.#gatheredBytes = 0;
    this.#backlog?.drop();
    this.#backlog = undefined;
    this.#uncount();
    for (const listener of this.#onGone) listener();
  }
}

/** In Node's words. */
function systemError(syscall: string, code: number): Error {
  const name = getSystemErrorName(code);
  return Object.assign(new Error(`${syscall} ${name}`), { code: name, errno: code, syscall });
}
