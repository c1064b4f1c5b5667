/** TCP driven by hand: what a peer may do at any moment, what the kernel tells only once, and the one poll that all sockets share. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { connect } from 'node:net';
import { closeFd, connectSocket, createSocket } from 'node-tproxy-native';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { AmbitError } from '../../../src/base/errors.ts';
import { descriptorLimits, descriptorUse } from '../../../src/net/descriptors.ts';
import { TcpEnd } from '../../../src/net/tcp-end.ts';
import { deafListener } from '../../support/deaf-listener.ts';
import { eventually, within } from '../../support/eventually.ts';
import { readAll } from '../../support/relay-world.ts';
import { byHand, endsOf, Heard, hear, turns } from '../../support/tcp-ends.ts';
import { TurnCounter } from '../../support/turn-counter.ts';
import { openDescriptors } from '../../unit/native/descriptors.ts';

const mib = 1024 * 1024;

t.test('the end is told once, however many edges come after it', async (t) => {
  const { connected } = await endsOf(t, byHand());
  const { end, peer } = await connected();
  const heard = hear(end);
  peer.end('hello');
  await eventually('the end', () => heard.calls.length > 0);
  // Each time the kernel has room again it tells of the end as well.
  peer.pause();
  for (let round = 0; round < 3; round++) {
    while (end.write(Buffer.alloc(64 * 1024)));
    peer.resume();
    await eventually('room', () => heard.calls.filter((call) => call === 'drain').length > round);
    peer.pause();
  }
  t.same([heard.text, heard.calls], ['hello', ['end', 'drain', 'drain', 'drain']]);
});

t.test('a reset after the end is told, and that what came is whole; also to who writes nothing', async (t) => {
  const { connected } = await endsOf(t, byHand());
  const { end, peer } = await connected();
  const heard = hear(end);
  peer.end('all of it');
  await eventually('the end', () => heard.calls.length > 0);
  peer.resetAndDestroy();
  await eventually('the reset', () => heard.isOver);
  t.same([heard.text, heard.calls], ['all of it', ['end', 'broken EPIPE, whole']]);
  t.equal(end.gone, true);

  const both = await connected();
  const paused = hear(both.end);
  both.end.pause();
  both.peer.end('all of it');
  await turns();
  both.peer.resetAndDestroy();
  await turns();
  both.end.resume();
  await eventually('the reset', () => paused.isOver);
  t.same([paused.text, paused.calls], ['all of it', ['end', 'broken EPIPE, whole']], 'both came before it was read');
});

t.test('an error that a write was told never makes what came look whole', async (t) => {
  const { connected } = await endsOf(t, byHand());
  const echo = await connected();
  const heard = hear(echo.end);
  heard.onData = (chunk, lent) => void echo.end.write(chunk, lent);
  echo.end.pause();
  echo.peer.write('half of a body');
  echo.peer.resetAndDestroy();
  await turns();
  echo.end.resume();
  await eventually('the reset', () => heard.isOver);
  t.same([heard.text, heard.calls], ['half of a body', ['broken ECONNRESET']]);

  // The same by another connection that is told in the same turn, before.
  const [first, second] = [await connected(), await connected()];
  const [from, to] = [hear(first.end), hear(second.end)];
  from.onData = () => void second.end.write(Buffer.from('to who is gone'));
  second.peer.write('half of a body');
  await eventually('half', () => to.bytes > 0);
  first.peer.write('x');
  second.peer.resetAndDestroy();
  await eventually('the reset', () => to.isOver);
  t.same([to.text, to.calls], ['half of a body', ['broken ECONNRESET']]);

  const ending = await connected();
  const last = hear(ending.end);
  ending.peer.write('half of a body');
  await eventually('half', () => last.bytes > 0);
  ending.peer.resetAndDestroy();
  ending.end.end();
  t.same(last.calls, [], 'not in the midst of ending');
  await eventually('the reset', () => last.isOver);
  t.same([last.text, last.calls], ['half of a body', ['broken ECONNRESET']], 'why it could not end');
});

t.test('bytes behind urgent data are read, though no edge comes for them', async (t) => {
  const { accepted, port } = await endsOf(t, byHand());
  const program = `$s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:${port}") or die;
    send($s, "before!", MSG_OOB); send($s, "behind", 0);
    $| = 1; print "sent"; <STDIN>;`;
  const next = accepted();
  const sender = spawn('perl', ['-MIO::Socket::INET', '-MSocket', '-e', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.teardown(() => sender.kill());
  const missing = once(sender, 'error').then(() => 'missing');
  // Both have come before anybody reads.
  if ((await within('both', Promise.race([missing, once(sender.stdout, 'data')]))) === 'missing') {
    t.pass('sends urgent data', { skip: 'no perl: apt-get install perl' });
    return;
  }
  const end = await within('a connection', next);
  await turns();
  const heard = hear(end);
  await eventually('what is behind', () => heard.text === 'beforebehind');
  t.same(heard.calls, []);
});

t.test('hundreds of sockets that are ready in one turn are all told, each of its own', async (t) => {
  const { connected } = await endsOf(t, byHand());
  const all = await Promise.all(Array.from({ length: 500 }, () => connected()));
  const heard = all.map(({ end }) => hear(end));
  // Accepted in whatever order: what belongs together is found by what is said.
  for (const [index, { peer }] of all.entries()) {
    peer.write(`${index}`);
    if (index % 3 === 0) peer.end();
  }
  await eventually('all of them', () => heard.every(({ bytes }) => bytes > 0));
  const texts = heard.map(({ text }) => Number(text)).sort((a, b) => a - b);
  t.same(texts, [...all.keys()]);
  await eventually('the ends', () => heard.filter(({ calls }) => calls.includes('end')).length >= 167);
  for (const { text, calls } of heard) t.same(calls, Number(text) % 3 === 0 ? ['end'] : []);
});

t.test('a socket that was closed in this turn is told nothing, nor is who has its number now', async (t) => {
  const deaf = await deafListener(t);
  const { connected } = await endsOf(t, byHand());
  const [first, second] = [await connected(), await connected()];
  const heard = [hear(first.end), hear(second.end)] as const;
  await turns();
  let decided = 0;
  let next: TcpEnd | undefined;
  // Whoever is told first closes the other, and makes a socket, which gets the number.
  const takeOver = (other: TcpEnd) => () => {
    if (next !== undefined) return;
    other.reset();
    const fd = createSocket({ family: 4 });
    connectSocket(fd, deaf.ip, deaf.port);
    next = new TcpEnd(fd, 'upstream', systemClock, () => decided++);
  };
  heard[0].onData = takeOver(second.end);
  heard[1].onData = takeOver(first.end);
  first.peer.write('x');
  second.peer.write('x');
  await eventually('one of them', () => next !== undefined);
  await turns(5);
  t.equal(heard[0].bytes + heard[1].bytes, 1, 'the other was told nothing');
  t.equal(decided, 0, 'nothing is known of the new one');
  next?.reset();
});

t.test('one that always has something to read gives others their turn', async (t) => {
  const { connected } = await endsOf(t, byHand());
  const { end, peer } = await connected();
  const reads = new TurnCounter();
  const heard = new Heard();
  heard.onData = () => {
    heard.chunks.length = 0;
    reads.count();
  };
  // Much of it is in the kernel before the first read.
  peer.end(Buffer.alloc(16 * mib));
  await turns(5);
  reads.start();
  end.start(heard);
  await eventually('the end', () => heard.calls.includes('end'));
  reads.stop();
  t.equal(heard.bytes, 16 * mib);
  t.ok(reads.most > 2 && reads.most <= 8, `at most four reads in each phase of a turn: ${reads.most}`);
});

t.test(
  'many that always have something to read leave the rest of the loop its turn, and each other theirs',
  async (t) => {
    const { connected } = await endsOf(t, byHand());
    const all = await Promise.all(Array.from({ length: 100 }, () => connected()));
    for (const { peer } of all) peer.end(Buffer.alloc(mib));
    await turns(5);
    const reads = new TurnCounter();
    let ahead = 0;
    const heard = all.map(() => new Heard());
    for (const each of heard) {
      each.onData = () => {
        each.chunks.length = 0;
        reads.count();
        if (each.bytes > mib / 2 && heard.some(({ bytes }) => bytes === 0)) ahead++;
      };
    }
    reads.start();
    for (const [index, { end }] of all.entries()) end.start(heard[index] as Heard);
    await eventually('the ends', () => heard.every(({ calls }) => calls.includes('end')));
    reads.stop();
    t.ok(heard.every(({ bytes }) => bytes === mib));
    t.equal(ahead, 0, 'none has half of its bytes before all have begun');
    t.ok(reads.most > 64 && reads.most <= 256, `no more than 128 reads in each phase of a turn: ${reads.most}`);
  },
);

t.test('who comes and resets at once, many times over, leaves nothing', async (t) => {
  const limits = descriptorLimits();
  const used = descriptorUse(limits).used;
  const open = openDescriptors();
  const ends: TcpEnd[] = [];
  let gone = 0;
  const { port } = await endsOf(t, (fd) => {
    const end = byHand()(fd);
    end.onGone(() => gone++);
    ends.push(end);
    // Half of them are gone before anybody asks for their bytes.
    if (ends.length % 2 === 0) hear(end);
    return end;
  });
  const withListener = openDescriptors();
  for (let round = 0; round < 10; round++) {
    const peers = Array.from({ length: 50 }, () => connect(port, '127.0.0.1').on('error', () => {}));
    for (const [index, peer] of peers.entries()) {
      peer.once('connect', () => {
        if (index % 2 === 0) peer.write('x');
        peer.resetAndDestroy();
      });
    }
    await Promise.all(peers.map((peer) => within('closed', once(peer, 'close'))));
  }
  await eventually('all of them', () => ends.length === 500 && gone === 500);
  await eventually('no descriptor', () => openDescriptors() <= withListener);
  t.ok(withListener - open <= 2);
  t.equal(descriptorUse(limits).used, used);
});

t.test('what its owner cuts is told to who has its bytes, once', async (t) => {
  const { connected } = await endsOf(t, byHand());
  const { end, peer } = await connected();
  const heard = hear(end);
  const atPeer = readAll(peer);
  end.cut();
  end.cut();
  t.same(heard.calls, ['broken undefined']);
  t.match(heard.errors[0], { code: 'NET_RESET', origin: 'upstream' });
  t.ok(heard.errors[0] instanceof AmbitError);
  t.equal((await within('the reset', atPeer)).how, 'reset');
});

t.test('addresses are canonical, also of IPv4 clients of an IPv6 listener, and unknown of who has gone', async (t) => {
  const { accepted, port } = await endsOf(t, byHand(), '::');
  for (const ip of ['127.0.0.1', '::1']) {
    const next = accepted();
    const peer = connect(port, ip).on('error', () => {});
    t.teardown(() => peer.destroy());
    await once(peer, 'connect');
    const end = await within('accept', next);
    t.same(end.addresses, { local: { ip, port }, peer: { ip, port: peer.localPort } });
    end.reset();
    t.equal(end.addresses, undefined);
    t.equal(end.originalDestination, undefined);
  }
});

t.test("what cannot be polled stays its caller's, and is not counted", async (t) => {
  const limits = descriptorLimits();
  const { used } = descriptorUse(limits);
  const file = openSync(import.meta.filename, 'r');
  t.throws(() => new TcpEnd(file, 'upstream', systemClock), { code: 'EPERM', syscall: 'epoll_ctl' });
  t.equal(descriptorUse(limits).used, used);
  closeFd(file);
});

const prelude = `
  import { connect } from 'node:net';
  import { parentPort, Worker, isMainThread } from 'node:worker_threads';
  import { systemClock } from '${new URL('../../../src/base/clock.ts', import.meta.url).href}';
  import { listen } from '${new URL('../../../src/net/listener.ts', import.meta.url).href}';
  import { TcpEnd } from '${new URL('../../../src/net/tcp-end.ts', import.meta.url).href}';
  const spec = { ip: '127.0.0.1', port: 0, transparent: false, reusePort: false, redirected: false };
  const handler = { data() {}, end() {}, drain() {}, closed() {}, broken() {} };
  const ends = [];
  let onEnd = () => {};
  const listening = await listen(spec, { clock: systemClock, onSocket() {}, onDescriptor(fd) {
    ends.push(new TcpEnd(fd, 'downstream', systemClock));
    onEnd(ends.at(-1));
  } });
`;

/** How a program of its own ended, and what it said. */
async function run(program: string) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', prelude + program], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => output.push(String(text)));
  }
  t.teardown(() => child.kill());
  const [code, signal] = await within('the end of a program', once(child, 'close'), 20_000);
  return { code, signal, output: output.join('') };
}

