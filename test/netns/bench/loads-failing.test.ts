/** What the bench's loads make of an origin that fails: errors by name, none lost, and no stall hidden. */
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { type PortName, ports } from '../../../bench/model.ts';
import { createLab, type Lab } from '../../../src/lab/lab.ts';
import { listenIn } from '../../../src/lab/sockets.ts';
import { canRunLoads, plainTopology, plainTurn, ratePerSecond, smallLoad, smallLoads } from './loads-lab.ts';

t.setTimeout(120_000);

if (await canRunLoads()) {
  const lab = await createLab({ topology: plainTopology(), apps: false });
  t.teardown(() => lab.close());
  const run = (key: string) => smallLoad(key).run(plainTurn(lab, 'failing'));

  t.test('an origin that refuses gives errors', async (t) => {
    for (const { key } of smallLoads) {
      const { units, errors, causes } = await run(key);
      t.equal(units, 0, key);
      t.ok(errors > 0, `${key}: ${JSON.stringify(causes)}`);
    }
  });

  t.test('an origin that closes without an answer gives errors', async (t) => {
    for (const port of ['http', 'h2c', 'echo', 'bulk'] as const)
      await listen(t, lab, port, (socket) => socket.destroy());
    for (const { key } of smallLoads) {
      const { units, errors, causes } = await run(key);
      t.equal(units, 0, key);
      t.ok(errors > 0, `${key}: ${JSON.stringify(causes)}`);
    }
  });

  t.test('an origin that never answers gives errors', async (t) => {
    await listen(t, lab, 'http', (socket) => socket.resume());
    await listen(t, lab, 'echo', (socket) => socket.resume());
    for (const key of ['fixed-rate', 'connections', 'ping-pong', 'requests-32'] as const) {
      const result = await run(key);
      t.equal(result.units, 0, key);
      t.ok(result.errors > 0, `${key}: ${JSON.stringify(result.causes)}`);
    }
  });

  t.test('bytes other than those sent are errors', async (t) => {
    await listen(t, lab, 'echo', (socket) => void socket.on('data', () => socket.write('no')));
    for (const key of ['connections', 'ping-pong'] as const) {
      const result = await run(key);
      t.ok((result.causes?.['wrong answer'] ?? 0) > 0, `${key}: ${JSON.stringify(result.causes)}`);
    }
  });

  t.test('answers other than 2xx are errors', async (t) => {
    await listen(t, lab, 'http', (socket) =>
      answerEach(socket, async () => 'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno'),
    );
    const fixed = await run('fixed-rate');
    t.match(fixed, { units: 0, causes: { 'status: 503': ratePerSecond } });
    const closed = await run('requests-32');
    t.equal(closed.units, 0);
    t.ok((closed.causes?.status ?? 0) > 0);
  });

  t.test('at a fixed rate a stall delays all that was due meanwhile, not only what was under way', async (t) => {
    const stallMs = 200;
    let answered = 0;
    let stall = Promise.resolve();
    await listen(t, lab, 'http', (socket) =>
      answerEach(socket, async () => {
        answered++;
        if (answered === 200) stall = delay(stallMs);
        await stall;
        return 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
      }),
    );
    const { units, errors, latency } = await run('fixed-rate');
    t.match({ units, errors }, { units: ratePerSecond, errors: 0 });
    // A fifth of the requests were due during the stall, spread over it; only 32 of them found a connection.
    t.ok((latency?.p999Ms ?? 0) > stallMs * 0.9, `p99.9 is ${latency?.p999Ms} ms`);
    t.ok((latency?.p90Ms ?? 0) > stallMs * 0.3, `p90 is ${latency?.p90Ms} ms`);
  });

  t.test(
    'at a fixed rate the first answer on each connection, slow as it may be, is waited for and does not count',
    async (t) => {
      await listen(t, lab, 'http', (socket) => {
        let first = true;
        answerEach(socket, async () => {
          if (first) await delay(500);
          first = false;
          return 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
        });
      });
      const { units, errors, latency } = await run('fixed-rate');
      t.match({ units, errors }, { units: ratePerSecond, errors: 0 });
      t.ok((latency?.p999Ms ?? 500) < 400, `p99.9 is ${latency?.p999Ms} ms`);
    },
  );

  t.test('a connection that the origin closes between two requests is replaced', async (t) => {
    let connections = 0;
    await listen(t, lab, 'http', (socket) => {
      connections++;
      let left = 3;
      answerEach(socket, async () => {
        left--;
        if (left === 0) setImmediate(() => socket.end());
        return `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${left === 0 ? 'Connection: close\r\n' : ''}\r\nok`;
      });
    });
    t.match(await run('fixed-rate'), { units: ratePerSecond, errors: 0 });
    t.ok(connections >= ratePerSecond / 3, `${connections} connections`);
  });
}

/** In pod `failing`, until the test ends. */
async function listen(t: Test, lab: Lab, port: PortName, onConnection: (socket: Socket) => void): Promise<void> {
  const open = new Set<Socket>();
  const { server } = await listenIn(lab.namespace('failing'), { port: ports[port] }, (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
    socket.once('end', () => socket.end());
    onConnection(socket);
  });
  t.teardown(async () => {
    for (const socket of open) socket.destroy();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });
}

/** Answers each head of a request, in turn. */
function answerEach(socket: Socket, answer: () => Promise<string>): void {
  let text = '';
  let last = Promise.resolve();
  socket.setEncoding('latin1').on('data', (chunk) => {
    text += String(chunk);
    for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
      text = text.slice(end + 4);
      last = last.then(answer).then((bytes) => void socket.write(bytes));
    }
  });
}
