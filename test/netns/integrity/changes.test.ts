/**
 * What changes under running traffic: certificates, pods, and the proxies themselves. Nobody who is not concerned may
 * notice, and what has to end ends properly.
 */
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import path from 'node:path';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { connect as secure } from 'node:tls';
import t, { type Test } from 'tap';
import { legacyPreset, modernPreset, type Preset } from '../../../src/config/preset.ts';
import { connectFrom } from '../../../src/lab/sockets.ts';
import { eventually, within } from '../../support/eventually.ts';
import { insideLab } from '../lab/inside.ts';
import { readAll } from './streams.ts';
import {
  httpPort,
  pair,
  podText,
  type ServiceName,
  shopLabels,
  startWorld,
  tcpPort,
  vips,
  type World,
} from './world.ts';

/** Renewed at half of it, so that one test sees several generations, and what the first one made outlives it. */
const certificateLife = '6s';
const rotationMs = 12_000;
const rotationDeadlineMs = 36_000;

// Said before the lab is entered: the program outside waits as long as the one inside works.
t.setTimeout(240_000);
// Their worlds are apart, and mostly wait.
t.jobs = 2;

if (await insideLab()) {
  for (const preset of [legacyPreset, modernPreset]) {
    t.test(`under the preset ${preset.name}`, async (t) => {
      const environment = { '*': { SECRET_TTL: certificateLife } };
      const world = await startWorld({ preset, directory: t.testdir(), environment });
      t.teardown(() => world.close());
      await rotation(t, world, preset);
      await podChanges(t, world, preset);
      await drains(t, world);
    });
  }
}

async function rotation(t: Test, world: World, preset: Preset): Promise<void> {
  await t.test('certificates are renewed and no connection notices', async (t) => {
    const echoes = await Promise.all(
      (['plain', 'shop'] as const).map((service) => world.listen(service, tcpPort, (socket) => socket.pipe(socket))),
    );
    const http = await httpEcho(world, 'shop');
    const listeners = { plain: ['10.244.2.5', 15008], shop: ['10.244.1.8', preset.waypointPort] } as const;
    const serials = { plain: new Set<string>(), shop: new Set<string>() };
    const kept = await Promise.all((['plain', 'shop'] as const).map((service) => world.connect(service)));
    const agent = new PodAgent(world, true);
    const startedMs = performance.now();
    const counts = { rounds: 0, requests: 0, failures: [] as string[] };
    const enough = () => counts.rounds > 20 && serials.plain.size >= 3 && serials.shop.size >= 3;
    for (let ms = 0; ms < rotationMs || (ms < rotationDeadlineMs && !enough()); ms = performance.now() - startedMs) {
      counts.rounds++;
      const outcomes = await Promise.allSettled([
        ...kept.map((socket, index) => echoed(socket, `kept ${index} round ${counts.rounds}`)),
        ...(['plain', 'shop'] as const).map((service) => freshEcho(world, service, `fresh round ${counts.rounds}`)),
        served(world, undefined),
        served(world, agent),
      ]);
      counts.requests += outcomes.length;
      for (const outcome of outcomes) if (outcome.status === 'rejected') counts.failures.push(String(outcome.reason));
      for (const service of ['plain', 'shop'] as const) {
        const [host, port] = listeners[service];
        serials[service].add(await shownSerial(world, host, port));
      }
      await delay(50);
    }
    t.ok(counts.rounds > 20, `${counts.requests} exchanges in ${counts.rounds} rounds`);
    t.same(counts.failures, []);
    t.ok(serials.plain.size >= 3, `ztunnel showed ${serials.plain.size} certificates`);
    t.ok(serials.shop.size >= 3, `the waypoint showed ${serials.shop.size} certificates`);
    agent.destroy();
    for (const socket of kept) socket.destroy();
    await Promise.all([...echoes, http].map((listening) => listening.close()));
  });
}

/** Rejects unless `shop` answers 200. */
async function served(world: World, agent: Agent | undefined): Promise<void> {
  const { status, body } = await get(world, agent === undefined ? {} : { agent });
  if (status !== 200) throw new Error(`status ${status}: ${body}`);
}

