/**
 * An HTTP/2 session of CONNECT streams over a connection that TLS has authenticated (RFC 9113), as a client or as a server. What a
 * stream is stands in `stream.ts`, what the peer's SETTINGS say in `peer-settings.ts`.
 *
 * I1: what a peer does against the protocol ends its session with GOAWAY and a code, or its stream with RST_STREAM, as the RFC has
 *     it; nothing it sends throws past `#read`.
 * I2: streams, resets, header lists, control frames and what waits to be sent are bounded; memory per session by the windows of its streams.
 * I3: `closed` is called once, as the last; every stream has heard of its end by then.
 */
import { randomBytes } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Clock, Timer } from '../../base/clock.ts';
import { AmbitError } from '../../base/errors.ts';
import { TokenBucket } from '../../base/token-bucket.ts';
import { DirectReads } from '../../net/direct-reads.ts';
import { ownCopy } from '../../net/plain-socket.ts';
import { pairsOf } from '../header-pairs.ts';
import type { RelayOptions } from '../options.ts';
import type { TunnelHeaders } from '../seam.ts';
import { malformedRequest, malformedResponse, malformedTrailers } from './check-fields.ts';
import {
  ConnectionError,
  connectionPreface,
  errorCode,
  firstWindowBytes,
  flag,
  frameType,
  largestWindow,
  setting,
} from './codes.ts';
import {
  type ClientStream,
  lingerMs,
  type ServedSessionEvents,
  type ServedSessionOptions,
  type Session,
} from './engine.ts';
import { FrameReader, type FrameSink } from './frame-reader.ts';
import { FrameWriter } from './frame-writer.ts';
import { type HeaderBlock, HeaderBlocks } from './header-blocks.ts';
import { encodeFields } from './hpack-encoder.ts';
import { PeerSettings, settingsPayload } from './peer-settings.ts';
import { FramedRequest, FramedStream, type StreamHost } from './stream.ts';
import { StreamTable } from './stream-table.ts';

export interface ClientSessionEvents {
  /** The peer's first SETTINGS are in force. */
  ready(): void;
  /** GOAWAY came: no new streams. */
  goingAway(): void;
  /** A stream of ours has ended, or the peer allows more now: there may be room. */
  room(): void;
  /** Why it ends, when it was not in peace. */
  failed(error: unknown): void;
  /** Once, as the last. */
  closed(): void;
}

export interface ClientSession extends Session {
  /** Live ones. */
  readonly streams: number;
  /** What the peer allows; 0 until its SETTINGS have come. */
  readonly maxStreams: number;
  /** False after GOAWAY, `retire`, `destroy`, or when the numbers of streams are used up. */
  readonly open: boolean;
  /** Sends the header block. Throws TypeError for a name or value that cannot be sent. Only while `open`. */
  request(headers: readonly string[]): ClientStream;
}

/** Owns the socket. Sends preface and SETTINGS at once. */
export function openClientSession(
  socket: TLSSocket,
  options: { readonly relay: RelayOptions; readonly clock: Clock },
  events: ClientSessionEvents,
): ClientSession {
  return new FramedSession(socket, 'client', { ...options, maxStreams: 0 }, events);
}

/** Owns the socket. */
export function serveSession(socket: TLSSocket, options: ServedSessionOptions, events: ServedSessionEvents): Session {
  return new FramedSession(socket, 'server', options, events);
}

type Events = Pick<ClientSessionEvents, 'failed' | 'closed'> & Partial<ClientSessionEvents & ServedSessionEvents>;

/** Frames that do nothing, or have nothing to do with a stream: at once, and per second after that. */
const idleFrameBurst = 10_000;
const idleFrameRate = 1000;
/**
 * A window of a stream toward a peer near by. What is kept of one that is not read at once is not for V8 to take for old: with
 * 4 MiB bulk transfer takes a third more CPU, most of it for whole collections.
 */
