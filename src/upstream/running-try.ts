/** One request on undici's hands: its events as those of a try, each at the right time and the last one once. */
import type { ClientHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import { errorText } from '../base/errors.ts';
import { type HeaderList, noHeaders } from '../http/header-list.ts';
import { http2Bytes } from '../http/http2-bytes.ts';
import type { TryResult } from '../route/retry.ts';
import { errors } from './undici.ts';
import { headerTexts, RawHead } from './undici-heads.ts';

/** What becomes of one try. Exactly one of `end`, `failed` and `upgraded` comes, as the last call. */
export interface TryHandler {
  inform(status: number, headers: HeaderList): void;
  head(status: number, headers: HeaderList): void;
  /** False pauses until `resume`. */
  data(chunk: Buffer): boolean;
  end(trailers: HeaderList): void;
  /** The stream is the handler's. */
  upgraded(headers: HeaderList, stream: Duplex): void;
  failed(result: TryFailure, error: Error): void;
}

export type TryFailure = Extract<TryResult, { kind: 'connect-failure' | 'refused-stream' | 'reset' | 'overflow' }>;

export interface RunningTry {
  /** Nothing more is told to the handler. */
  abort(reason: string): void;
  resume(): void;
}

/** Marks errors that mean: no connection, nothing was sent. */
export class NotConnected extends Error {}
/** No room, and nothing was sent. */
export class Overflow extends Error {}

/** What has been sent on a connection since it stands. */
export interface ServedConnection {
  requests: number;
}

export class Try implements RunningTry {
  /** Let go when it is over: undici's request, and with it this, is kept for longer (docs/performance.md). */
  #handler: TryHandler;
  #release: () => void;
  /** The connection it goes out on, as far as undici has told. */
  onConnection: ServedConnection | undefined;
  /** It went out on a connection that had stood before. */
  #reused = false;
  #heard = false;
  /** It is on a connection, or will never be. Called at most once. */
  onUnderWay: () => void = ignore;
  #controller: Dispatcher.DispatchController | undefined;
  #aborted: string | undefined;
  #refusal: Duplex | undefined;
  #over = false;

  constructor(handler: TryHandler, release: () => void) {
    this.#handler = handler;
    this.#release = release;
  }

  get started(): boolean {
    return this.#controller !== undefined;
  }

  get over(): boolean {
    return this.#over;
  }

  abort(reason: string): void {
    if (this.#over) return;
    this.#aborted = reason;
    // undici tells the abort as an error, at once: by then this try must be over.
    this.#finish();
    this.#refusal?.destroy();
    this.#controller?.abort(new Error(reason));
  }

  resume(): void {
    this.#refusal?.resume();
    this.#controller?.resume();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    const { onConnection } = this;
    if (onConnection !== undefined) this.#reused = onConnection.requests++ > 0;
    this.#underWay();
    if (this.#aborted !== undefined) controller.abort(new Error(this.#aborted));
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
    if (this.#over) return;
    this.#heard = true;
    const headers = rawList(controller.rawHeaders);
    if (status >= 200) this.#handler.head(status, headers);
    else if (status > 101) this.#handler.inform(status, headers);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (!this.#over && !this.#handler.data(chunk)) controller.pause();
  }

  onResponseEnd(controller: Dispatcher.DispatchController): void {
    if (!this.#over) this.#finish().end(rawList(controller.rawTrailers));
  }

  onRequestUpgrade(controller: Dispatcher.DispatchController, status: number, _headers: unknown, stream: Duplex): void {
    stream.on('error', ignore);
    if (this.#over) {
      stream.destroy();
      return;
    }
    const headers = rawList(controller.rawHeaders);
    if (status === 101) {
      this.#finish().upgraded(headers, stream);
      return;
    }
    // HTTP/2: undici hands over whatever answered the CONNECT.
    const bytes = http2Bytes(stream as ClientHttp2Stream);
    if (status === 200) this.#finish().upgraded(headers, bytes);
    else this.#refused(status, headers, bytes);
  }

  /** The answer to an upgrade that was refused is one like any other. */
  #refused(status: number, headers: HeaderList, bytes: Duplex): void {
    this.#refusal = bytes;
    bytes.end();
    this.#handler.head(status, headers);
    bytes.on('data', (chunk: Buffer) => {
      if (!this.#over && !this.#handler.data(chunk)) bytes.pause();
    });
    bytes.once('end', () => {
      if (!this.#over) this.#finish().end(noHeaders);
    });
    bytes.once('error', (error) => this.onResponseError(undefined, error));
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    if (this.#over) return;
    const handler = this.#finish();
    const kind = failureKind(error);
    const stale = kind === 'reset' && this.#reused && !this.#heard && !wasMalformed(error);
    handler.failed(stale ? { kind, stale } : { kind }, error);
  }

  /** Once. Returns who is to hear of it. */
  #finish(): TryHandler {
    const handler = this.#handler;
    const release = this.#release;
    this.#handler = nobody;
    this.#release = ignore;
    this.#over = true;
    this.#underWay();
    release();
    return handler;
  }

  #underWay(): void {
    const tell = this.onUnderWay;
    this.onUnderWay = ignore;
    tell();
  }
}

function failureKind(error: Error): TryFailure['kind'] {
  if (error instanceof Overflow) return 'overflow';
  if (error instanceof NotConnected) return 'connect-failure';
  return /REFUSED_STREAM/.test(errorText(error)) ? 'refused-stream' : 'reset';
}

/** An answer did come, and it was none: whoever sent it has read the request. */
function wasMalformed(error: Error): boolean {
  if (error instanceof errors.SocketError) return error.message === 'bad upgrade';
  return malformed.some((kind) => error instanceof kind);
}

const malformed = [errors.HTTPParserError, errors.HeadersOverflowError, errors.ResponseContentLengthMismatchError];

/** Of HTTP/1.1 a response's head as it was kept, buffers of its trailers; of HTTP/2 an object with lower-case names. */
function rawList(raw: Dispatcher.DispatchController['rawHeaders'] | RawHead): HeaderList {
  if (raw === undefined || raw === null) return noHeaders;
  if (raw instanceof RawHead) return raw.list();
  if (Array.isArray(raw)) return raw.length === 0 ? noHeaders : headerTexts(raw as Buffer[]);
  const list: string[] = [];
  for (const [name, value] of Object.entries(raw)) {
    if (name.startsWith(':') || value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) list.push(name, one);
  }
  return list;
}

function ignore(): void {}

const nobody: TryHandler = {
  inform: ignore,
  head: ignore,
  data: () => true,
  end: ignore,
  upgraded: ignore,
  failed: ignore,
};
