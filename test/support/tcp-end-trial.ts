/** One end of a TCP connection and its peer under a random sequence of what both may do, compared with what was written on either side. */
import type { Socket } from 'node:net';
import type { Test } from 'tap';
import type { TcpByteEnd } from '../../src/net/byte-end.ts';
import { eventually } from './eventually.ts';
import { Heard, turns } from './tcp-ends.ts';

/** Of the bytes of both directions, by their place. */
const pattern = Buffer.from(Array.from({ length: 65_521 }, (_, at) => (at * 167 + (at >> 7) * 13) & 0xff));

function bytesAt(place: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; ) at += pattern.copy(bytes, at, (place + at) % pattern.length);
  return bytes;
}

/** A direction: what was written, and what of it has come so far in order. */
class Direction {
  written = 0;
  arrived = 0;
  ended = false;
  faults: string[] = [];

  next(length: number): Buffer {
    const bytes = bytesAt(this.written, length);
    this.written += length;
    return bytes;
  }

  arrive(chunk: Uint8Array): void {
    if (Buffer.compare(chunk, bytesAt(this.arrived, chunk.length)) !== 0) this.faults.push(`wrong at ${this.arrived}`);
    this.arrived += chunk.length;
    if (this.arrived > this.written) this.faults.push('more than was written');
  }
}

export async function randomTrial<E extends TcpByteEnd>(
  t: Test,
  seed: number,
  connected: (t: Test) => Promise<{ end: E; peer: Socket; gone: () => number }>,
): Promise<void> {
  let state = seed;
  const below = (limit: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return Math.floor((state / 0x80000000) * limit);
  };
  const size = () => [1, 100, 9000, 70_000, 300_000][below(5)] as number;
  const { end, peer, gone } = await connected(t);
  const [toPeer, fromPeer] = [new Direction(), new Direction()];
  const trace: string[] = [];
  const lent = Buffer.alloc(300_000);
  let room = true;
  let heardAfter = 0;
  /** Nothing is heard any more: it was cut here. */
  let left: 'reset' | 'destroyWhenFinished' | undefined;
  let peerReset = false;
  let peerSaw: 'end' | 'reset' | undefined;

  const heard = new Heard();
  heard.onData = (chunk) => {
    heard.chunks.length = 0;
    if (left !== undefined || heard.isOver) heardAfter++;
    fromPeer.arrive(chunk);
    if (below(4) === 0) step('data');
  };
  heard.onCall = (call) => {
    if (left !== undefined) heardAfter++;
    if (call === 'drain') room = true;
    if (call === 'end' && (fromPeer.arrived !== fromPeer.written || !fromPeer.ended))
      fromPeer.faults.push('an end that is none');
    if (below(4) === 0) step(call);
  };
  peer.on('data', (chunk: Buffer) => toPeer.arrive(chunk));
  peer.once('end', () => {
    peerSaw ??= 'end';
    if (toPeer.arrived !== toPeer.written || !toPeer.ended) toPeer.faults.push('an end that is none');
  });
  peer.once('close', () => {
    peerSaw ??= 'reset';
  });
  let started = false;

  const steps: [string, () => void][] = [
    ...repeated(4, [
      'write',
      () => {
        if (!room || toPeer.ended || left !== undefined) return;
        const chunk = toPeer.next(size());
        const isLent = below(2) === 0;
        if (isLent) chunk.copy(lent);
        room = end.write(isLent ? lent.subarray(0, chunk.length) : chunk, isLent);
        if (isLent) lent.fill(0xee);
      },
    ]),
    ...repeated(4, [
      'peer writes',
      () => {
        if (!fromPeer.ended && !peer.destroyed) peer.write(fromPeer.next(size()));
      },
    ]),
    ['pause', () => void (started && end.pause())],
    ...repeated(2, ['resume', () => void (started && end.resume())]),
    ['peer pauses', () => void peer.pause()],
    ...repeated(2, ['peer resumes', () => void peer.resume()]),
    ['end', () => finish()],
    ['peer ends', () => finishPeer()],
    ['start', () => start()],
  ];
  // Half of the trials end in order.
  if (seed % 2 === 0) {
    steps.push(
      [
        'peer resets',
        () => {
          peerReset = true;
          peer.resetAndDestroy();
        },
      ],
      ['reset', () => leave('reset')],
      ['destroyWhenFinished', () => leave('destroyWhenFinished')],
    );
  }
  const step = (where: string) => {
    const [name, act] = steps[below(steps.length)] as [string, () => void];
    trace.push(where === '' ? name : `${name} in ${where}`);
    act();
  };
  const start = () => {
    if (started || left !== undefined) return;
    started = true;
    end.start(heard);
  };
  const finish = () => {
    if (toPeer.ended || left !== undefined) return;
    toPeer.ended = true;
    end.end();
  };
  const finishPeer = () => {
    if (fromPeer.ended || peer.destroyed) return;
    fromPeer.ended = true;
    peer.end();
  };
  const leave = (how: 'reset' | 'destroyWhenFinished') => {
    if (!heard.isOver && (left === undefined || how === 'reset')) left = how;
    if (left === 'destroyWhenFinished') toPeer.ended = true;
    if (how === 'reset') end.reset();
    else end.destroyWhenFinished();
  };

  for (let steps = 10 + below(60); steps > 0; steps--) {
    step('');
    if (below(3) === 0) await turns(below(3));
  }
  trace.push('and to the end');
  start();
  peer.resume();
  end.resume();
  await turns(2);
  finish();
  finishPeer();
  const over = () => {
    if (started && left === undefined) end.resume();
    peer.resume();
    return gone() > 0 && (heard.isOver || left !== undefined) && peer.closed;
  };
  await eventually('everything is over', over, 10_000).catch((error: unknown) =>
    t.fail(`${error}: ${trace.join(', ')}`),
  );
  await turns(3);
  const ends = heard.calls.filter((call) => call === 'closed' || call.startsWith('broken'));
  const facts = {
    faults: [...toPeer.faults, ...fromPeer.faults],
    heardAfter,
    gone: gone(),
    heldBytes: ends[0] === 'closed' ? end.heldBytes : 0,
    ends: ends.length + (left === undefined ? 0 : 1),
    toldTwice: heard.calls.filter((call) => call === 'end').length > 1,
    isLast: left !== undefined || heard.calls.at(-1) === ends[0],
  };
  const expected = { faults: [], heardAfter: 0, gone: 1, heldBytes: 0, ends: 1, toldTwice: false, isLast: true };
  t.same(facts, expected, trace.join(', '));
  if (left === undefined && !peerReset) {
    t.same([ends, peerSaw], [['closed'], 'end'], trace.join(', '));
    t.equal(toPeer.arrived, toPeer.written);
    t.equal(fromPeer.arrived, fromPeer.written);
  }
  if (left === 'destroyWhenFinished' && !peerReset) t.same([toPeer.arrived, peerSaw], [toPeer.written, 'end']);
}

function repeated(count: number, step: [string, () => void]): [string, () => void][] {
  return Array.from({ length: count }, () => step);
}
