/** Accepting by hand: a few a turn, none while told to wait, and none lost when a listener leaves its port to another. */
import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import process from 'node:process';
import t, { type Test } from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { type ListenHooks, type Listening, listen } from '../../../src/net/listener.ts';
import { eventually, within } from '../../support/eventually.ts';
import { onLoopback, tcpClient } from '../../support/relay-world.ts';
import { TurnCounter } from '../../support/turn-counter.ts';

function start(t: Test, onSocket: (socket: Socket) => void, more: Partial<ListenHooks> = {}, port = 0) {
  const spec = { ...onLoopback, port, reusePort: true };
  return listen(spec, { clock: systemClock, onSocket, ...more }).then((listening: Listening) => {
    t.teardown(() => listening.destroy());
    return listening;
  });
}

t.test('what comes at once is taken in portions, so that others get their turn', async (t) => {
  const taken = new TurnCounter();
  let open = false;
  const listening = await start(
    t,
    (socket) => {
      taken.count();
      socket.destroy();
    },
    { gate: { waitMs: () => (open ? 0 : 5) } },
  );
  await Promise.all(Array.from({ length: 100 }, () => tcpClient(t, listening.address)));
  t.equal(taken.counts.size, 0, 'a closed gate keeps them in the kernel’s queue');
  open = true;
  taken.start();
  await eventually('all are taken', () => [...taken.counts.values()].reduce((sum, each) => sum + each, 0) === 100);
  taken.stop();
  t.ok(taken.most <= 16, `at most ${taken.most} in a turn`);
});

t.test('close takes what is in the queue; destroy does not', async (t) => {
  const taken: Socket[] = [];
  const waiting = { gate: { waitMs: () => 60_000 } };
  const listening = await start(t, (socket) => taken.push(socket.resume()), waiting);
  const clients = await Promise.all([1, 2, 3].map(() => tcpClient(t, listening.address)));
  await within('closed', listening.close());
  t.equal(taken.length, 3);
  for (const client of clients) client.end('bye');
  await eventually('they are connections like others', () => taken.every((socket) => socket.readableEnded));
  for (const socket of taken) socket.destroy();
  const other = await start(t, () => {}, waiting);
  const client = await tcpClient(t, other.address);
  const closed = new Promise((resolve) => client.once('close', resolve));
  other.destroy();
  await within('its reset', closed);
});

/** Opens connections without a pause, `width` at a time, and says how many were answered. */
const hammer = `
const { connect } = require('node:net');
const [port, total, width] = process.argv.slice(1).map(Number);
let begun = 0, answered = 0, failed = 0;
function next() {
  if (begun === total) {
    if (answered + failed === total) console.log(JSON.stringify({ answered, failed }));
    return;
  }
  begun++;
  let data = '';
  const socket = connect(port, '127.0.0.1');
  socket.on('data', (chunk) => { data += chunk; }).on('error', () => {});
  socket.on('close', () => { if (data === 'yes') answered++; else failed++; next(); });
}
for (let i = 0; i < width; i++) next();
`;

t.test('of many clients none fails while one listener after another leaves the port', async (t) => {
  const answer = (socket: Socket) => void socket.resume().end('yes');
  let current = await start(t, answer);
  const { port } = current.address;
  const child = spawn(process.execPath, ['-e', hammer, String(port), '1500', '24'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let result: { answered: number; failed: number } | undefined;
  child.stdout.once('data', (chunk: Buffer) => {
    result = JSON.parse(String(chunk));
  });
  let replacements = 0;
  while (result === undefined && replacements < 40) {
    const next = await start(t, answer, {}, port);
    await current.close();
    current = next;
    replacements++;
  }
  await eventually('all clients', () => result !== undefined, 20_000);
  t.same(result, { answered: 1500, failed: 0 }, `${replacements} replacements`);
  t.ok(replacements >= 2);
});
