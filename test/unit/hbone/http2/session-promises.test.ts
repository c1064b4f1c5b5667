/**
 * A session under peers and readers that do anything in any order: what it promises of streams, bodies and windows holds for all of
 * them. The peer keeps to the protocol, so that nothing but what it means to end ends.
 */
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import type { ServedStream } from '../../../../src/hbone/http2/engine.ts';
import { serveSession } from '../../../../src/hbone/http2/session.ts';
import { defaultRelayOptions } from '../../../../src/hbone/options.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { HeldSocket } from '../../../support/held-socket.ts';
import {
  connectTo,
  data,
  endStream,
  FrameReader,
  frameType,
  greeting,
  paddedData,
  ping,
  reset,
  setting,
  settings,
  windowUpdate,
} from '../../../support/http2-frames.ts';

const streamWindow = 100_000;
const sessionWindow = 200_000;

/** A tunnel as the peer sees it, and as its reader does. */
interface Tunnel {
  readonly id: number;
  readonly served: ServedStream;
  sent: string;
  sentEnd: boolean;
  peerGone: boolean;
  /** What we may send it, and it us. */
  sendWindow: number;
  receiveWindow: number;
  read: string;
  heard: string[];
  overs: number;
  started: boolean;
  /** Its owner wants to hear nothing more. */
  left: boolean;
}

class Trial {
  readonly socket = new HeldSocket();
  readonly clock = new FakeClock();
  readonly tunnels: Tunnel[] = [];
  readonly faults: string[] = [];
  readonly told: string[] = [];
  readonly session;
  readonly #reader = new FrameReader();
  #read = 0;
  #state: number;
  #nextId = 1;
  initialWindow = 65_535;
  sendWindow = 65_535;
  receiveWindow = 65_535;

  constructor(seed: number) {
    this.#state = seed;
    this.socket.holds = false;
    this.session = serveSession(
      this.socket.asTls,
      {
        relay: { ...defaultRelayOptions, streamWindowBytes: streamWindow, connectionWindowBytes: sessionWindow },
        maxStreams: 20,
        clock: this.clock,
      },
      {
        stream: (served) => this.#came(served),
        failed: (error) => this.told.push(String(error)),
        closed: () => this.told.push('closed'),
      },
    );
    this.socket.resume();
  }

