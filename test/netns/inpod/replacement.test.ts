/**
 * A node's ztunnel changes under traffic: replaced by another without a failed connection, killed and brought back, and pods
 * whose namespaces go while they are in use. Real programs and a node agent, listeners inside each pod.
 */
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import type { Socket } from 'node:net';
import t from 'tap';
import { bookinfoTopology } from '../../../src/lab/bookinfo.ts';
import type { LabProcess } from '../../../src/lab/process.ts';
import { connectFrom, listenIn } from '../../../src/lab/sockets.ts';
import { eventually, within } from '../../support/eventually.ts';
import { insideLab } from '../lab/inside.ts';
import { startLabZtunnels } from '../ztunnel/lab-ztunnels.ts';

const productpage = { host: '10.96.179.71', port: 9080 } as const;
const request = 'GET /health HTTP/1.1\r\nHost: productpage\r\n';

t.setTimeout(240_000);

if (await insideLab()) {
  const { lab, lines, mark, processes, start, ask } = await startLabZtunnels(t, {
    topology: bookinfoTopology(),
    preset: 'modern',
    redirection: { mode: 'inpod' },
    environment: {
      // Two ztunnels of one node run at a time, here in one namespace; in a cluster each has its own.
      AMBIT_ADMIN_PORT: '0',
      AMBIT_METRICS_PORT: '0',
      AMBIT_READINESS_PORT: '0',
      CONNECTION_TERMINATION_DEADLINE: '8s',
    },
  });
  // Whose connections may be silent for as long as they like.
  const echoPod = lab.pod('productpage');
  const echo = await listenIn(lab.namespace(echoPod.name), { port: 7000 }, (socket) => socket.pipe(socket));
  t.teardown(() => echo.server.close());
  const connect = () => connectFrom(lab.namespace('sleep'), { ...productpage, deadlineMs: 10_000 });

  for (const node of ['node-a', 'node-b']) {
    t.test(`the ztunnel of ${node} is replaced, and of all connections meanwhile none fails`, async (t) => {
      const old = processOf(node);
      const before = mark(node);
      const long = await connectFrom(lab.namespace('sleep'), { host: echoPod.ip, port: echo.port });
      t.teardown(() => long.destroy());
      t.equal(await exchange(long, 'before'), 'before');
      const load = new Load(connect, 8);
      t.teardown(() => load.stop());
      await eventually('load on the old one', () => load.answered >= 50, 20_000);
      await start(node);
      const leaving = load.answered;
      old.signal('SIGTERM');
      await eventually('more of it while the old one leaves', () => load.answered >= leaving + 30, 20_000);
      t.equal(await exchange(long, 'meanwhile'), 'meanwhile', 'what was there goes on, through the old one');
      t.ok(old.running, 'which lives for as long as that does');
      await eventually('as much again on the new one', () => load.answered >= leaving + 150, 20_000);
      await load.stop();
      t.same(load.failures, [], `${load.answered} connections`);
      const cut = new Promise((resolve) => long.once('close', resolve));
      await within('the end of the long one at the deadline', cut, 15_000);
      t.equal((await within('the old one’s end', old.exited)).code, 0);
      const reasons = lines(node, before).filter(({ error }) => error === 'connection closed due to connection drain');
      t.equal(reasons.length, 1, 'it says why, once');
    });
  }

  t.test('without a ztunnel nothing passes; with it again everything does', async (t) => {
    const killed = processOf('node-b');
    killed.signal('SIGKILL');
    await within('its end', killed.exited);
    for (const [from, host] of [
      ['sleep', '10.244.2.4'],
      ['control', '10.244.2.4'],
    ] as const) {
      const answer = await ask1(from, host).catch((error: unknown) => `failed: ${String(error)}`);
      t.notMatch(answer, /200/, `${from} gets no answer`);
    }
    await start('node-b');
    await eventually('served again', async () => /^HTTP\/1\.1 200/.test(await once1(connect)), 20_000);
  });

  t.test('pods whose namespaces go under traffic leave nothing behind', async (t) => {
    const ztunnel = processOf('node-b');
    const quiet = () => liveConnections('node-b');
    await eventually('no connection', async () => (await quiet()) === 0);
    const pod = lab.pod('ratings');
    // What is pooled and loaded on first use is there.
    await lab.removePod('ratings');
    const baseline = descriptors(ztunnel);
    for (let round = 0; round < 3; round++) {
      await lab.addPod(pod);
      const toPod = () => connectFrom(lab.namespace('sleep'), { host: pod.ip, port: 9080, deadlineMs: 2000 });
      await eventually('it is served', async () => /^HTTP\/1\.1 200/.test(await once1(toPod)), 20_000);
      const load = new Load(toPod, 4);
      const idle = await Promise.all([1, 2, 3].map(toPod));
      await eventually('traffic', () => load.answered >= 20, 10_000);
      await lab.removePod('ratings');
      load.ending = true;
      for (const socket of idle) socket.destroy();
      await load.stop();
    }
    await eventually('descriptors as before', () => descriptors(ztunnel) <= baseline + 2, 15_000);
    await eventually('no connection is left', async () => (await quiet()) === 0);
    t.ok(ztunnel.running);
    t.match(await once1(connect), /^HTTP\/1\.1 200/, 'its neighbours are as they were');
  });

  function processOf(node: string): LabProcess {
    const found = processes.get(node);
    if (found === undefined) throw new Error(`no ztunnel on ${node}`);
    return found;
  }

  async function ask1(pod: string, host: string): Promise<string> {
    return await once1(() => connectFrom(lab.namespace(pod), { host, port: 9080, deadlineMs: 1500 }));
  }

  async function liveConnections(node: string): Promise<number> {
    const { workloadState = {} } = JSON.parse(await ask(node, '/config_dump'));
    let live = 0;
    for (const { connections } of Object.values<{ connections: { inbound: unknown[]; outbound: unknown[] } }>(
      workloadState,
    )) {
      live += connections.inbound.length + connections.outbound.length;
    }
    return live;
  }
}

