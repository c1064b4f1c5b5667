/** TCP driven by hand: what a peer may do at any moment, and what the kernel tells only once. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { byHand, endsOf, hear, turns } from '../../support/tcp-ends.ts';

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
  await turns();
  first.peer.write('x');
  second.peer.write('half of a body');
  second.peer.resetAndDestroy();
  await eventually('the reset', () => to.isOver);
  t.same(to.calls, ['broken ECONNRESET']);
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
