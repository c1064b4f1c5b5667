/** The client against an agent on a real SEQPACKET socket: order, descriptors, refusals, breaches, reconnection. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  closeFd,
  openNamespace,
  seqpacketAccept,
  seqpacketListen,
  seqpacketReceive,
  seqpacketSend,
} from 'node-tproxy-native';
import t, { type Test } from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import type { AmbitError } from '../../../src/base/errors.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { PodManager } from '../../../src/inpod/pod-manager.ts';
import { ZdsClient } from '../../../src/inpod/zds-client.ts';
import { WorkloadRequestSchema, WorkloadResponseSchema, ZdsHelloSchema } from '../../../src/proto/gen/zds_pb.js';
import { eventually } from '../../support/eventually.ts';

type Payload = NonNullable<MessageInitShape<typeof WorkloadRequestSchema>['payload']>;

const info = { name: 'sleep', namespace: 'default', serviceAccount: 'sleep' };

class Agent {
  readonly path: string;
  readonly #listener: number;
  #fd = -1;

  constructor(t: Test) {
    const folder = mkdtempSync(join(tmpdir(), 'ambit-zds-'));
    this.path = join(folder, 'zds');
    this.#listener = seqpacketListen(this.path, 4);
    t.teardown(() => {
      this.hangUp();
      closeFd(this.#listener);
      rmSync(folder, { recursive: true });
    });
  }

  /** Accepts the next connection and reads its hello. */
  async accept(): Promise<number> {
    this.#fd = await eventually('a connection', () => seqpacketAccept(this.#listener));
    return fromBinary(ZdsHelloSchema, (await this.#receive()).data).version;
  }

  async ask(payload: Payload, fds: readonly number[] = []): Promise<string> {
    return await this.send(toBinary(WorkloadRequestSchema, create(WorkloadRequestSchema, { payload })), fds);
  }

  async send(bytes: Uint8Array, fds: readonly number[] = []): Promise<string> {
    seqpacketSend(this.#fd, bytes, fds);
    for (const fd of fds) closeFd(fd);
    const { data } = await this.#receive();
    const { payload } = fromBinary(WorkloadResponseSchema, data);
    return payload.case === 'ack' ? payload.value.error : 'no ack';
  }

  async hungUp(): Promise<boolean> {
    return (await this.#receive()).eof;
  }

  hangUp(): void {
    if (this.#fd >= 0) closeFd(this.#fd);
    this.#fd = -1;
  }

  async #receive() {
    return await eventually('a record', () => seqpacketReceive(this.#fd, 4096, 1));
  }
}

function setup(t: Test) {
  const agent = new Agent(t);
  const started: string[] = [];
  const ended: string[] = [];
  const fatal: AmbitError[] = [];
  const pods = new PodManager({
    clock: systemClock,
    logger: silentLogger,
    metrics: unscrapedMetrics,
    startProxy: async ({ uid }) => {
      if (uid === 'broken') throw new Error('cannot listen');
      started.push(uid);
      return { destroy: () => ended.push(uid) };
    },
  });
  const client = new ZdsClient({
    path: agent.path,
    pods,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    onFatal: (error) => fatal.push(error),
  });
  t.teardown(() => {
    client.close();
    pods.close();
  });
  client.start();
  return { agent, pods, started, ended, fatal };
}

const add = (uid: string): Payload => ({ case: 'add', value: { uid, workloadInfo: info } });
const openDescriptors = () => readdirSync('/proc/self/fd').length;
const ownNamespace = () => [openNamespace('/proc/self/ns/net')];

t.test('hello, pods, snapshot, removal: each acknowledged, a failure with its reason', async (t) => {
  const { agent, pods, started, ended } = setup(t);
  t.equal(await agent.accept(), 1);
  t.equal(await agent.ask(add('u1'), ownNamespace()), '');
  t.match(await agent.ask(add('broken'), ownNamespace()), /pod default\/sleep: cannot listen/);
  t.equal(await agent.ask({ case: 'snapshotSent', value: {} }), '');
  t.strictSame(pods.pending(), ['workload proxy manager']);
  t.equal(await agent.ask({ case: 'del', value: { uid: 'broken' } }), '');
  t.strictSame(pods.pending(), []);
  t.equal(await agent.ask({ case: 'del', value: { uid: 'u1' } }), '');
  t.strictSame([started, ended], [['u1'], ['u1']]);
});

t.test('after a lost connection pods live on and the next snapshot settles what stays', async (t) => {
  const { agent, started, ended } = setup(t);
  await agent.accept();
  await agent.ask(add('u1'), ownNamespace());
  await agent.ask(add('u2'), ownNamespace());
  await agent.ask({ case: 'snapshotSent', value: {} });
  agent.hangUp();
  await agent.accept();
  t.strictSame(ended, []);
  t.equal(await agent.ask({ case: 'keep', value: { uid: 'u2' } }), '');
  t.equal(await agent.ask({ case: 'snapshotSent', value: {} }), '');
  t.strictSame([started, ended], [['u1', 'u2'], ['u1']]);
});

t.test(
  'what cannot be read, and a missing or superfluous descriptor, is refused and the connection made anew',
  async (t) => {
    const { agent, fatal } = setup(t);
    const wrong: (() => Promise<string>)[] = [
      () => agent.send(Uint8Array.of(0xff, 0xff, 0xff)),
      () => agent.send(new Uint8Array(5000), ownNamespace()),
      () => agent.ask(add('u1')),
      () => agent.ask({ case: 'snapshotSent', value: {} }, ownNamespace()),
      () => agent.ask(add('u1'), [...ownNamespace(), ...ownNamespace()]),
    ];
    const before = openDescriptors();
    for (const attempt of wrong) {
      await agent.accept();
      t.not(await attempt(), '');
      t.ok(await agent.hungUp());
      agent.hangUp();
    }
    t.strictSame(fatal, []);
    await agent.accept();
    t.equal(openDescriptors(), before + 1, 'our end of the new connection, and none of what was refused');
  },
);

t.test('a breach of the protocol’s order is told to the agent and ends the process', async (t) => {
  const breaches: ((agent: Agent) => Promise<string>)[] = [
    (agent) => agent.ask({ case: 'add', value: { uid: 'u1' } }, ownNamespace()),
    // A payload of a later version of the protocol: field 9.
    (agent) => agent.send(Uint8Array.of(0x4a, 0x00)),
    async (agent) => {
      await agent.ask({ case: 'snapshotSent', value: {} });
      return await agent.ask({ case: 'snapshotSent', value: {} });
    },
    async (agent) => {
      await agent.ask({ case: 'snapshotSent', value: {} });
      return await agent.ask({ case: 'keep', value: { uid: 'u1' } });
    },
  ];
  for (const breach of breaches) {
    const { agent, fatal } = setup(t);
    await agent.accept();
    t.match(await breach(agent), /the node agent broke the protocol/);
    await eventually('the end', () => fatal.length === 1);
    t.equal(fatal[0]?.code, 'INPOD_PROTOCOL');
  }
});
