/** Policies of a pod at a waypoint mean the pod's own address and port, whatever its Service is called by. */
import type { Socket } from 'node:net';
import t from 'tap';
import { emptyL7Model, type L7Policy } from '../../../src/route/model.ts';
import { http1 } from '../waypoint/client.ts';
import { createHarness, podUid } from '../waypoint/harness.ts';

function denyPort(port: number): L7Policy {
  return {
    source: { kind: 'AuthorizationPolicy', namespace: 'default', name: 'no-port' },
    action: 'deny',
    dryRun: false,
    rules: [{ clauses: [[[{ kind: 'destination-port', values: [port], notValues: [] }]]] }],
  };
}

t.test("a DENY of a pod's port holds behind a Service of another port", async (t) => {
  const harness = await createHarness(t, { pods: [(_request, response) => void response.end('hello')] });
  t.not(harness.podPort, 9080);
  harness.model = { ...emptyL7Model, workloadPolicies: new Map([[podUid(0), [denyPort(harness.podPort)]]]) };
  t.equal((await http1(await harness.tunnel())).status, 403);
  harness.model = { ...emptyL7Model, workloadPolicies: new Map([[podUid(0), [denyPort(9080)]]]) };
  t.equal((await http1(await harness.tunnel())).status, 200, 'the port of the Service is not a port of the pod');
});

t.test('the same for a connection that is no HTTP', async (t) => {
  const harness = await createHarness(t, {
    podKind: 'tcp',
    appProtocol: 'tcp',
    pods: [(socket: Socket) => void socket.end('hello')],
  });
  harness.model = { ...emptyL7Model, workloadPolicies: new Map([[podUid(0), [denyPort(harness.podPort)]]]) };
  const stream = await harness.tunnel();
  stream.on('error', () => {});
  let received = 0;
  stream.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  await new Promise((resolve) => stream.once('close', resolve));
  t.equal(received, 0);
});