/** Sends some bytes and returns what comes back. */
async function exchange(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  const [answer] = await within('an answer', once(socket, 'data'), 10_000);
  return String(answer);
}

/** One connection, one request, and all of its answer. */
async function once1(connect: () => Promise<Socket>): Promise<string> {
  const socket = await connect();
  try {
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk;
    });
    const closed = new Promise<string>((resolve) => {
      socket.once('end', () => resolve(text));
      socket.once('error', (error) => resolve(`broken after ${text.length} bytes: ${error.message}`));
      socket.once('close', () => resolve(`closed after ${text.length} bytes`));
    });
    socket.write(`${request}Connection: close\r\n\r\n`);
    return await within('the answer', closed, 10_000);
  } finally {
    socket.destroy();
  }
}

/** New connections without a pause, so many at a time, until it is stopped. */
class Load {
  answered = 0;
  readonly failures: string[] = [];
  /** From now on failures are no news. */
  ending = false;
  readonly #connect: () => Promise<Socket>;
  readonly #workers: readonly Promise<void>[];
  #stopping = false;

  constructor(connect: () => Promise<Socket>, width: number) {
    this.#connect = connect;
    this.#workers = Array.from({ length: width }, () => this.#work());
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#workers);
  }

  async #work(): Promise<void> {
    while (!this.#stopping) {
      const answer = await once1(this.#connect).catch((error: unknown) => String(error));
      if (answer.startsWith('HTTP/1.1 200')) this.answered++;
      else if (!this.ending) this.failures.push(answer.slice(0, 200));
    }
  }
}

function descriptors(process: LabProcess): number {
  return readdirSync(`/proc/${process.pid}/fd`).length;
}