/** The certificate's serial number that somebody without any is shown. */
async function shownSerial(world: World, host: string, port: number): Promise<string> {
  const socket = await connectFrom(world.mesh.lab.namespace('outsider'), { host, port });
  const tls = secure({ socket, rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  tls.on('error', () => {});
  const shown = new Promise<string>((resolve, reject) => {
    tls.once('secureConnect', () => resolve(tls.getPeerX509Certificate()?.serialNumber ?? 'none'));
    tls.once('close', () => reject(new Error('no certificate was shown')));
  });
  try {
    return await within(`a handshake with ${host}:${port}`, shown);
  } finally {
    tls.destroy();
    socket.destroy();
  }
}

async function podChanges(t: Test, world: World, preset: Preset): Promise<void> {
  await t.test('a pod that comes and goes takes its share of requests and fails none', async (t) => {
    const second = { name: 'shop-second', ip: '10.244.2.7', node: 'node-b', serviceAccount: 'shop' } as const;
    const labels = shopLabels(preset);
    const file = path.join(world.mesh.folder, 'second.yaml');
    const first = await httpEcho(world, 'shop');
    t.teardown(() => first.close());
    const traffic = new Traffic(world);
    t.teardown(() => traffic.stop());
    await eventually('traffic flows', () => traffic.answered.get('shop'));

    await world.mesh.lab.addPod({ ...second, namespace: 'default', labels, captured: true });
    const held: ServerResponse[] = [];
    const added = await httpEcho(world, second.name, (response) => held.push(response));
    t.teardown(() => added.close());
    replaceFile(file, podText({ ...second, labels }));
    await eventually('the new pod gets requests', () => (traffic.answered.get(second.name) ?? 0) > 10, 10_000);
    const holding = holdAt(world, second.name);
    const response = await eventually('the new pod holds a request', () => held[0]);

    replaceFile(file, podText({ ...second, labels, ready: false }));
    await eventually(
      'the new pod gets no more requests',
      async () => {
        const before = traffic.answered.get(second.name);
        const others = traffic.answered.get('shop') ?? 0;
        await eventually('others do', () => (traffic.answered.get('shop') ?? 0) > others + 30);
        return traffic.answered.get(second.name) === before;
      },
      10_000,
    );
    response.end(second.name);
    t.match(await within('the held request', holding), { status: 200, body: second.name });

    const direct = await connectFrom(world.mesh.lab.namespace('client'), { host: second.ip, port: httpPort });
    const ended = readAll(direct);
    direct.write('GET /hold HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n');
    await eventually('the new pod holds another', () => held[1]);
    rmSync(file);
    const { bytes, how } = await within('the end of what the removed pod held', ended);
    t.ok(bytes > 0 || how === 'reset', `it ends as ${how} after ${bytes} bytes, never as an empty answer`);
    await added.close();
    await world.mesh.lab.removePod(second.name);
    const others = traffic.answered.get('shop') ?? 0;
    await eventually('others are served', () => (traffic.answered.get('shop') ?? 0) > others + 30);
    t.same(await traffic.stop(), [], 'no request has failed');
    direct.destroy();
    await first.close();
  });
}

async function drains(t: Test, world: World): Promise<void> {
  await t.test('a waypoint that is asked to end lets requests finish and takes no new ones', async (t) => {
    const held = Promise.withResolvers<ServerResponse>();
    const http = await httpEcho(world, 'shop', (response) => held.resolve(response));
    const echo = await world.listen('shop', tcpPort, (socket) => socket.pipe(socket));
    const socket = await world.connect('shop');
    await echoed(socket, 'before');
    const holding = get(world, { path: '/hold' });
    const response = await within('the held request', held.promise);
    const program = world.mesh.program('waypoint');
    program.signal('SIGTERM');
    await eventually('new connections are refused', () => refused(world, 'shop'));
    t.ok(program.running, 'and it waits for the old ones');
    await echoed(socket, 'while it ends');
    response.end('finished');
    t.match(await within('the answer', holding), { status: 200, body: 'finished' });
    socket.end();
    t.match(await within('its exit', program.exited, 8000), { code: 0, signal: null });
    t.ok(
      program.lines.some((line) => line.includes('"drained"')),
      'because all was done',
    );
    await restart(world, 'waypoint');
    t.match(await get(world), { status: 200 }, 'the next one serves');
    socket.destroy();
    await Promise.all([http.close(), echo.close()]);
  });

  for (const node of ['node-b', 'node-a'] as const) {
    await t.test(`a ztunnel of the ${node === 'node-b' ? 'server' : 'client'} lets connections finish`, async (t) => {
      const { client, server } = await pair(t, world, 'plain');
      const seen = readAll(client);
      server.write('before');
      const program = world.mesh.program(`ztunnel-${node}`);
      program.signal('SIGTERM');
      const others = await world.listen('plain', tcpPort, (socket) => socket.end('still here'));
      await eventually('new connections are refused', () => refused(world, 'plain'));
      await others.close();
      t.ok(program.running, 'and it waits for the old ones');
      server.end('while it ends');
      client.end();
      t.match(await within('the rest', seen), { bytes: 'beforewhile it ends'.length, how: 'fin' });
      t.match(await within('its exit', program.exited, 8000), { code: 0, signal: null });
      t.ok(
        program.lines.some((line) => line.includes('"drained"')),
        'because all was done',
      );
      await restart(world, `ztunnel-${node}`);
    });
  }

  await t.test('what never finishes is cut at the deadline, as a reset', async (t) => {
    const { client, server } = await pair(t, world, 'shop');
    const ends = [readAll(client), readAll(server)];
    const program = world.mesh.program('waypoint');
    program.signal('SIGTERM');
    const exit = await within('its exit', program.exited, 8000);
    t.match(exit, { code: 0, signal: null });
    for (const end of ends) t.equal((await within('the end', end)).how, 'reset');
    await restart(world, 'waypoint');
  });
}

/** Whether a new connection to the service comes to nothing. The server must answer something to what it gets. */
async function refused(world: World, service: ServiceName): Promise<boolean> {
  const target = { host: vips[service], port: tcpPort, deadlineMs: 1000 };
  // Under TPROXY nobody is there to refuse: the packets are dropped until another ztunnel listens.
  const socket = await connectFrom(world.mesh.lab.namespace('client'), target).catch(() => undefined);
  if (socket === undefined) return true;
  try {
    socket.write('anybody?');
    const answered = new Promise<boolean>((resolve) => socket.once('data', () => resolve(true)));
    return !(await within('an end', Promise.race([answered, readAll(socket).then(({ bytes }) => bytes > 0)])));
  } finally {
    socket.destroy();
  }
}

async function restart(world: World, name: string): Promise<void> {
  const { mesh } = world;
  const [place] = mesh.plan.waypoints;
  if (name === 'waypoint' && place !== undefined) await mesh.startWaypoint(place);
  else await mesh.startZtunnel(name.replace('ztunnel-', ''));
}

/** Requests to `shop`, one after the other in four lanes, until stopped. */
class Traffic {
  readonly answered = new Map<string, number>();
  readonly #failures: string[] = [];
  readonly #lanes: readonly Promise<void>[];
  #stopped = false;

  constructor(world: World) {
    this.#lanes = [0, 1, 2, 3].map((lane) => this.#run(world, lane % 2 === 0));
  }

  /** What failed. */
  async stop(): Promise<readonly string[]> {
    this.#stopped = true;
    await Promise.all(this.#lanes);
    return this.#failures;
  }

  async #run(world: World, keepAlive: boolean): Promise<void> {
    const agent = new PodAgent(world, keepAlive);
    while (!this.#stopped) {
      try {
        const { status, body } = await get(world, { agent });
        if (status !== 200) this.#failures.push(`${status} ${body}`);
        else this.answered.set(body, (this.answered.get(body) ?? 0) + 1);
      } catch (error) {
        this.#failures.push(String(error));
      }
    }
    agent.destroy();
  }
}

/** Asks `/hold` until the pod named has it; others answer at once. */
async function holdAt(world: World, pod: string): Promise<Answer> {
  for (;;) {
    const answer = await get(world, { path: `/hold/${pod}` });
    if (answer.body !== 'not here') return answer;
  }
}

/** Answers with the pod's name; `/hold` and `/hold/POD` are handed to `hold`. */
function httpEcho(world: World, pod: string, hold: (response: ServerResponse) => void = () => {}) {
  const server = createServer((incoming: IncomingMessage, response: ServerResponse) => {
    response.on('error', () => {});
    const { url } = incoming;
    if (url === '/hold' || url === `/hold/${pod}`) hold(response);
    else response.end(url?.startsWith('/hold/') ? 'not here' : pod);
  });
  server.keepAliveTimeout = 60_000;
  return world.listen(pod, httpPort, (socket) => server.emit('connection', socket));
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

/** Makes its connections in pod `client`, to `shop`. */
class PodAgent extends Agent {
  readonly #world: World;

  constructor(world: World, keepAlive: boolean) {
    super({ keepAlive, maxSockets: 1 });
    this.#world = world;
  }

  override createConnection(_: object, done: (error: Error | null, socket: Duplex) => void): undefined {
    this.#world.connect('shop', httpPort).then(
      (socket) => done(null, socket),
      (error: unknown) => done(error as Error, undefined as unknown as Duplex),
    );
  }
}

/** One request, over a connection of its own unless an agent keeps one. */
async function get(world: World, options: { readonly path?: string; readonly agent?: Agent } = {}): Promise<Answer> {
  const { path: target = '/', agent = new PodAgent(world, false) } = options;
  return await new Promise((resolve, reject) => {
    const sent = request({ host: 'shop', path: target, agent });
    sent.on('error', reject);
    sent.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.once('end', () => resolve({ status: response.statusCode ?? 0, body }));
      response.once('close', () => reject(new Error('the answer was cut')));
    });
    sent.end();
  });
}

async function freshEcho(world: World, service: ServiceName, text: string): Promise<void> {
  const socket = await world.connect(service);
  await echoed(socket, text);
  socket.destroy();
}

async function echoed(socket: Socket, text: string): Promise<void> {
  let got = '';
  const whole = new Promise<void>((resolve, reject) => {
    const take = (chunk: Buffer) => {
      got += chunk.toString();
      if (got.length < text.length) return;
      socket.off('data', take).off('close', closed);
      if (got === text) resolve();
      else reject(new Error(`${got} came back for ${text}`));
    };
    const closed = () => reject(new Error(`closed before ${text} came back`));
    socket.on('data', take).once('close', closed);
  });
  socket.write(text);
  await within(text, whole);
}

/** In one step, so that nobody reads half of it. */
function replaceFile(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}
