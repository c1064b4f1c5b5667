/**
 * A CONNECT stream as a ByteEnd: a plain object, no Duplex. Both ends of a tunnel use it.
 *
 * I1: 'end' is told only for END_STREAM, one turn after it came: peers that cut a body by END_STREAM and RST_STREAM in one write
 *     are heard out first. What a peer sent before it stopped listening (NO_ERROR, RFC 9113 §8.1) is handed on whole.
 * I2: the peer's window opens by what was handed on, never by what is kept.
 * I3: `onOver` and one of a waiter's calls come exactly once.
 */
import { AmbitError, type ErrorOrigin } from '../../base/errors.ts';
import { Backlog } from '../../net/backlog.ts';
import type { ByteEndHandler } from '../../net/byte-end.ts';
import type { TunnelHeaders } from '../seam.ts';
import { errorCode } from './codes.ts';
import type { AnswerWaiter, ClientStream, ServedStream, StreamEnd } from './engine.ts';

/** What a stream asks of its session. */
export interface StreamHost {
  /** Sends what windows allow of `chunk` from `from` on; returns how much. */
  sendData(stream: FramedStream, chunk: Uint8Array, from: number): number;
  sendEnd(stream: FramedStream): void;
  sendReset(stream: FramedStream, code: number): void;
  sendAnswer(stream: FramedStream, status: number, headers: TunnelHeaders, isEnd: boolean): void;
  /** So much was handed on: the windows may open again. */
  taken(stream: FramedStream, bytes: number): void;
  /** So many bytes more, or less, are kept for who does not take them. */
  keeps(bytes: number): void;
  /** Writers should wait. */
  readonly full: boolean;
  /** Calls `proceed` when there may be room. */
  waitForRoom(stream: FramedStream): void;
  /** It is over: its number means nothing any more. */
  forget(stream: FramedStream): void;
}

export class FramedStream implements StreamEnd {
  readonly id: number;
  /** Bytes the peer takes, and those it may still send. */
  sendWindow: number;
  receiveWindow: number;
  /** Handed on, and not yet told to the peer. */
  creditBytes = 0;
  failure: AmbitError | undefined;
  readonly #host: StreamHost;
  readonly #origin: ErrorOrigin;
  #handler: ByteEndHandler | undefined;
  #waiter: AnswerWaiter | undefined;
  #onOver: (() => void) | undefined;
  #kept: Backlog | undefined;
  #flowing = false;
  /** To be sent, once windows allow it. */
  #queue: Backlog | undefined;
  #wantsDrain = false;
  #finished: (() => void) | undefined;
  #isEnding = false;
  #sentEnd = false;
  #receivedEnd = false;
  #toldEnd = false;
  #answered = false;
  /** The peer wants nothing more of us. */
  #stopped = false;
  /** What comes is thrown away; what was written still leaves. */
  #deaf = false;
  /** Nobody is told anything any more. */
  #over = false;
  /** To be told to whoever starts it. */
  #broken: AmbitError | undefined;
  /** All of it has come, and is handed on before `#broken` is told. */
  #brokenWhole = false;

  constructor(
    host: StreamHost,
    id: number,
    windows: { readonly send: number; readonly receive: number },
    origin: ErrorOrigin,
  ) {
    this.#host = host;
    this.id = id;
    this.sendWindow = windows.send;
    this.receiveWindow = windows.receive;
    this.#origin = origin;
  }

  // As its owner sees it.