t.test('an open end keeps its program alive, and nothing does when all are closed', async (t) => {
  const ended = await run(`
    const peer = connect(listening.address.port, '127.0.0.1').on('error', () => {});
    peer.unref();
    onEnd = (end) => {
      listening.destroy();
      end.start(handler);
      setTimeout(() => { console.log('alive'); end.reset(); }, 100).unref();
    };
    process.on('exit', () => console.log('exit', ends[0].gone));
  `);
  t.match(ended, { code: 0, output: 'alive\nexit true\n' });
});

t.test('what a handler throws is an uncaught exception, and costs the others of its turn nothing', async (t) => {
  const ended = await run(`
    process.on('uncaughtException', (error) => console.log('uncaught', error.message));
    let told = 0;
    const peers = [];
    onEnd = (end) => {
      end.start({ ...handler, data() {
        if (++told === 1) throw new Error('from a handler');
        if (told === 20) setImmediate(() => { console.log('all told'); process.exit(0); });
      } });
      if (ends.length === 20) for (const peer of peers) peer.write('x');
    };
    for (let left = 20; left > 0; left--) peers.push(connect(listening.address.port, '127.0.0.1').on('error', () => {}));
  `);
  t.match(ended, { code: 0, output: 'uncaught from a handler\nall told\n' });
});
