/**
 * One end of an HTTP/2 connection that sends what the test wrote and nothing else, over real mutual TLS: a client of the
 * world's server, or a server for the world's client. What comes is kept as frames; waiting has a bound and no polling.
 */
import { once } from 'node:events';
import { connect, createServer, type TLSSocket } from 'node:tls';
import type { Test } from 'tap';
import type { SocketAddress } from '../../src/base/address.ts';
import { patienceMs, within } from './eventually.ts';
import {
  ack,
  codeName,
  data,
  endStream,
  errorCode,
  FrameReader,
  frame,
  frameType,
  greeting,
  paddedData,
  ping,
  preface,
  type ReadFrame,
  setting,
  settings,
  statusOf,
} from './http2-frames.ts';
import { addressOf, clientId, serverId, type World } from './relay-world.ts';

export interface RawOptions {
  /** Acknowledge SETTINGS and answer PING, as honest peers do. Default: true. */
  readonly polite?: boolean;
  /** Keep what comes. False: only counts of it. Default: true. */
  readonly keep?: boolean;
}

export class RawHttp2 {
  readonly socket: TLSSocket;
  /** All that came, in order. */
  readonly frames: ReadFrame[] = [];
  /** How many came, by type. */
  readonly counts = new Map<number, number>();
  /** The largest payload that came. */
  largestPayload = 0;
  /** Payloads of DATA that came, octets by stream; 0: of all. */
  readonly received = new Map<number, number>();
  /** `end`: the other side closed in order. */
  over: 'end' | 'reset' | undefined;
  /** What WINDOW_UPDATE allowed, and what `sendData` used, by stream; 0: the connection. */
  readonly #allowed = new Map<number, number>([[0, 65_535]]);
  readonly #used = new Map<number, number>();
  #initialWindow = 65_535;
  #onData: ((bytes: Buffer, isLast: boolean) => void) | undefined;
  readonly #waiting = new Set<() => void>();
  readonly #reader = new FrameReader();
  readonly #options: Required<RawOptions>;
  /** Of a client's preface, still to come. */
  #ahead: Buffer;

