import t from 'tap';
import type { SpiffeId } from '../../../src/base/spiffe.ts';
import type { Workload } from '../../../src/mesh/model.ts';
import type { Tunnel } from '../../../src/waypoint/context.ts';
import { trafficLabels } from '../../../src/waypoint/labels.ts';
import { makeService, makeWorkload } from '../../support/mesh-records.ts';
import { testIdentity } from '../../support/test-ca.ts';

const sleep = testIdentity('spiffe://cluster.local/ns/default/sa/sleep');
const other = testIdentity('spiffe://cluster.local/ns/default/sa/other');
const client = makeWorkload({ name: 'sleep' });
const pod = makeWorkload({ name: 'productpage' });
const service = makeService({ name: 'productpage' });

function labelsOf(identity: SpiffeId, source: Workload | undefined, destination: Workload) {
  const tunnel = { clientIdentity: identity, clientWorkload: source } as Tunnel;
  const address = { ip: '10.0.0.1', port: 80 };
  return trafficLabels(tunnel, service, {
    workload: destination,
    address,
    transport: { kind: 'plain', socket: {} as never },
  });
}

t.test('labels are one object as long as the records are', async (t) => {
  t.equal(labelsOf(sleep, client, pod), labelsOf(sleep, client, pod));
  t.equal(labelsOf(sleep, undefined, pod), labelsOf(sleep, undefined, pod));
  const changed = labelsOf(sleep, client, { ...pod, workloadName: 'productpage-v2' });
  t.equal(changed.destination.workload, 'productpage-v2');
});

t.test('the principal is the one that was proven, not what its address is known for', async (t) => {
  t.equal(labelsOf(sleep, client, pod).source.principal, sleep);
  t.equal(labelsOf(other, client, pod).source.principal, other);
  t.equal(labelsOf(other, undefined, pod).source.principal, other);
});