const nearWindowBytes = 1024 * 1024;
/** From SETTINGS to their acknowledgement: a peer that takes longer needs the whole window to be fast. */
const farMs = 20;
const mostPings = 10;
/** What is not DATA and waits to be sent to a peer that does not read. */
const mostControlBytes = 256 * 1024;
const mostRemembered = 1024;
const lastStreamId = largestWindow;

class FramedSession implements ClientSession, StreamHost, FrameSink {
  readonly #socket: TLSSocket;
  readonly #isClient: boolean;
  readonly #relay: RelayOptions;
  readonly #clock: Clock;
  readonly #events: Events;
  readonly #maxServed: number;
  readonly #writer: FrameWriter;
  readonly #reader: FrameReader;
  readonly #blocks: HeaderBlocks;
  readonly #peer = new PeerSettings();
  readonly #resets: TokenBucket;
  readonly #idleFrames: TokenBucket;
  readonly #streams = new StreamTable();
  /** For room, in the order in which they are told of it. */
  readonly #waiting = new Set<FramedStream>();
  readonly #pings: { readonly payload: Buffer; readonly answered: () => void }[] = [];
  /** The last ones we have reset: the peer may not know yet. */
  readonly #resetHere = new Set<number>();
  /** Of ours as a client, of the peer's as a server. */
  #nextId = 1;
  #lastServedId = 0;
  #sendWindow = firstWindowBytes;
  #receiveWindow: number;
  /** Of each stream, as the peer was told. */
  #streamWindowBytes: number;
  /** When our SETTINGS were sent, until they are acknowledged. */
  #greetedMs: number | undefined;
  #creditBytes = 0;
  /** Of all streams, come and not taken. */
  #keptBytes = 0;
  /** Whose windows the peer made wider in what is being read: one frame for many updates. */
  readonly #widened = new Set<FramedStream>();
  #isWider = false;
  /** The peer's SETTINGS have come. */
  #greeted = false;
  #retired = false;
  #goingAway = false;
  #sentGoAway = false;
  /** Nothing is read or opened any more. */
  #ended = false;
  #linger: Timer | undefined;
  /** The DATA frame under way. */
  #dataStream: FramedStream | undefined;
  #dataLeft = 0;
  #dataIsLast = false;

