/** What any end of a TCP connection must do (`src/net/byte-end.ts`), whoever reads and writes its socket; the peer is a net.Socket. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { Test } from 'tap';
import type { Clock } from '../../src/base/clock.ts';
import { lingerMs, type TcpByteEnd, tailMs } from '../../src/net/byte-end.ts';
import { openDescriptors } from '../unit/native/descriptors.ts';
import { eventually, within } from './eventually.ts';
import { FakeClock } from './fake-clock.ts';
import { readAll } from './relay-world.ts';
import { randomTrial } from './tcp-end-trial.ts';
import { type Adopt, type Connected, endsOf, Heard, hear, turns } from './tcp-ends.ts';

const mib = 1024 * 1024;
/** Of what waits to be written, before the writer is told to wait. */
const highWaterMark = 256 * 1024;

export async function tcpEndCompliance<E extends TcpByteEnd>(
  t: Test,
  adopt: (clock?: Clock) => Adopt<E>,
): Promise<void> {
  const connected = async (t: Test): Promise<Connected<E> & { gone: () => number }> => {
    const { end, peer } = await (await endsOf(t, adopt())).connected();
    let gone = 0;
    end.onGone(() => gone++);
    return { end, peer, gone: () => gone };
  };

  await t.test('each direction ends for itself, whoever ends first; both ended is closed', async (t) => {
    for (const first of ['peer', 'here'] as const) {
      const { end, peer, gone } = await connected(t);
      const heard = hear(end);
      const atPeer = readAll(peer);
      const order: string[] = [];
      if (first === 'peer') {
        peer.end('the request');
        await eventually('the end', () => heard.calls.includes('end'));
        end.write(Buffer.from('the answer, after FIN'));
        end.end(() => order.push('finished'));
        t.same(await within('the answer', atPeer), { data: Buffer.from('the answer, after FIN'), how: 'end' });
      } else {
        end.write(Buffer.from('the answer, before FIN'));
        end.end(() => order.push('finished'));
        t.same(await within('the answer', atPeer), { data: Buffer.from('the answer, before FIN'), how: 'end' });
        t.same(heard.calls, [], 'the other direction is open');
        peer.end('the request');
      }
      await eventually('both', () => heard.isOver);
      t.same([heard.text, heard.calls], ['the request', ['end', 'closed']]);
      t.same(order, ['finished']);
      await eventually('its descriptor is closed', () => gone() === 1);
      t.equal(end.gone, true);
    }
  });

  await t.test('what came before anybody listens is kept, the end too', async (t) => {
    const { end, peer, gone } = await connected(t);
    peer.end('early');
    await turns(10);
    t.equal(gone(), 0);
    const heard = hear(end);
    end.end();
    await eventually('both', () => heard.isOver);
    t.same([heard.text, heard.calls], ['early', ['end', 'closed']]);
  });

  await t.test('a reset before anybody listens is told to who does', async (t) => {
    const { end, peer, gone } = await connected(t);
    peer.resetAndDestroy();
    await turns(10);
    const heard = hear(end);
    await eventually('the reset', () => heard.isOver);
    t.same(heard.calls, ['broken ECONNRESET']);
    t.match(heard.errors, [{ code: 'NET_RESET', origin: 'upstream' }]);
    await eventually('its descriptor is closed', () => gone() === 1);
    end.write(Buffer.from('to nobody'));
    end.end();
    end.pause();
    end.resume();
    end.reset();
    end.destroyWhenFinished();
    await turns(5);
    t.same([gone(), heard.calls.length], [1, 1], 'whatever is done to it afterwards');
  });

  await t.test('a reset in the midst is told once, with its cause, and never as the end', async (t) => {
    for (const when of ['reading', 'writing', 'ending', 'paused'] as const) {
      const { end, peer, gone } = await connected(t);
      const heard = hear(end);
      peer.write('half');
      await eventually('bytes', () => heard.text === 'half');
      if (when === 'writing' || when === 'ending') await fillUp(end, peer);
      if (when === 'paused') end.pause();
      if (when === 'ending') end.end(() => t.fail('it has not left'));
      peer.resetAndDestroy();
      if (when === 'paused') {
        await turns(5);
        end.resume();
      }
      await eventually('the reset', () => heard.isOver);
      await turns(5);
      t.equal(heard.text, 'half');
      t.match(heard.calls.filter((call) => call !== 'drain').join(), /^broken (ECONNRESET|EPIPE)$/, when);
      t.same([gone(), end.heldBytes], [1, 0]);
    }
  });

  await t.test('nothing is handed over while it is paused, and it may be paused and resumed in any call', async (t) => {
    const { end, peer } = await connected(t);
    const heard = new Heard();
    const sent = 8 * mib;
    let paused = 0;
    let afterPause = 0;
    let isPaused = false;
    heard.onData = () => {
      if (isPaused) afterPause++;
      if (heard.chunks.length % 3 === 0) {
        end.pause();
        end.resume();
      }
      if (heard.chunks.length % 3 === 1) {
        paused++;
        isPaused = true;
        end.pause();
        setImmediate(() => {
          isPaused = false;
          end.resume();
        });
      }
    };
    end.start(heard);
    const body = Buffer.alloc(sent, 'abcdefg');
    peer.end(body);
    await eventually('the end', () => heard.calls.includes('end'), 20_000);
    t.ok(Buffer.concat(heard.chunks).equals(body));
    t.ok(paused > 2);
    t.equal(afterPause, 0);
  });

  await t.test(
    'a peer that does not read: the writer waits, little is held, and all of it arrives in the end',
    async (t) => {
      const { end, peer } = await connected(t);
      const heard = hear(end);
      peer.pause();
      const hash = createHash('sha256');
      const lent = Buffer.alloc(48 * 1024);
      let written = 0;
      const writeOn = () => {
        for (let room = true; room && written < 16 * mib; ) {
          // Pieces of all sizes, some of them lent: their bytes are another's when the call returns.
          const size = 1 + ((written * 7919) % lent.length);
          const isLent = written % 2 === 0;
          const chunk = isLent ? lent.subarray(0, size) : Buffer.alloc(size);
          chunk.fill(written % 251);
          hash.update(chunk);
          written += size;
          room = end.write(chunk, isLent);
          if (isLent) lent.fill(0xff);
          t.ok(end.heldBytes < highWaterMark + lent.length + 2, `holds ${end.heldBytes}`);
        }
        if (written >= 16 * mib) end.end();
      };
      heard.onCall = (call) => {
        if (call === 'drain') writeOn();
      };
      writeOn();
      await turns(20);
      const stalled = written;
      t.ok(stalled < 16 * mib, `it waits after ${stalled} bytes`);
      t.ok(end.heldBytes > 0);
      const received = createHash('sha256');
      peer.on('data', (chunk: Buffer) => received.update(chunk)).resume();
      await within('the end', once(peer, 'end'), 20_000);
      t.equal(received.digest('hex'), hash.digest('hex'));
      t.equal(end.heldBytes, 0);
    },
  );

  await t.test('single bytes to who does not read arrive in order', async (t) => {
    const { end, peer } = await connected(t);
    hear(end);
    await fillUp(end, peer);
    const filled = end.heldBytes;
    const letters = 'a quick brown fox jumps over the lazy dog '.repeat(200);
    const lent = Buffer.alloc(1);
    for (const [index, letter] of letters.split('').entries()) {
      lent.write(letter);
      end.write(index % 2 === 0 ? lent : Buffer.from(letter), index % 2 === 0);
      lent.write('#');
    }
    t.equal(end.heldBytes, filled + letters.length);
    end.end();
    const { data, how } = await within('all of it', readAll(peer.resume()));
    t.equal(how, 'end');
    t.equal(data.subarray(-letters.length).toString(), letters);
  });

  await t.test('a reset is seen as a reset, and nothing more is heard', async (t) => {
    for (const from of ['outside', 'data', 'end'] as const) {
      const { end, peer, gone } = await connected(t);
      const heard = new Heard();
      if (from === 'data') heard.onData = () => end.reset();
      if (from === 'end') heard.onCall = () => end.reset();
      end.start(heard);
      const atPeer = readAll(peer);
      peer.write('x');
      if (from === 'end') peer.end();
      if (from === 'outside') {
        await eventually('x', () => heard.text === 'x');
        end.reset();
      }
      t.equal((await within('the reset', atPeer)).how, 'reset', from);
      await eventually('its descriptor is closed', () => gone() === 1);
      end.reset();
      await turns(5);
      t.equal(gone(), 1);
      t.same([heard.text, heard.calls], ['x', from === 'end' ? ['end'] : []]);
      const late = hear(end);
      await turns(5);
      t.same(late.calls, [], 'nor by who listens afterwards');
    }
  });

  await t.test('one that nobody waits for lets all it was given leave, then ends, and is heard no more', async (t) => {
    for (const ended of [false, true]) {
      const { end, peer, gone } = await connected(t);
      const heard = hear(end);
      const written = await fillUp(end, peer);
      if (ended) end.end();
      heard.calls.length = 0;
      end.destroyWhenFinished();
      await turns(5);
      t.equal(gone(), 0, 'it has not left');
      let read = 0;
      peer.on('data', (chunk: Buffer) => {
        read += chunk.length;
      });
      peer.resume();
      await within('the end', once(peer, 'end'));
      t.equal(read, written);
      peer.end();
      await eventually('its descriptor is closed', () => gone() === 1);
      await turns(5);
      t.same(heard.calls, []);
    }
  });

  await t.test(
    'one that nobody waits for hears out a peer that goes on sending, so that it gets the whole tail',
    async (t) => {
      for (const paused of ['before', 'after']) {
        const clock = new FakeClock();
        const { connected } = await endsOf(t, adopt(clock));
        const { end, peer } = await connected();
        hear(end);
        peer.pause();
        const tail = Buffer.alloc(2 * mib, 'tail');
        end.write(tail);
        if (paused === 'before') end.pause();
        end.destroyWhenFinished();
        if (paused === 'after') end.pause();
        // More than the kernel keeps for who does not read.
        for (let left = 16; left > 0; left--) {
          peer.write(Buffer.alloc(mib));
          await turns(3);
        }
        const { data, how } = await within('the tail', readAll(peer.resume()));
        t.same([data.equals(tail), how], [true, 'end']);
        await eventually('its own bytes are taken', () => peer.writableLength === 0);
        t.equal(end.gone, false);
        peer.end();
        await eventually('both have finished', () => end.gone);
        t.equal(clock.pending, 0);
      }
    },
  );

  await t.test('one that nobody waits for is not held by a peer that never reads, or never ends', async (t) => {
    const clock = new FakeClock();
    const { connected } = await endsOf(t, adopt(clock));
    const deaf = await connected();
    hear(deaf.end);
    await fillUp(deaf.end, deaf.peer);
    deaf.end.destroyWhenFinished();
    clock.advance(tailMs - 1);
    t.equal(deaf.end.gone, false);
    clock.advance(1);
    t.equal(deaf.end.gone, true);
    t.equal((await within('the reset', readAll(deaf.peer.resume()))).how, 'reset');

    const mute = await connected();
    const atPeer = readAll(mute.peer);
    mute.end.write(Buffer.from('tail'));
    mute.end.destroyWhenFinished();
    t.same(await within('the end', atPeer), { data: Buffer.from('tail'), how: 'end' });
    await turns();
    clock.advance(lingerMs - 1);
    t.equal(mute.end.gone, false);
    clock.advance(1);
    t.equal(mute.end.gone, true);

    const ended = await connected();
    ended.end.end();
    t.same(await within('the end', readAll(ended.peer)), { data: Buffer.alloc(0), how: 'end' });
    ended.end.destroyWhenFinished();
    clock.advance(lingerMs);
    t.equal(ended.end.gone, true);
    t.equal(clock.pending, 0);
  });

  await t.test(
    'two ends that hand on to each other carry large bodies both ways past readers that pause',
    async (t) => {
      const [left, right] = [await connected(t), await connected(t)];
      const handOn = (from: E, to: E): Heard => {
        const heard = new Heard();
        heard.onData = (chunk, lent) => {
          heard.chunks.length = 0;
          if (!to.write(chunk, lent)) from.pause();
        };
        heard.onCall = (call) => {
          if (call === 'drain') to.resume();
          if (call === 'end') to.end();
        };
        from.start(heard);
        return heard;
      };
      const heard = [handOn(left.end, right.end), handOn(right.end, left.end)];
      const bodies = [Buffer.alloc(16 * mib, 'to the right'), Buffer.alloc(16 * mib, 'and to the left')];
      const reads = [right.peer, left.peer].map((peer) => within('the body', pausingDigest(peer), 30_000));
      left.peer.end(bodies[0] as Buffer);
      right.peer.end(bodies[1] as Buffer);
      t.same(
        await Promise.all(reads),
        bodies.map((body) => createHash('sha256').update(body).digest('hex')),
      );
      await eventually('both closed', () => heard.every(({ isOver }) => isOver));
      for (const { calls } of heard) t.same(calls.filter((call) => call !== 'drain').sort(), ['closed', 'end']);
    },
  );

  await t.test(
    'anything in any order: bytes come in order, ends are true, one end is told, nothing is left',
    async (t) => {
      const before = openDescriptors();
      for (let seed = 1; seed <= 60; seed++) {
        await t.test(`seed ${seed}`, (t) => randomTrial(t, seed, connected));
      }
      await eventually('no descriptor is left', () => openDescriptors() <= before);
    },
  );
}

/** Writes to who does not read until no more leaves; returns how much. */
async function fillUp(end: TcpByteEnd, peer: Socket): Promise<number> {
  peer.pause();
  const chunk = Buffer.alloc(64 * 1024);
  let written = 0;
  do {
    do written += chunk.length;
    while (end.write(chunk));
    await turns(5);
  } while (end.heldBytes === 0);
  return written;
}

/** Of all a socket reads, while it pauses now and then. */
async function pausingDigest(socket: Socket): Promise<string> {
  const hash = createHash('sha256');
  let chunks = 0;
  socket.on('data', (chunk: Buffer) => {
    hash.update(chunk);
    if (chunks++ % 5 !== 0) return;
    socket.pause();
    setTimeout(() => socket.resume(), 1);
  });
  await once(socket, 'end');
  return hash.digest('hex');
}