  get heldBytes(): number {
    return (this.#kept?.bytes ?? 0) + (this.#queue?.bytes ?? 0);
  }

  get receivedEnd(): boolean {
    return this.#receivedEnd;
  }

  /** A final answer has come (client) or was sent (server). */
  get answered(): boolean {
    return this.#answered;
  }

  start(handler: ByteEndHandler): void {
    this.#handler = handler;
    if (this.#broken !== undefined && !this.#brokenWhole) {
      setImmediate(tellBroken, this);
      return;
    }
    this.#flowing = true;
    this.#handOn();
  }

  /** What does not leave at once is copied. */
  write(chunk: Uint8Array): boolean {
    if (this.#over || this.#isEnding || this.#stopped || chunk.length === 0) return true;
    if (this.#queue !== undefined) {
      this.#queue.add(chunk);
    } else {
      const sent = this.#send(chunk);
      if (sent === chunk.length) {
        if (!this.#host.full) return true;
      } else {
        this.#queue = new Backlog();
        this.#queue.add(sent === 0 ? chunk : chunk.subarray(sent));
      }
    }
    this.#wantsDrain = true;
    // Else the peer's WINDOW_UPDATE is waited for.
    if (this.#queue === undefined || this.sendWindow > 0) this.#host.waitForRoom(this);
    return false;
  }

  end(finished?: () => void): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#finished = finished;
    if (this.#queue === undefined) this.#sendEnd();
  }

  pause(): void {
    this.#flowing = false;
  }

  resume(): void {
    if (this.#flowing) return;
    this.#flowing = true;
    this.#handOn();
  }

  /** RST_STREAM(CONNECT_ERROR): the TCP connection on the other side was reset (§8.5). */
  reset(): void {
    this.#cut(errorCode.connectError);
  }

  cancel(): void {
    if (!this.#sentEnd) this.#cut(errorCode.cancel);
    else if (!this.#receivedEnd) this.#cut(errorCode.noError);
    else this.#leave();
  }

  destroyWhenFinished(): void {
    this.#handler = undefined;
    this.#deaf = true;
    this.#dropKept();
    const cancel = () => this.cancel();
    if (this.#sentEnd || this.#stopped) cancel();
    else if (this.#isEnding) this.#finished = cancel;
    else this.end(cancel);
  }

  wait(waiter: AnswerWaiter): void {
    this.#waiter = waiter;
  }

  stopWaiting(): void {
    this.#waiter = undefined;
  }

  onOver(call: () => void): void {
    this.#onOver = call;
  }

  respond(status: number, headers: TunnelHeaders, final: boolean): boolean {
    if (this.#over || this.#answered || this.#stopped || this.#broken !== undefined) return false;
    this.#answered = true;
    this.#host.sendAnswer(this, status, headers, final);
    if (!final) return true;
    this.#isEnding = true;
    this.#sentEnd = true;
    // The client need not go on sending what nobody reads (§8.1).
    this.cancel();
    return true;
  }

  // As its session sees it.

  /** The final answer of a request of ours. */
  answer(status: number, headers: TunnelHeaders): void {
    this.#answered = true;
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.answered(status, headers);
  }

  dataArrived(chunk: Uint8Array): void {
    if (this.#handler !== undefined && this.#flowing && this.#kept === undefined) {
      this.#deliver(this.#handler, chunk, false);
    } else if (this.#deaf && !this.#over) {
      this.#host.taken(this, chunk.length);
    } else if (!this.#over) {
      this.#kept ??= new Backlog();
      this.#kept.add(chunk);
      this.#host.keeps(chunk.length);
    }
  }

  endArrived(): void {
    this.#receivedEnd = true;
    if (this.#kept === undefined) setImmediate(tellEnd, this);
  }

  resetArrived(code: number): void {
    this.#stopped = true;
    this.#dropQueue();
    this.#tellOver();
    // Before its answer nobody wants what a client sent and gave up.
    const isWanted = this.#answered && !this.#deaf;
    if (code === errorCode.noError && this.#receivedEnd && isWanted) {
      this.#stopsWhole(this.#resetError(code));
      return;
    }
    this.#host.forget(this);
    this.#dropKept();
    this.#break(this.#resetError(code), false, code, code !== errorCode.refusedStream);
  }

  /** GOAWAY says that the peer did not look at it. */
  unprocessed(): void {
    this.resetArrived(errorCode.refusedStream);
  }

  /** The session is gone. `error`: why, when it was ended from here. */
  sessionEnded(error: AmbitError | undefined): void {
    // All of it is here, and is still handed on; unless it is ended from here.
    if (this.#brokenWhole && error === undefined) return;
    this.#stopped = true;
    this.failure = error;
    this.#dropQueue();
    this.#tellOver();
    const isWhole = this.#receivedEnd && this.#kept === undefined && error === undefined;
    if (isWhole) this.endBelieved();
    else this.#dropKept();
    if (isWhole && this.#sentEnd) this.#leave((handler) => handler.closed());
    else this.#break(error ?? this.#resetError(errorCode.cancel), isWhole, undefined, true);
  }

  /** There may be room. */
  proceed(): void {
    if (this.#over) return;
    for (let queue = this.#queue; queue !== undefined; queue = this.#queue) {
      const chunk = queue.first() as Uint8Array;
      const sent = this.#send(chunk);
      queue.consume(sent);
      if (sent < chunk.length) {
        if (this.sendWindow > 0) this.#host.waitForRoom(this);
        return;
      }
      if (queue.bytes === 0) this.#queue = undefined;
    }
    if (this.#isEnding) this.#sendEnd();
    if (this.#over || !this.#wantsDrain) return;
    if (this.#host.full) {
      this.#host.waitForRoom(this);
      return;
    }
    this.#wantsDrain = false;
    this.#handler?.drain();
  }

  /** One turn after END_STREAM, or when what was kept before it has been handed on. */
  endBelieved(): void {
    if (this.#toldEnd || this.#over || this.#handler === undefined || this.#kept !== undefined) return;
    this.#toldEnd = true;
    this.#handler.end();
    this.#settle();
  }

  brokenBelieved(): void {
    if (this.#broken !== undefined) this.#tellBroken(this.#broken, false);
  }

  /** Who is handed a chunk may cut the stream. */
  #deliver(handler: ByteEndHandler, chunk: Uint8Array, lent: boolean): void {
    handler.data(chunk, lent);
    if (!this.#over) this.#host.taken(this, chunk.length);
  }

  #send(chunk: Uint8Array): number {
    let from = 0;
    while (from < chunk.length) {
      const sent = this.#host.sendData(this, chunk, from);
      if (sent === 0) break;
      from += sent;
    }
    return from;
  }

  #sendEnd(): void {
    if (this.#sentEnd || this.#stopped || this.#over) return;
    this.#sentEnd = true;
    this.#host.sendEnd(this);
    const finished = this.#finished;
    this.#finished = undefined;
    finished?.();
    this.#settle();
  }

  #handOn(): void {
    while (this.#kept !== undefined && this.#flowing && this.#handler !== undefined) {
      const handler = this.#handler;
      const isSome = this.#kept.give((chunk) => {
        this.#host.keeps(-chunk.length);
        this.#deliver(handler, chunk, true);
      });
      if (!isSome) this.#kept = undefined;
    }
    if (this.#kept !== undefined || this.#over || this.#handler === undefined) return;
    if (this.#brokenWhole) this.#tellStopped();
    else if (this.#receivedEnd && !this.#toldEnd) setImmediate(tellEnd, this);
  }

  /** The peer had finished, and stopped listening. */
  #tellStopped(): void {
    if (this.#handler === undefined || this.#broken === undefined) return;
    this.endBelieved();
    if (this.#over) return;
    if (this.#sentEnd) this.#leave((handler) => handler.closed());
    else this.#tellBroken(this.#broken, true);
  }

  /**
   * The peer had finished, and stops listening. A stream with a reader counts in its session until all was read: else a peer
   * that resets what it has sent would hold any number of readers, each with a connection behind it.
   */
  #stopsWhole(error: AmbitError): void {
    this.#broken = error;
    this.#brokenWhole = true;
    if (this.#handler === undefined) this.#host.forget(this);
    if (this.#kept === undefined) this.#tellStopped();
    else if (this.#wantsDrain) {
      // What is written is thrown away from now on. Those who read only when they have written come to the end.
      this.#wantsDrain = false;
      this.#handler?.drain();
    }
  }

  /** Both directions are done: nothing more can come. */
  #settle(): void {
    if (!this.#sentEnd || !this.#toldEnd) return;
    this.#leave((handler) => handler.closed());
  }

  #break(error: AmbitError, isWhole: boolean, code: number | undefined, processed: boolean): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (waiter !== undefined) {
      this.#leave();
      waiter.gone(code, processed);
    } else if (this.#handler === undefined && !this.#deaf) this.#broken = error;
    else this.#tellBroken(error, isWhole);
  }

  #tellBroken(error: AmbitError, isWhole: boolean): void {
    this.#leave((handler) => handler.broken(error, isWhole));
  }

  #cut(code: number): void {
    if (this.#over) return;
    this.#dropQueue();
    this.#dropKept();
    if (!this.#stopped) this.#host.sendReset(this, code);
    this.#stopped = true;
    this.#leave();
  }

  /** Everybody has been told, or is told now. */
  #leave(tell?: (handler: ByteEndHandler) => void): void {
    if (this.#over) return;
    this.#over = true;
    const handler = this.#handler;
    this.#handler = undefined;
    this.#waiter = undefined;
    this.#host.forget(this);
    this.#tellOver();
    if (handler !== undefined) tell?.(handler);
  }

  #tellOver(): void {
    const call = this.#onOver;
    this.#onOver = undefined;
    call?.();
  }

  #dropKept(): void {
    if (this.#kept === undefined) return;
    this.#host.keeps(-this.#kept.bytes);
    this.#kept.drop();
    this.#kept = undefined;
  }

  #dropQueue(): void {
    this.#queue?.drop();
    this.#queue = undefined;
  }

  #resetError(code: number): AmbitError {
    return new AmbitError(`the tunnel stream was reset (HTTP/2 code ${code})`, {
      code: 'HBONE_STREAM_RESET',
      origin: this.#origin,
    });
  }
}

function tellEnd(stream: FramedStream): void {
  stream.endBelieved();
}

function tellBroken(stream: FramedStream): void {
  stream.brokenBelieved();
}

/** A request and its stream. */
export class FramedRequest implements ClientStream, ServedStream {
  readonly end: FramedStream;
  readonly headers: readonly string[];

  constructor(end: FramedStream, headers: readonly string[]) {
    this.end = end;
    this.headers = headers;
  }

  wait(waiter: AnswerWaiter): void {
    this.end.wait(waiter);
  }

  stopWaiting(): void {
    this.end.stopWaiting();
  }

  onOver(call: () => void): void {
    this.end.onOver(call);
  }

  respond(status: number, headers: TunnelHeaders, final: boolean): boolean {
    return this.end.respond(status, headers, final);
  }
}
