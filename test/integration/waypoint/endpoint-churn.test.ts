/** Zero failed requests while pods stop and start again under load, whoever is first: the mesh, or a pod that closes connections. */
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import t from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { makeChange } from '../../support/mesh-records.ts';
import { createHarness, podIp, podUid } from './harness.ts';

const podCount = 3;
const clientCount = 16;
const swapCount = 6;

/** Requests one after the other on one connection; each answers with its status, 0 for none. */
function keepAlive(stream: Duplex): () => Promise<number> {
  let text = '';
  let waiter: (status: number) => void = () => {};
  stream.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    if (!text.includes('\r\n\r\nhello') && !/ 50\d /.test(text)) return;
    const status = Number(text.slice(9, 12));
    text = '';
    waiter(status);
  });
  stream.on('close', () => waiter(0));
  return () =>
    new Promise((resolve) => {
      waiter = resolve;
      stream.write('GET / HTTP/1.1\r\nhost: productpage\r\n\r\n');
    });
}

/** Stops as a well-behaved server does: no new connections, and those that have served and are idle are closed at once. */
class Pod {
  readonly server = createServer((request, response) => {
    this.#idle.delete(request.socket);
    response.once('close', () => this.#rest(request.socket));
    response.end('hello');
  });
  readonly #idle = new Set<Socket>();
  #stopping = false;

  constructor() {
    this.server.on('connection', (socket) => socket.once('close', () => this.#idle.delete(socket)));
  }

  start(port: number, ip: string): Promise<void> {
    this.#stopping = false;
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(port, ip, () => resolve());
    });
  }

  /** From now on no connection is kept. */
  closeIdle(): void {
    this.#stopping = true;
    for (const socket of this.#idle) socket.end();
  }

  /** Not while clients still come: what the kernel has accepted for a listener that closes is lost (hence preStop hooks). */
  stop(): Promise<void> {
    this.closeIdle();
    return new Promise((resolve) => this.server.close(() => resolve()));
  }

  #rest(socket: Socket): void {
    if (this.#stopping) socket.end();
    else if (!socket.destroyed) this.#idle.add(socket);
  }
}

for (const [first, order] of [
  ['the mesh', 'mesh-first'],
  ['the pod', 'pod-first'],
] as const) {
  t.test(`${first} is first to know that a pod goes: no request of sixteen connections fails`, async (t) => {
    const pods = Array.from({ length: podCount }, () => new Pod());
    const servers = pods.map(({ server }) => server);
    const harness = await createHarness(t, { pods: servers.map(() => () => {}), servers });
    let done = false;
    let requests = 0;
    const failures: number[] = [];
    const clients = Array.from({ length: clientCount }, async () => {
      const ask = keepAlive(await harness.tunnel());
      while (!done) {
        const status = await ask();
        requests++;
        if (status !== 200) failures.push(status);
        if (status === 0) return;
      }
    });
    const meanwhile = async () => {
      const before = requests;
      await eventually('requests meanwhile', () => requests >= before + clientCount || failures.length > 0);
    };
    for (let swap = 0; swap < swapCount; swap++) {
      const index = swap % podCount;
      const record = harness.mesh.workload(podUid(index));
      const pod = pods[index];
      if (record === undefined || pod === undefined) throw new Error('no pod');
      const leave = () => harness.mesh.apply(makeChange({ removedWorkloads: [record.uid] }));
      if (order === 'pod-first') {
        pod.closeIdle();
        await meanwhile();
      }
      leave();
      await meanwhile();
      // Requests under way end by themselves; then nothing keeps the pod.
      await within('the pod to have stopped', pod.stop());
      await pod.start(harness.podPort, podIp(index));
      harness.mesh.apply(makeChange({ workloads: [{ ...record }] }));
      await meanwhile();
    }
    done = true;
    await Promise.all(clients);
    const reasons = harness.lines.flatMap((line) =>
      line.get('response_code') === 503 ? [[...line.values()].filter((value) => value !== undefined).join(' ')] : [],
    );
    t.same(failures, [], `of ${requests} requests`);
    t.same(reasons, []);
  });
}
