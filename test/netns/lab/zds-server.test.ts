/** The lab's node agent as a ztunnel meets it: snapshot with namespaces, then changes, each acknowledged. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  closeFd,
  namespaceIdentity,
  openNamespace,
  type SeqpacketRecord,
  seqpacketConnect,
  seqpacketReceive,
  seqpacketSend,
} from 'node-tproxy-native';
import t, { type Test } from 'tap';
import { oneNodeTopology } from '../../../src/lab/bookinfo.ts';
import { createLab, type Lab } from '../../../src/lab/lab.ts';
import { podUid } from '../../../src/lab/node-agents.ts';
import type { LabPod } from '../../../src/lab/topology.ts';
import {
  type WorkloadRequest,
  WorkloadRequestSchema,
  WorkloadResponseSchema,
  ZdsHelloSchema,
} from '../../../src/proto/gen/zds_pb.js';
import { eventually } from '../../support/eventually.ts';
import { insideLab } from './inside.ts';

if (await insideLab()) {
  t.test('a ztunnel is told of every captured pod with its own namespace, then of the end of the list', async (t) => {
    const lab = await startLab(t);
    const fd = connect(t, lab, 1);
    const uids: string[] = [];
    for (;;) {
      const { payload, fds } = await receive(fd);
      if (payload.case === 'snapshotSent') break;
      if (payload.case !== 'add') throw new Error(`unexpected ${payload.case}`);
      uids.push(payload.value.uid);
      const pod = lab.topology.pods.find((candidate) => podUid(candidate) === payload.value.uid);
      t.match(payload.value.workloadInfo, {
        name: pod?.name,
        namespace: 'default',
        serviceAccount: pod?.serviceAccount,
      });
      t.equal(fds.length, 1);
      const own = openNamespace(lab.namespace(pod?.name ?? '').path);
      t.same(namespaceIdentity(fds[0] ?? -1), namespaceIdentity(own));
      for (const opened of [own, ...fds]) closeFd(opened);
      acknowledge(fd);
    }
    acknowledge(fd);
    await lab.agents.of('node-a').snapshotAcknowledged();
    const captured = lab.topology.pods.filter((pod) => pod.captured).map((pod) => podUid(pod));
    t.same(uids.sort(), captured.sort());
  });

  t.test('a pod that comes and goes is added and removed; a refusal is an outcome', async (t) => {
    const lab = await startLab(t);
    const fd = connect(t, lab, 1);
    await takeSnapshot(fd);
    const pod: LabPod = { ...lab.pod('sleep'), name: 'late', ip: '10.244.1.99' };
    const adding = lab.addPod(pod);
    const { payload, fds } = await receive(fd);
    t.match(payload, { case: 'add', value: { uid: 'default/late' } });
    for (const opened of fds) closeFd(opened);
    acknowledge(fd, 'no more room');
    await adding;
    const removing = lab.removePod('late');
    t.match((await receive(fd)).payload, { case: 'del', value: { uid: 'default/late' } });
    acknowledge(fd);
    await removing;
    t.equal(lab.agents.of('node-a').connections.length, 1, 'a refusal leaves the connection as it is');
  });

  t.test('a hello in another version ends the connection', async (t) => {
    const lab = await startLab(t);
    const fd = connect(t, lab, 7);
    const record = await eventually('the end', () => seqpacketReceive(fd, 4096, 1));
    t.ok(record.eof);
  });

  t.test('an answer nobody asked for ends the connection', async (t) => {
    const lab = await startLab(t);
    const fd = connect(t, lab, 1);
    await takeSnapshot(fd);
    acknowledge(fd);
    const record = await eventually('the end', () => seqpacketReceive(fd, 4096, 1));
    t.ok(record.eof);
  });
}

async function startLab(t: Test): Promise<Lab> {
  const lab = await createLab({ topology: oneNodeTopology(), apps: false, redirection: { mode: 'inpod' } });
  t.teardown(() => lab.close());
  return lab;
}

function connect(t: Test, lab: Lab, version: number): number {
  const fd = seqpacketConnect(lab.agents.of('node-a').path);
  t.teardown(() => closeFd(fd));
  seqpacketSend(fd, toBinary(ZdsHelloSchema, create(ZdsHelloSchema, { version })));
  return fd;
}

async function takeSnapshot(fd: number): Promise<void> {
  for (let done = false; !done; ) {
    const { payload, fds } = await receive(fd);
    for (const opened of fds) closeFd(opened);
    acknowledge(fd);
    done = payload.case === 'snapshotSent';
  }
}

async function receive(fd: number): Promise<{ payload: WorkloadRequest['payload']; fds: number[] }> {
  const record: SeqpacketRecord = await eventually('a message', () => seqpacketReceive(fd, 4096, 4));
  return { payload: fromBinary(WorkloadRequestSchema, record.data).payload, fds: record.fds };
}

function acknowledge(fd: number, error = ''): void {
  const response = create(WorkloadResponseSchema, { payload: { case: 'ack', value: { error } } });
  seqpacketSend(fd, toBinary(WorkloadResponseSchema, response));
}