  below(most: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * most);
  }

  fault(what: string): void {
    this.faults.push(what);
  }

  /** What the session wrote, against what it was allowed. */
  look(): void {
    for (; this.#read < this.socket.writes.length; this.#read++) {
      for (const { type, flags, id, payload } of this.#reader.read(this.socket.writes[this.#read] as Buffer)) {
        const tunnel = this.tunnels.find((one) => one.id === id);
        if (type === frameType.data) {
          this.sendWindow -= payload.length;
          if (this.sendWindow < 0) this.fault('more than the window of the session');
          if (tunnel !== undefined) tunnel.sendWindow -= payload.length;
          if (payload.length > 0 && tunnel !== undefined && tunnel.sendWindow < 0) this.fault('more than a window');
        } else if (type === frameType.windowUpdate) {
          if (id === 0) this.receiveWindow += payload.readUInt32BE(0);
          else if (tunnel !== undefined) tunnel.receiveWindow += payload.readUInt32BE(0);
          if (this.receiveWindow > sessionWindow) this.fault('the session gives credit twice');
          if (tunnel !== undefined && tunnel.receiveWindow > streamWindow) this.fault('a stream gives credit twice');
        } else if (type === frameType.reset) {
          if (tunnel !== undefined) tunnel.peerGone = true;
        } else if (type === frameType.goAway && payload.readUInt32BE(4) !== 0) {
          this.fault(`GOAWAY ${payload.readUInt32BE(4)} ${flags}`);
        }
      }
    }
  }

  /** Something of the peer. */
  peerActs(): void {
    const open = this.tunnels.filter(({ peerGone }) => !peerGone);
    const tunnel = open[this.below(open.length)];
    const kind = this.below(11);
    if (tunnel === undefined || kind === 0) {
      this.socket.comes(connectTo(this.#nextId, 'a:1'));
      this.#nextId += 2;
    } else if (kind <= 5 && !tunnel.sentEnd) {
      const padding = this.below(3) === 0 ? this.below(256) : undefined;
      const over = padding === undefined ? 0 : padding + 1;
      const most = Math.min(tunnel.receiveWindow, this.receiveWindow, 16_384) - over;
      if (most <= 0) return;
      const text = String.fromCharCode(97 + this.below(26)).repeat(
        this.below(2) === 0 ? this.below(Math.min(most, 50)) + 1 : this.below(most) + 1,
      );
      const isEnd = this.below(6) === 0;
      tunnel.sent += text;
      tunnel.sentEnd = isEnd;
      tunnel.receiveWindow -= text.length + over;
      this.receiveWindow -= text.length + over;
      const flags = isEnd ? endStream : 0;
      const bytes = padding === undefined ? data(tunnel.id, text, flags) : paddedData(tunnel.id, text, padding, flags);
      // Now and then in pieces, and with a reset in the same read.
      if (this.below(3) === 0) {
        const cut = this.below(bytes.length);
        this.socket.comes(bytes.subarray(0, cut));
        this.socket.comes(bytes.subarray(cut));
      } else if (this.below(5) === 0) {
        tunnel.peerGone = true;
        this.socket.comes(bytes, reset(tunnel.id, this.below(2) === 0 ? 'NO_ERROR' : 'CANCEL'));
      } else this.socket.comes(bytes);
    } else if (kind === 6) {
      tunnel.peerGone = true;
      this.socket.comes(reset(tunnel.id, this.below(2) === 0 ? 'NO_ERROR' : 'CANCEL'));
    } else if (kind === 7) {
      const more = this.below(50_000) + 1;
      tunnel.sendWindow += more;
      this.socket.comes(windowUpdate(tunnel.id, more));
    } else if (kind === 9) this.socket.comes(ping('x'));
    else {
      const more = this.below(10_000) + 1;
      this.sendWindow += more;
      this.socket.comes(windowUpdate(0, more));
    }
  }

  /** When all that was sent has been seen: a narrower window finds no DATA on its way. */
  windowsChange(): void {
    const window = this.below(100_000);
    for (const one of this.tunnels) one.sendWindow += window - this.initialWindow;
    this.initialWindow = window;
    this.socket.comes(settings([setting.initialWindowSize, window]));
  }

  /** Something of who reads a tunnel. */
  ownerActs(): void {
    const mine = this.tunnels.filter(({ left }) => !left);
    const tunnel = mine[this.below(mine.length)];
    if (tunnel === undefined) return;
    const { end } = tunnel.served;
    const kind = this.below(20);
    if (!tunnel.started) {
      if (kind < 10) this.#start(tunnel);
      else if (kind === 10) {
        tunnel.left = true;
        end.cancel();
      }
    } else if (kind < 5) end.pause();
    else if (kind < 11) end.resume();
    else if (kind < 16) end.write(Buffer.alloc(this.below(30_000) + 1));
    else if (kind === 16) end.end();
    else if (kind === 17) {
      tunnel.left = true;
      if (this.below(3) === 0) end.reset();
      else if (this.below(2) === 0) end.cancel();
      else end.destroyWhenFinished();
    }
  }

  #came(served: ServedStream): void {
    const tunnel: Tunnel = {
      id: this.#nextId,
      served,
      sent: '',
      sentEnd: false,
      peerGone: false,
      sendWindow: this.initialWindow,
      receiveWindow: streamWindow,
      read: '',
      heard: [],
      overs: 0,
      started: false,
      left: false,
    };
    this.tunnels.push(tunnel);
    served.onOver(() => tunnel.overs++);
    served.respond(200, [], false);
  }

  #start(tunnel: Tunnel): void {
    tunnel.started = true;
    const hears = (what: string) => {
      if (tunnel.left) this.fault(`${what} for who had left`);
      if (/closed|broken/.test(tunnel.heard.at(-1) ?? '')) this.fault(`${what} behind ${tunnel.heard.at(-1)}`);
      tunnel.heard.push(what);
    };
    const isWhole = () => tunnel.sentEnd && tunnel.read === tunnel.sent;
    tunnel.served.end.start({
      data: (chunk) => {
        if (tunnel.heard.includes('end')) this.fault('data behind the end');
        hears('data');
        tunnel.heard.pop();
        tunnel.read += Buffer.from(chunk).toString();
        // As a reader does from within.
        if (this.below(6) === 0) tunnel.served.end.pause();
        if (this.below(40) === 0) {
          tunnel.left = true;
          tunnel.served.end.reset();
        }
      },
      end: () => {
        if (tunnel.heard.includes('end')) this.fault('the end twice');
        hears('end');
        if (!isWhole()) this.fault('an end of what was cut');
      },
      drain: () => {
        hears('drain');
        tunnel.heard.pop();
        if (this.below(2) === 0 && !tunnel.left) tunnel.served.end.write(Buffer.alloc(this.below(5000) + 1));
      },
      closed: () => hears('closed'),
      broken: (_error, whole) => {
        hears('broken');
        if (whole && !isWhole()) this.fault('a part that is called whole');
      },
    });
  }
}

