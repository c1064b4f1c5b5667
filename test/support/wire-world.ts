/** A world whose server does what the authority of a CONNECT says, for raw peers that look at the wire. */
import type { Duplex } from 'node:stream';
import type { Test } from 'tap';
import type { ConnectRequest, ConnectVerdict } from '../../src/hbone/seam.ts';
import { within } from './eventually.ts';
import { connectTo, frameType, greeting, ping } from './http2-frames.ts';
import { greeted, type RawDial, rawClients } from './raw-http2.ts';
import { type MakeRelay, makeWorld, type World, type WorldOptions } from './relay-world.ts';

export interface WireWorld extends World {
  readonly dial: RawDial;
  /** CONNECTs that reached the program above the relay. */
  readonly asked: ConnectRequest[];
  /** The stream of the next CONNECT to `take:1`, with nobody reading it yet. */
  taken(): Promise<Duplex>;
}

/** Octets that a client sends, and what may become of them. */
export interface WireRow {
  readonly sends: Buffer;
  /** Consequences that will do; see `RawHttp2.outcome`. */
  readonly result: readonly string[];
  /** What nghttp2 does where the RFC wants something else. */
  readonly node?: readonly string[];
  /** The stream that the consequence is looked for on. Default: 1. */
  readonly on?: number;
  /** What comes before `sends`. Default: preface and empty SETTINGS. */
  readonly after?: Buffer;
  /** How the session shows that it goes on: it serves a further stream, or answers PING. Default: `stream`. */
  readonly alive?: 'stream' | 'ping';
}

/** `echo:1` returns the bytes, `sink:1` reads them, `take:1` is for `taken`, `no:403` is refused with that status. */
export async function wireWorld(t: Test, make: MakeRelay, options: WorldOptions = {}): Promise<WireWorld> {
  const asked: ConnectRequest[] = [];
  const untaken: Duplex[] = [];
  const waiting: ((stream: Duplex) => void)[] = [];
  const hand = (stream: Duplex) => {
    const take = waiting.shift();
    if (take === undefined) untaken.push(stream);
    else take(stream);
  };
  const world = await makeWorld(t, make, {
    onConnect: (request) => {
      asked.push(request);
      return verdict(request.authority, hand);
    },
    ...options,
  });
  const taken = () =>
    within(
      'a stream for the test',
      new Promise<Duplex>((resolve) => {
        const stream = untaken.shift();
        if (stream === undefined) waiting.push(resolve);
        else resolve(stream);
      }),
    );
  return { ...world, dial: await rawClients(t, world), asked, taken };
}

function verdict(authority: string, hand: (stream: Duplex) => void): ConnectVerdict {
  const [host, port] = authority.split(':');
  if (host === 'no') return { kind: 'refuse', status: Number(port), headers: [] };
  return {
    kind: 'bytes',
    headers: [],
    receive: (stream) => {
      stream.on('error', () => {});
      if (host === 'take') hand(stream);
      else if (host === 'sink') stream.resume();
      else stream.pipe(stream);
    },
  };
}

/** What becomes of the row's octets on a connection of their own. */
export async function outcomeOf(world: WireWorld, row: Omit<WireRow, 'result' | 'node'>): Promise<string> {
  const { sends, after = greeting, on = 1, alive = 'stream' } = row;
  const peer = await greeted(world.dial, {}, after);
  // The server's settings hold once they are acknowledged.
  if (after.length > 0) await peer.frame(frameType.settings, 0);
  // In one write: octets that nobody reads any more would let the kernel throw a GOAWAY away.
  peer.send(sends, alive === 'ping' ? ping('alive') : connectTo(1001, 'echo:1'));
  const outcome = await peer.outcome(on, () => peer.serves(1001) || peer.answers('alive'));
  peer.socket.destroy();
  return outcome;
}