  constructor(socket: TLSSocket, ahead: Buffer, { polite = true, keep = true }: RawOptions = {}) {
    this.socket = socket;
    this.#ahead = ahead;
    this.#options = { polite, keep };
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('end', () => this.#ended('end'));
    socket.on('error', () => this.#ended('reset'));
    socket.on('close', () => this.#ended('reset'));
  }

  /** In one write. */
  send(...bytes: readonly Uint8Array[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(bytes));
  }

  /** Octets of DATA that the other side's windows have room for. */
  room(id: number): number {
    const left = (one: number) => (this.#allowed.get(one) ?? 0) - (this.#used.get(one) ?? 0);
    return Math.min(left(0), this.#initialWindow + left(id));
  }

  /** DATA, counted against the other side's windows, which it need not fit into. */
  sendData(id: number, bytes: Uint8Array, flags = 0, padding?: number): void {
    const one = padding === undefined ? data(id, bytes, flags) : paddedData(id, bytes, padding, flags);
    for (const window of [0, id]) add(this.#used, window, one.length - 9);
    this.send(one);
  }

  /** Waits until there is room for so many octets. */
  async roomFor(id: number, octets: number): Promise<void> {
    await this.until(`room for ${octets} on ${id}`, () => this.over !== undefined || this.room(id) >= octets);
  }

  /** As `send`, and waits while the kernel takes no more. False: `giveUpMs` passed without it, or the connection is over. */
  async pour(bytes: Uint8Array, giveUpMs = 300): Promise<boolean> {
    if (this.over !== undefined || this.socket.destroyed) return false;
    if (this.socket.write(bytes)) return true;
    return await new Promise((resolve) => {
      const settle = (taken: boolean) => {
        clearTimeout(timer);
        this.socket.off('drain', drained);
        this.#waiting.delete(ended);
        resolve(taken);
      };
      const drained = () => settle(true);
      const ended = () => void (this.over !== undefined && settle(false));
      const timer = setTimeout(settle, giveUpMs, false);
      this.socket.on('drain', drained);
      this.#waiting.add(ended);
    });
  }

  /** Is called with the octets of each DATA frame that comes from now on. */
  onData(call: (bytes: Buffer, isLast: boolean) => void): void {
    this.#onData = call;
  }

  /** Looks again with each frame that comes and at the end, until `probe` gives something. */
  async until<T>(what: string, probe: () => T | undefined | false, timeoutMs = patienceMs): Promise<T> {
    const now = probe();
    if (now !== undefined && now !== false) return now;
    return await new Promise((resolve, reject) => {
      const look = () => {
        const value = probe();
        if (value === undefined || value === false) return;
        this.#waiting.delete(look);
        clearTimeout(timer);
        resolve(value);
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(look);
        reject(new Error(`waited ${timeoutMs} ms in vain for: ${what}; came: ${this.described()}`));
      }, timeoutMs);
      this.#waiting.add(look);
    });
  }

  /** The first frame of the type on the stream, now or later. */
  frame(type: number, id: number, matches: (one: ReadFrame) => boolean = () => true): Promise<ReadFrame> {
    return this.until(`a frame of type ${type} on stream ${id}`, () =>
      this.frames.find((one) => one.type === type && one.id === id && matches(one)),
    );
  }

  /** All that was sent so far has been read by the other side: it answered a PING behind it. */
  async answered(mark: string): Promise<void> {
    this.send(ping(mark));
    await this.until(`the answer to PING ${mark}`, () => this.over !== undefined || this.answers(mark));
  }

  /** The payloads of DATA on a stream. */
  bytesOf(id: number): Buffer {
    return Buffer.concat(this.frames.filter((one) => one.type === frameType.data && one.id === id).map(dataIn));
  }

  /** Sent with END_STREAM. */
  endedStream(id: number): boolean {
    return this.frames.some((one) => one.type <= frameType.headers && one.id === id && (one.flags & ack) !== 0);
  }

  statusOn(id: number): number | undefined {
    const head = this.frames.find((one) => one.type === frameType.headers && one.id === id);
    return head === undefined ? undefined : statusOf(head.payload);
  }

  resetOn(id: number): string | undefined {
    const found = this.frames.find((one) => one.type === frameType.reset && one.id === id);
    return found === undefined ? undefined : codeName(found.payload.readUInt32BE(0));
  }

  /** Code of the first GOAWAY that names an error. */
  failure(): string | undefined {
    const codes = this.frames.filter((one) => one.type === frameType.goAway).map((one) => one.payload.readUInt32BE(4));
    const code = codes.find((one) => one !== errorCode.NO_ERROR);
    return code === undefined ? undefined : codeName(code);
  }

  /**
   * What became of a stream and the session: `session CODE` (GOAWAY, and the connection closed), `closed` (without),
   * `stream CODE`, `answer STATUS` for one other than 200, or `nothing`; for the last three the session has reached
   * `alive`, which shows that it goes on.
   */
  async outcome(id: number, alive: () => boolean): Promise<string> {
    const settled = () => {
      const failure = this.failure();
      if (this.over !== undefined) return failure === undefined ? 'closed' : `session ${failure}`;
      return failure === undefined && alive() ? 'goes on' : undefined;
    };
    const end = await this.until('an outcome', settled, 3000).catch(() => 'neither an end nor service');
    if (end !== 'goes on') return end;
    const reset = this.resetOn(id);
    if (reset !== undefined && reset !== 'NO_ERROR') return `stream ${reset}`;
    const status = this.statusOn(id);
    return status === undefined || status === 200 ? 'nothing' : `answer ${status}`;
  }

  /** A stream answered 200: the session goes on. */
  serves(id: number): boolean {
    return this.statusOn(id) === 200;
  }

  described(): string {
    const last = this.frames.slice(-12).map(({ type, flags, id, payload }) => {
      return `${type}/${flags.toString(16)} on ${id}: ${payload.subarray(0, 12).toString('hex')} (${payload.length})`;
    });
    return `${last.join(', ') || 'nothing'}${this.over === undefined ? '' : `, then ${this.over}`}`;
  }

  /** PING with this mark has been answered. */
  answers(mark: string): boolean {
    const wanted = mark.padEnd(8, '.');
    return this.frames.some(
      ({ type, flags, payload }) => type === frameType.ping && flags === ack && payload.toString('latin1') === wanted,
    );
  }

  #take(chunk: Buffer): void {
    const ahead = Math.min(chunk.length, this.#ahead.length);
    if (!chunk.subarray(0, ahead).equals(this.#ahead.subarray(0, ahead))) this.socket.destroy();
    this.#ahead = this.#ahead.subarray(ahead);
    for (const one of this.#reader.read(chunk.subarray(ahead))) {
      this.counts.set(one.type, (this.counts.get(one.type) ?? 0) + 1);
      this.largestPayload = Math.max(this.largestPayload, one.payload.length);
      this.#count(one);
      if (one.type === frameType.data) this.#onData?.(dataIn(one), (one.flags & endStream) !== 0);
      if (this.#options.keep || one.type === frameType.goAway) this.frames.push(one);
      if (!this.#options.polite || one.flags === ack) continue;
      if (one.type === frameType.settings) this.send(frame(frameType.settings, ack, 0));
      if (one.type === frameType.ping) this.send(frame(frameType.ping, ack, 0, one.payload));
    }
    this.#look();
  }

  #count({ type, flags, id, payload }: ReadFrame): void {
    if (type === frameType.data) for (const window of [0, id]) add(this.received, window, payload.length);
    if (type === frameType.windowUpdate) add(this.#allowed, id, payload.readUInt32BE(0));
    if (type !== frameType.settings || flags === ack) return;
    for (let at = 0; at < payload.length; at += 6) {
      if (payload.readUInt16BE(at) === setting.initialWindowSize) this.#initialWindow = payload.readUInt32BE(at + 2);
    }
  }

  #ended(how: 'end' | 'reset'): void {
    this.over ??= how;
    if (how === 'end') this.socket.end();
    this.#look();
  }

  #look(): void {
    for (const look of [...this.#waiting]) look();
  }
}

function add(counts: Map<number, number>, key: number, more: number): void {
  counts.set(key, (counts.get(key) ?? 0) + more);
}

/** Without padding. */
function dataIn({ flags, payload }: ReadFrame): Buffer {
  if ((flags & 0x8) === 0) return payload;
  return payload.subarray(1, payload.length - (payload[0] as number));
}

/** Connects to the world's server as its client's identity, and has said nothing yet. */
export type RawDial = (options?: RawOptions) => Promise<RawHttp2>;

export async function rawClients(t: Test, world: World): Promise<RawDial> {
  const { serverMaterial } = await world.ca.issue(clientId);
  const { ip: host, port } = world.served.address;
  return async (options) => {
    const socket = connect({
      ...serverMaterial,
      host,
      port,
      ALPNProtocols: ['h2'],
      checkServerIdentity: () => undefined,
    });
    socket.setNoDelay(true);
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    await once(socket, 'secureConnect');
    return new RawHttp2(socket, Buffer.alloc(0), options);
  };
}

/** As `rawClients`, greeted. */
export async function greeted(dial: RawDial, options?: RawOptions, own: Buffer = greeting): Promise<RawHttp2> {
  const peer = await dial(options);
  peer.send(own);
  return peer;
}

export interface RawServer {
  readonly address: SocketAddress;
  /** The next connection, greeted with SETTINGS unless told otherwise. */
  accepted(options?: RawOptions & { readonly greet?: Buffer }): Promise<RawHttp2>;
}

/** Listens as the world's server identity. */
export async function rawServer(t: Test, world: World): Promise<RawServer> {
  const { serverMaterial } = await world.ca.issue(serverId);
  const server = createServer({ ...serverMaterial, requestCert: true, ALPNProtocols: ['h2'] });
  const ready: TLSSocket[] = [];
  const waiting: ((socket: TLSSocket) => void)[] = [];
  server.on('tlsClientError', () => {});
  server.on('secureConnection', (socket) => {
    socket.setNoDelay(true);
    socket.on('error', () => {});
    t.teardown(() => socket.destroy());
    const take = waiting.shift();
    if (take === undefined) ready.push(socket);
    else take(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return {
    address: addressOf(server),
    accepted: async ({ greet = settings(), ...options } = {}) => {
      const socket =
        ready.shift() ?? (await within('a connection', new Promise<TLSSocket>((resolve) => waiting.push(resolve))));
      const peer = new RawHttp2(socket, preface, options);
      if (greet.length > 0) peer.send(greet);
      return peer;
    },
  };
}
