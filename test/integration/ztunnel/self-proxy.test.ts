/** ztunnel's own metrics through a tunnel: what a peer with a good certificate reaches there, and what it does not. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import t from 'tap';
import { selfPlace } from '../../../src/app/self-place.ts';
import { readZtunnelCommand } from '../../../src/app/ztunnel-command.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { modernPreset } from '../../../src/config/preset.ts';
import { createRelay } from '../../../src/hbone/relay.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import { startInbound } from '../../../src/ztunnel/inbound.ts';
import { makeChange, makeMatch, makePolicy, makeWorkload } from '../../support/mesh-records.ts';
import { clientId } from '../../support/relay-world.ts';
import { TestCa, TestSecretStore } from '../../support/test-ca.ts';
import { makeTwoNodes } from './two-nodes.ts';

const ip = '127.2.0.77';
const self = makeWorkload({
  name: 'ztunnel-abc',
  namespace: 'istio-system',
  serviceAccount: 'ztunnel',
  node: 'node-b',
  addresses: [ip],
  tunnelProtocol: 'none',
});

t.test('a tunnel reaches our metrics, and neither admin port, other addresses nor names', async (t) => {
  const nodes = await makeTwoNodes(t, modernPreset);
  nodes.mesh.apply(makeChange({ workloads: [self] }));
  const http = createServer((_request, response) => response.end('metrics'));
  http.listen(0, ip);
  const admin = createServer((_request, response) => response.end('admin'));
  admin.listen(0, '0.0.0.0');
  await Promise.all([once(http, 'listening'), once(admin, 'listening')]);
  t.teardown(() => {
    http.close();
    admin.close();
  });
  const port = (server: typeof http) => (server.address() as { port: number }).port;
  const command = readZtunnelCommand(['proxy', 'ztunnel'], {
    NODE_NAME: 'node-b',
    LOCAL_XDS_PATH: 'mesh.yaml',
    POD_NAMESPACE: 'istio-system',
    POD_NAME: 'ztunnel-abc',
    SERVICE_ACCOUNT: 'ztunnel',
    AMBIT_METRICS_PORT: String(port(http)),
    AMBIT_ADMIN_PORT: String(port(admin)),
  });
  if (command.kind !== 'run') throw new Error(JSON.stringify(command));
  const place = selfPlace(command.settings, ip, nodes.mesh);
  if (place === undefined) throw new Error('ztunnel does not know itself');
  t.equal(place.identity, 'spiffe://cluster.local/ns/istio-system/sa/ztunnel');
  t.same([...(place.reachablePorts ?? [])], [port(http), 15021]);

  const ca = await TestCa.create();
  const secrets = new TestSecretStore([await ca.issue(place.identity)]);
  const listener = await startInbound({ ...nodes.b.ztunnel.services, secrets }, place);
  t.teardown(() => listener.destroy());
  const client = createRelay({
    secrets: new TestSecretStore([await ca.issue(clientId)]),
    logger: silentLogger,
    clock: systemClock,
  });
  t.teardown(() => client.close());
  const open = (authority: string) =>
    client.open({
      target: {
        peer: { ip, port: listener.address.port },
        sourceIdentity: clientId,
        expectedIdentities: [place.identity],
        socket: plainSocket,
      },
      authority,
      headers: [],
    });
  const outcome = await open(`${ip}:${port(http)}`);
  if (outcome.kind !== 'open') throw new Error(JSON.stringify(outcome));
  outcome.stream.write('GET /metrics HTTP/1.1\r\nhost: self\r\nconnection: close\r\n\r\n');
  let answer = '';
  for await (const chunk of outcome.stream) answer += chunk;
  t.match(answer, /metrics$/m);
  for (const [authority, status] of [
    [`${ip}:${port(admin)}`, 503],
    [`127.0.0.1:${port(admin)}`, 400],
    [`127.0.0.1:${port(http)}`, 400],
    [`localhost:${port(http)}`, 503],
    [`127.2.0.5:${port(http)}`, 400],
    [`${ip}:15008`, 503],
  ] as const) {
    t.match(await open(authority), { kind: 'refused', status }, authority);
  }
  const nobody = makePolicy({ name: 'nobody', namespace: 'istio-system', rules: [] });
  const guarded = { ...self, authorizationPolicies: [nobody.key] };
  nodes.mesh.apply(makeChange({ workloads: [guarded], policies: [nobody] }));
  t.match(await open(`${ip}:${port(http)}`), { kind: 'refused', status: 401 }, 'policies hold here too');
  const friends = makePolicy({
    name: 'nobody',
    namespace: 'istio-system',
    rules: [[[makeMatch({ principals: [{ kind: 'exact', value: clientId.slice('spiffe://'.length) }] })]]],
  });
  nodes.mesh.apply(makeChange({ policies: [friends] }));
  const again = await open(`${ip}:${port(http)}`);
  t.equal(again.kind, 'open');
  if (again.kind === 'open') again.stream.destroy();
});

t.test('who does not know itself has no such listener', async (t) => {
  for (const missing of ['POD_NAMESPACE', 'POD_NAME', 'SERVICE_ACCOUNT']) {
    const environment: Record<string, string> = {
      NODE_NAME: 'node-b',
      LOCAL_XDS_PATH: 'mesh.yaml',
      POD_NAMESPACE: 'istio-system',
      POD_NAME: 'ztunnel-abc',
      SERVICE_ACCOUNT: 'ztunnel',
    };
    delete environment[missing];
    const command = readZtunnelCommand([], environment);
    if (command.kind !== 'run') throw new Error(JSON.stringify(command));
    const nodes = await makeTwoNodes(t, modernPreset);
    t.equal(selfPlace(command.settings, ip, nodes.mesh), undefined, missing);
  }
});