t.test('exactly one end for each stream, no part looks whole, and no window leaks', async (t) => {
  let ends = 0;
  let bytes = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const trial = new Trial(seed);
    await turn();
    trial.socket.comes(greeting);
    await turn();
    trial.look();
    for (let step = 0; step < 300; step++) {
      if (trial.below(2) === 0) trial.peerActs();
      else trial.ownerActs();
      if (trial.below(3) > 0) continue;
      await turn();
      trial.look();
      if (trial.below(8) === 0) trial.windowsChange();
    }
    // Everybody reads or leaves: nothing is kept, and the peer has its window again.
    for (const tunnel of trial.tunnels) {
      if (tunnel.left) continue;
      if (tunnel.started) tunnel.served.end.resume();
      else {
        tunnel.left = true;
        tunnel.served.end.cancel();
      }
    }
    for (let again = 0; again < 5; again++) {
      for (const tunnel of trial.tunnels) if (!tunnel.left) tunnel.served.end.resume();
      await turn();
    }
    trial.look();
    if (trial.receiveWindow <= sessionWindow / 2) trial.fault(`a window of ${trial.receiveWindow} is left`);
    for (const one of trial.tunnels) {
      const live = !one.peerGone && !one.left && !one.sentEnd;
      if (live && one.receiveWindow <= streamWindow / 2)
        trial.fault(`a stream's window of ${one.receiveWindow} is left`);
    }
    const how = trial.below(3);
    if (how === 0) trial.socket.push(null);
    else if (how === 1) trial.socket.destroy();
    else trial.session.destroy();
    await turn();
    await turn();
    trial.clock.advance(1000);
    await turn();
    for (const { heard, left, overs, started, id } of trial.tunnels) {
      const last = heard.filter((what) => what === 'closed' || what === 'broken').length;
      if (started && last !== (left ? last : 1)) trial.fault(`stream ${id} heard of ${last} ends`);
      if (last > 1 || overs !== 1) trial.fault(`stream ${id}: ${last} ends, over ${overs} times`);
      ends += last;
    }
    bytes += trial.tunnels.reduce((sum, { read }) => sum + read.length, 0);
    if (trial.told.join() !== 'closed') trial.fault(`told: ${trial.told}`);
    t.same(trial.faults, [], `seed ${seed}`);
    if (trial.faults.length > 0) break;
  }
  t.ok(ends > 500 && bytes > 5_000_000, `${ends} ends, ${bytes} bytes`);
});