  constructor(socket: TLSSocket, role: 'client' | 'server', options: ServedSessionOptions, events: Events) {
    const { relay, clock, maxStreams } = options;
    this.#socket = socket;
    this.#isClient = role === 'client';
    this.#relay = relay;
    this.#clock = clock;
    this.#events = events;
    this.#maxServed = maxStreams;
    this.#resets = new TokenBucket(relay.streamResetRate, relay.streamResetBurst, clock.nowMs());
    this.#idleFrames = new TokenBucket(idleFrameRate, idleFrameBurst, clock.nowMs());
    this.#streamWindowBytes = Math.min(nearWindowBytes, relay.streamWindowBytes);
    this.#greetedMs = clock.nowMs();
    this.#receiveWindow = Math.max(firstWindowBytes, relay.connectionWindowBytes);
    const maxListBytes = this.#isClient ? relay.clientHeaderListBytes : relay.serverHeaderListBytes;
    this.#blocks = new HeaderBlocks(maxListBytes);
    this.#reader = new FrameReader(this, {
      maxFrameBytes: relay.maxFrameBytes,
      maxBlockBytes: HeaderBlocks.maxBytes(maxListBytes),
      expectPreface: !this.#isClient,
    });
    this.#writer = new FrameWriter(socket, () => this.#hasRoom());
    this.#listen();
    this.#greet(maxListBytes);
    // What was read before comes a turn later at the earliest: whoever owns the session knows it by then.
    void new DirectReads(socket, (chunk, lent) => this.#read(lent ? ownCopy(chunk) : (chunk as Buffer)));
  }

  get streams(): number {
    return this.#streams.size;
  }

  get maxStreams(): number {
    return this.#greeted ? this.#peer.maxStreams : 0;
  }

  get open(): boolean {
    return !this.#ended && !this.#retired && !this.#goingAway && this.#nextId <= lastStreamId;
  }

  get destroyed(): boolean {
    return this.#ended;
  }

  request(headers: readonly string[]): ClientStream {
    const block = encodeFields(headers);
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = this.#newStream(id);
    this.#writer.headers(id, this.#peer.withTableUpdate(block), false, this.#peer.maxFrameBytes);
    return new FramedRequest(stream, []);
  }

  retire(): void {
    if (this.#retired || this.#ended) return;
    this.#retired = true;
    if (!this.#isClient) this.#sendGoAway(errorCode.noError);
    this.#finishWhenIdle();
  }

  destroy(error?: Error): void {
    this.#ended = true;
    this.#endStreams(error instanceof AmbitError ? error : undefined);
    this.#writer.stop();
    this.#socket.destroy();
  }

  ping(answered: () => void): boolean {
    if (this.#ended || this.#pings.length >= mostPings) return false;
    // Only who reads it can answer it.
    const payload = randomBytes(8);
    this.#pings.push({ payload, answered });
    this.#writer.frame(frameType.ping, 0, 0, payload);
    return true;
  }

  // What streams ask for.

  get full(): boolean {
    return this.#writer.full;
  }

  sendData(stream: FramedStream, chunk: Uint8Array, from: number): number {
    const bytes = Math.min(chunk.length - from, stream.sendWindow, this.#sendWindow, this.#peer.maxFrameBytes);
    if (bytes <= 0) return 0;
    stream.sendWindow -= bytes;
    this.#sendWindow -= bytes;
    this.#writer.data(stream.id, chunk, from, from + bytes);
    return bytes;
  }

  sendEnd(stream: FramedStream): void {
    this.#writer.frame(frameType.data, flag.endStream, stream.id);
  }

  sendReset(stream: FramedStream, code: number): void {
    this.#sendReset(stream.id, code);
  }

  sendAnswer(stream: FramedStream, status: number, headers: TunnelHeaders, isEnd: boolean): void {
    const block = encodeFields([':status', String(status), ...headers.flat()]);
    this.#writer.headers(stream.id, this.#peer.withTableUpdate(block), isEnd, this.#peer.maxFrameBytes);
  }

  taken(stream: FramedStream, bytes: number): void {
    stream.creditBytes += bytes;
    if (stream.creditBytes < this.#streamWindowBytes / 2 || stream.receivedEnd) return;
    stream.receiveWindow += stream.creditBytes;
    this.#sendWindowUpdate(stream.id, stream.creditBytes);
    stream.creditBytes = 0;
  }

  keeps(bytes: number): void {
    this.#keptBytes += bytes;
    if (bytes < 0 && !this.#ended) this.#giveCredit();
  }

  waitForRoom(stream: FramedStream): void {
    if (!this.#ended) this.#waiting.add(stream);
  }

  forget(stream: FramedStream): void {
    this.#waiting.delete(stream);
    if (!this.#streams.delete(stream.id)) return;
    this.#events.room?.();
    this.#finishWhenIdle();
  }

  // What the peer sends.

  dataBegins(id: number, length: number, flags: number): void {
    if (this.#ended) return;
    this.#checkOrder(frameType.data, flags, id);
    if (id === 0) throw protocolError('DATA of no stream');
    this.#receiveWindow -= length;
    if (this.#receiveWindow < 0)
      throw new ConnectionError(errorCode.flowControlError, 'more DATA than the window has room');
    this.#dataLeft = length;
    this.#dataIsLast = (flags & flag.endStream) !== 0;
    this.#dataStream = this.#streamOfData(id, length);
    if (length === 0 && !this.#dataIsLast) this.#countIdleFrame('empty DATA');
  }

  dataComes(bytes: Uint8Array): void {
    if (this.#ended) return;
    this.#dataLeft -= bytes.length;
    this.#dataCame(bytes.length);
    this.#dataStream?.dataArrived(bytes);
  }

  dataEnds(): void {
    if (this.#ended) return;
    // Who was handed its content may have cut it.
    const stream = this.#dataStream && this.#streams.get(this.#dataStream.id);
    this.#dataStream = undefined;
    // Padding counts as content does (§6.1).
    if (this.#dataLeft > 0) {
      this.#dataCame(this.#dataLeft);
      if (stream !== undefined) this.taken(stream, this.#dataLeft);
    }
    if (this.#dataIsLast) stream?.endArrived();
  }

  unknownFrame(): void {
    if (this.#ended) return;
    this.#checkOrder(Number.POSITIVE_INFINITY, 0, 0);
    this.#countIdleFrame('a frame of a type unknown');
  }

  frame(type: number, flags: number, id: number, payload: Buffer): void {
    if (this.#ended) return;
    this.#checkOrder(type, flags, id);
    const isOfSession = type === frameType.settings || type === frameType.ping || type === frameType.goAway;
    if (isOfSession && id !== 0) throw protocolError(`a frame of type ${type} with a stream`);
    if (!isOfSession && id === 0 && type !== frameType.windowUpdate)
      throw protocolError(`type ${type} without a stream`);
    switch (type) {
      case frameType.headers:
        this.#block(this.#blocks.headers(id, flags, payload));
        return;
      case frameType.continuation:
        this.#countIdleFrame('CONTINUATION');
        this.#block(this.#blocks.continuation(flags, payload));
        return;
      case frameType.priority:
        this.#countIdleFrame('PRIORITY');
        return;
      case frameType.resetStream:
        this.#resetCame(id, payload.readUInt32BE(0));
        return;
      case frameType.settings:
        this.#settingsCame(flags, payload);
        return;
      case frameType.ping:
        this.#pingCame(flags, payload);
        return;
      case frameType.goAway:
        this.#goAwayCame(payload);
        return;
      case frameType.windowUpdate:
        this.#windowCame(id, payload.readUInt32BE(0) & largestWindow);
        return;
    }
  }

  #listen(): void {
    const socket = this.#socket;
    socket.on('error', (error) => {
      if (!this.#ended) this.#events.failed(error);
      // TLS says what went wrong, and leaves the rest to others.
      this.destroy();
    });
    // A connection that ends in the middle of things is cut: nothing that was not ended by END_STREAM looks whole.
    socket.on('end', () => {
      this.#connectionEnds();
      // It may never take what waits to be sent.
      this.#endSocket();
    });
    socket.once('close', () => {
      this.#connectionEnds();
      this.#writer.stop();
      this.#linger?.cancel();
      this.#events.closed();
    });
  }

  #greet(maxListBytes: number): void {
    const relay = this.#relay;
    if (this.#isClient) this.#socket.write(connectionPreface);
    this.#writer.frame(
      frameType.settings,
      0,
      0,
      settingsPayload([
        this.#isClient ? [setting.enablePush, 0] : [setting.maxConcurrentStreams, this.#maxServed],
        [setting.initialWindowSize, this.#streamWindowBytes],
        [setting.maxFrameSize, relay.maxFrameBytes],
        [setting.maxHeaderListSize, maxListBytes],
      ]),
    );
    const more = relay.connectionWindowBytes - firstWindowBytes;
    if (more > 0) this.#sendWindowUpdate(0, more);
  }

  #read(chunk: Buffer): void {
    if (this.#ended) return;
    try {
      // Here, since without more of the peer no more comes of it: answers, resets, windows, refusals.
      if (this.#writer.controlBytes > mostControlBytes) {
        throw new ConnectionError(errorCode.enhanceYourCalm, 'it does not read what it asks for');
      }
      this.#reader.feed(chunk);
      this.#proceed();
    } catch (error) {
      this.#break(error);
    }
  }

  /** §3.4: SETTINGS first. §4.3: nothing between the pieces of a header block. */
  #checkOrder(type: number, flags: number, id: number): void {
    if (!this.#greeted && (type !== frameType.settings || (flags & flag.ack) !== 0)) {
      throw protocolError('the peer does not begin with SETTINGS');
    }
    const { stream } = this.#blocks;
    const isNext = type === frameType.continuation && id === stream;
    if (stream === undefined ? type === frameType.continuation : !isNext) {
      throw protocolError('a header block and CONTINUATION do not belong together');
    }
  }

  /**
   * The connection's window opens by what has come, each stream's by what was taken: a few that nobody reads would else stop all
   * others of their session.
   */
  #dataCame(bytes: number): void {
    this.#creditBytes += bytes;
    this.#giveCredit();
  }

  /** Not while too much is kept: what a session holds is bounded, whatever its streams are allowed. */
  #giveCredit(): void {
    if (this.#creditBytes < this.#relay.connectionWindowBytes / 2) return;
    if (this.#keptBytes > this.#relay.sessionKeptBytes) return;
    this.#receiveWindow += this.#creditBytes;
    this.#sendWindowUpdate(0, this.#creditBytes);
    this.#creditBytes = 0;
  }

  #streamOfData(id: number, length: number): FramedStream | undefined {
    const stream = this.#streams.get(id);
    if (stream === undefined) {
      this.#checkIsGone(id, 'DATA');
      return undefined;
    }
    stream.receiveWindow -= length;
    if (stream.receivedEnd) this.#refuse(stream, errorCode.streamClosed);
    else if (stream.receiveWindow < 0) this.#refuse(stream, errorCode.flowControlError);
    else if (this.#isClient && !stream.answered) this.#refuse(stream, errorCode.protocolError);
    else return stream;
    return undefined;
  }

  #block(block: HeaderBlock | undefined): void {
    if (block === undefined) return;
    const stream = this.#streams.get(block.stream);
    if (stream === undefined) this.#firstBlock(block);
    else if (stream.receivedEnd) this.#refuse(stream, errorCode.streamClosed);
    else if (this.#isClient && !stream.answered) this.#answerCame(stream, block);
    else if (!block.isEnd || block.tooLarge || malformedTrailers(block.fields) !== undefined) {
      this.#refuse(stream, errorCode.protocolError);
    } else stream.endArrived();
  }

  #firstBlock({ stream: id, fields, tooLarge, isEnd }: HeaderBlock): void {
    // The answer to what was given up, or trailers that cross a reset of ours.
    if (this.#isClient || this.#resetHere.has(id)) {
      this.#checkIsGone(id, 'HEADERS');
      return;
    }
    if (id <= this.#lastServedId) throw protocolError('HEADERS of a stream that is closed');
    if (id % 2 === 0) throw protocolError('a stream of the client with an even number');
    this.#lastServedId = id;
    if (this.#retired || this.#streams.size >= this.#maxServed) this.#refuseId(id, errorCode.refusedStream);
    else if (tooLarge) this.#refuseId(id, errorCode.enhanceYourCalm);
    else if (malformedRequest(fields) !== undefined) this.#refuseId(id, errorCode.protocolError);
    else {
      const stream = this.#newStream(id);
      this.#events.stream?.(new FramedRequest(stream, fields));
      if (isEnd && this.#streams.get(id) !== undefined) stream.endArrived();
    }
  }

  #answerCame(stream: FramedStream, { fields, tooLarge, isEnd }: HeaderBlock): void {
    if (tooLarge) {
      this.#refuse(stream, errorCode.enhanceYourCalm);
      return;
    }
    const status = malformedResponse(fields) === undefined ? statusOf(fields) : 0;
    const isInterim = status < 200;
    if (status < 100 || status === 101 || (isInterim && isEnd)) {
      this.#refuse(stream, errorCode.protocolError);
      return;
    }
    if (isInterim) {
      this.#countIdleFrame('an interim answer');
      return;
    }
    stream.answer(status, pairsOf(fields));
    if (isEnd && this.#streams.get(stream.id) !== undefined) stream.endArrived();
  }

  #resetCame(id: number, code: number): void {
    // As a client: whoever serves may refuse as much as it is asked.
    if (!this.#isClient && !this.#resets.take(this.#clock.nowMs())) {
      throw new ConnectionError(errorCode.enhanceYourCalm, 'too many streams were reset');
    }
    const stream = this.#streams.get(id);
    if (stream === undefined) this.#checkIsGone(id, 'RST_STREAM');
    else stream.resetArrived(code);
  }

  #settingsCame(flags: number, payload: Buffer): void {
    if ((flags & flag.ack) !== 0) {
      if (payload.length > 0) throw new ConnectionError(errorCode.frameSizeError, 'SETTINGS that acknowledge and set');
      this.#acknowledged();
      return;
    }
    const isFirst = !this.#greeted;
    this.#greeted = true;
    if (!isFirst) this.#countIdleFrame('SETTINGS');
    const before = this.#peer.maxStreams;
    const wider = this.#peer.apply(payload, this.#isClient);
    for (const stream of this.#streams.all()) {
      stream.sendWindow += wider;
      if (stream.sendWindow > largestWindow) throw new ConnectionError(errorCode.flowControlError, 'a window too wide');
    }
    this.#writer.frame(frameType.settings, flag.ack, 0);
    if (wider > 0) for (const stream of this.#streams.all()) this.#widened.add(stream);
    if (isFirst) this.#events.ready?.();
    else if (this.#peer.maxStreams > before) this.#events.room?.();
  }

  /** By how long the first answer took: a peer that is far gets the windows it needs. */
  #acknowledged(): void {
    const { streamWindowBytes } = this.#relay;
    const greetedMs = this.#greetedMs;
    this.#greetedMs = undefined;
    if (greetedMs === undefined || this.#clock.nowMs() - greetedMs <= farMs) return;
    const wider = streamWindowBytes - this.#streamWindowBytes;
    if (wider <= 0) return;
    this.#streamWindowBytes = streamWindowBytes;
    for (const stream of this.#streams.all()) stream.receiveWindow += wider;
    this.#writer.frame(frameType.settings, 0, 0, settingsPayload([[setting.initialWindowSize, streamWindowBytes]]));
  }

  #pingCame(flags: number, payload: Buffer): void {
    if ((flags & flag.ack) !== 0) {
      if (this.#pings[0]?.payload.equals(payload)) this.#pings.shift()?.answered();
      else this.#countIdleFrame('an answer to no PING');
      return;
    }
    this.#countIdleFrame('PING');
    this.#writer.frame(frameType.ping, flag.ack, 0, payload);
  }

  #goAwayCame(payload: Buffer): void {
    if (payload.length < 8) throw new ConnectionError(errorCode.frameSizeError, 'a short GOAWAY');
    const last = payload.readUInt32BE(0) & largestWindow;
    const code = payload.readUInt32BE(4);
    if (code !== errorCode.noError) this.#events.failed(new Error(`the peer ends the session with code ${code}`));
    const isFirst = !this.#goingAway;
    this.#goingAway = true;
    if (!isFirst) this.#countIdleFrame('GOAWAY');
    if (isFirst) this.#events.goingAway?.();
    if (this.#isClient) for (const stream of this.#streams.all()) if (stream.id > last) stream.unprocessed();
    this.#finishWhenIdle();
  }

  #windowCame(id: number, bytes: number): void {
    if (id === 0) {
      if (bytes === 0) throw protocolError('a window wider by nothing');
      this.#sendWindow += bytes;
      if (this.#sendWindow > largestWindow) throw new ConnectionError(errorCode.flowControlError, 'a window too wide');
      this.#isWider = true;
      return;
    }
    const stream = this.#streams.get(id);
    if (stream === undefined) {
      this.#checkIsGone(id, 'WINDOW_UPDATE');
      return;
    }
    stream.sendWindow += bytes;
    if (bytes === 0) this.#refuse(stream, errorCode.protocolError);
    else if (stream.sendWindow > largestWindow) this.#refuse(stream, errorCode.flowControlError);
    else this.#widened.add(stream);
  }

  /** A frame of a stream that is no more is nothing to wonder at; of one that has not begun it is against the protocol (§5.1). */
  #checkIsGone(id: number, what: string): void {
    const isOurs = id % 2 === 1 && this.#isClient;
    const isKnown = isOurs ? id < this.#nextId : !this.#isClient && id <= this.#lastServedId && id % 2 === 1;
    if (!isKnown) throw protocolError(`${what} of a stream that was not opened`);
    // DATA under way when a stream is cut may be a whole window, and is bounded by that.
    if (what !== 'DATA') this.#countIdleFrame(`${what} of a stream that is gone`);
  }

  #countIdleFrame(what: string): void {
    if (this.#idleFrames.take(this.#clock.nowMs())) return;
    throw new ConnectionError(errorCode.enhanceYourCalm, `too often ${what}`);
  }

  #refuse(stream: FramedStream, code: number): void {
    this.#refuseId(stream.id, code);
    stream.resetArrived(code);
  }

  /** What provokes resets of ours is counted as resets of its own are. */
  #refuseId(id: number, code: number): void {
    if (!this.#resets.take(this.#clock.nowMs())) {
      throw new ConnectionError(errorCode.enhanceYourCalm, 'too many streams had to be reset');
    }
    this.#sendReset(id, code);
  }

  #newStream(id: number): FramedStream {
    const windows = {
      send: this.#peer.streamWindowBytes,
      receive: Math.max(firstWindowBytes, this.#streamWindowBytes),
    };
    const stream = new FramedStream(this, id, windows, this.#isClient ? 'upstream' : 'downstream');
    this.#streams.add(stream);
    return stream;
  }

  #sendReset(id: number, code: number): void {
    if (!this.#isClient) this.#remember(id);
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32BE(code);
    this.#writer.frame(frameType.resetStream, 0, id, payload);
  }

  #remember(id: number): void {
    const reset = this.#resetHere;
    reset.add(id);
    if (reset.size > mostRemembered) reset.delete(reset.values().next().value ?? 0);
  }

  #sendWindowUpdate(id: number, bytes: number): void {
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32BE(bytes);
    this.#writer.frame(frameType.windowUpdate, 0, id, payload);
  }

  #sendGoAway(code: number): void {
    if (this.#sentGoAway && code === errorCode.noError) return;
    this.#sentGoAway = true;
    const payload = Buffer.allocUnsafe(8);
    payload.writeUInt32BE(this.#lastServedId);
    payload.writeUInt32BE(code, 4);
    this.#writer.frame(frameType.goAway, 0, 0, payload);
  }

  /** Whoever waits is told, in order, until there is no room again; those who were not go first the next time. */
  #hasRoom(): void {
    for (let left = this.#waiting.size; left > 0; left--) {
      if (this.#sendWindow <= 0 || this.#writer.full) return;
      const stream = this.#waiting.values().next().value;
      if (stream === undefined) return;
      this.#waiting.delete(stream);
      stream.proceed();
    }
  }

  #proceed(): void {
    if (this.#widened.size > 0) {
      const widened = [...this.#widened];
      this.#widened.clear();
      for (const stream of widened) stream.proceed();
    }
    if (!this.#isWider) return;
    this.#isWider = false;
    this.#hasRoom();
  }

  #finishWhenIdle(): void {
    if (this.#ended || this.#streams.size > 0 || !(this.#retired || this.#goingAway)) return;
    this.#ended = true;
    this.#sendGoAway(errorCode.noError);
    this.#endSocket();
  }

  /** The peer broke the protocol, or somebody here failed. */
  #break(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#events.failed(error);
    this.#sendGoAway(error instanceof ConnectionError ? error.code : errorCode.protocolError);
    this.#endStreams(undefined);
    this.#endSocket();
  }

  #endSocket(): void {
    this.#writer.end();
    this.#linger ??= this.#clock.after(lingerMs, () => this.#socket.destroy());
  }

  #connectionEnds(): void {
    this.#ended = true;
    this.#endStreams(undefined);
  }

  #endStreams(error: AmbitError | undefined): void {
    const streams = this.#streams.all();
    this.#streams.clear();
    this.#waiting.clear();
    for (const stream of streams) stream.sessionEnded(error);
  }
}

function protocolError(what: string): ConnectionError {
  return new ConnectionError(errorCode.protocolError, what);
}

/** Of a list that was found well-formed. */
function statusOf(fields: readonly string[]): number {
  return Number(fields[fields.indexOf(':status') + 1]);
}
