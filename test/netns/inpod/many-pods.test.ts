import t from 'tap';
import { openNode } from '../../../bench/pods/node.ts';
import { measurePods } from '../../../bench/pods/run.ts';
import { programFile } from '../../support/program-files.ts';
import { insideLab } from '../lab/inside.ts';

const program = programFile('ztunnel');
const count = 200;
/** The namespace, the three listeners, and DNS over UDP and TCP on both loopback addresses. */
const mostDescriptors = 8;

t.setTimeout(240_000);

if (await insideLab()) {
  const node = await openNode(count, program);
  t.teardown(() => node.close());

  t.test('added one by one they are answered at once, cost little, and leave nothing', async (t) => {
    const { before, up, after, answerMs, cpuMsPerPod } = await measurePods(node, count);
    t.ok(up.descriptors - before.descriptors <= mostDescriptors * count, `${up.descriptors} of ${before.descriptors}`);
    t.ok(up.descriptors - before.descriptors >= 4 * count);
    t.ok(up.residentMiB - before.residentMiB < 40, `${up.residentMiB - before.residentMiB} MiB`);
    t.ok(answerMs.max < 4000, `the longest answer took ${answerMs.max} ms`);
    t.ok(cpuMsPerPod < 50, `${cpuMsPerPod} ms of CPU`);
    t.equal(after.descriptors, before.descriptors);
  });

  t.test('an agent that comes back without some of them: those are let go, the others never noticed', async (t) => {
    const before = node.footprint().descriptors;
    await node.addPods();
    const perPod = (node.footprint().descriptors - before) / count;
    await node.restartAgent(count / 2);
    t.equal(node.footprint().descriptors - before, (perPod * count) / 2);
    t.match(await node.ask('/healthz/ready'), 'ready');
    const metrics = await node.ask('/config_dump');
    t.equal(Object.keys(JSON.parse(metrics).workloadState).length, count / 2);
    await node.restartAgent(0);
    t.equal(node.footprint().descriptors, before);
  });
}
