/**
 * The waypoint program whose workloads and services are istiod's and whose routes and policies are a folder's: nothing is
 * answered before both are known, a service never without its policies, and all goes on while istiod is away.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { create } from '@bufbuild/protobuf';
import t, { type Test } from 'tap';
import { parseSocketAddress } from '../../../src/base/address.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { createRelay } from '../../../src/hbone/relay.ts';
import { type CertificateAuthority, openAuthority } from '../../../src/identity/authority.ts';
import { createOwnAuthorityClient } from '../../../src/identity/own-authority.ts';
import { checkRequest } from '../../../src/identity/request-check.ts';
import { SecretManager } from '../../../src/identity/secret-manager.ts';
import { plainSocket } from '../../../src/net/socket-spec.ts';
import { IstioCertificateResponseSchema, IstioCertificateService } from '../../../src/proto/gen/certificate_pb.js';
import { AppProtocol, TunnelProtocol } from '../../../src/proto/gen/workload_pb.js';
import { startRpcServer, unaryRoute } from '../../../src/rpc/server.ts';
import { addressType, authorizationType } from '../../../src/xds/resource-types.ts';
import { eventually } from '../../support/eventually.ts';
import { programFile } from '../../support/program-files.ts';
import { startProgram } from '../../support/programs.ts';
import { TestCa, testIdentity } from '../../support/test-ca.ts';
import { type NamedBytes, podResource, portList, serviceResource } from '../../support/xds-resources.ts';
import { XdsServer } from '../../support/xds-server.ts';
import { http1 } from './client.ts';

const script = programFile('waypoint');
const clientId = testIdentity('spiffe://cluster.local/ns/shop/sa/client');
const waypointId = testIdentity('spiffe://cluster.local/ns/shop/sa/waypoint');
const clientIp = '127.78.0.1';
const podIp = '127.78.0.2';

const waypoint = {
  destination: {
    case: 'hostname' as const,
    value: { namespace: 'shop', hostname: 'waypoint.shop.svc.cluster.local' },
  },
  hboneMtlsPort: 15008,
};

const rules = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cart, namespace: shop}
spec:
  parentRefs: [{group: '', kind: Service, name: cart}]
  rules:
    - filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-routed, value: 'yes'}]}}]
      backendRefs: [{name: cart, port: 80}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart, namespace: shop}
spec:
  targetRefs: [{group: '', kind: Service, name: cart}]
  action: DENY
  rules: [{to: [{operation: {paths: [/secret]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: later, namespace: shop}
spec: {targetRefs: [{group: '', kind: Service, name: later}], action: ALLOW}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec: {clusterIP: 192.0.2.9, ports: [{port: 80}]}
`;

interface Answer {
  readonly status: number;
  readonly routed: string | string[] | undefined;
}

/** istiod's certificate authority: the part of it that a waypoint speaks to. */
async function startIstiodCa(
  t: Test,
  authority: CertificateAuthority,
  tls: { readonly keyPem: string; readonly certPem: string },
  clientRootsPem: string,
) {
  const asked: {
    readonly uri: string;
    readonly authorization: string | undefined;
    readonly clusterid: string | undefined;
  }[] = [];
  const route = unaryRoute(IstioCertificateService.method.createCertificate, async (request, caller) => {
    const checked = await checkRequest(request.csr);
    if (checked.kind === 'bad')
      return { kind: 'error', code: 'INVALID_ARGUMENT', message: checked.reason, retryable: false };
    const { uri, publicKey } = checked;
    asked.push({ uri, authorization: caller.metadata('authorization'), clusterid: caller.metadata('clusterid') });
    const lifeMs = Number(request.validityDuration) * 1000;
    const leaf = await authority.issue({ publicKey, names: [{ type: 'url', value: uri }], lifeMs });
    const certChain = [...leaf.chainPem, authority.rootsPem];
    return { kind: 'ok', message: create(IstioCertificateResponseSchema, { certChain }) };
  });
  const server = await startRpcServer(
    {
      listen: { ip: '127.0.0.1', port: 0 },
      tls: { keyPem: tls.keyPem, certPem: tls.certPem, clientRootsPem },
      clock: systemClock,
      logger: silentLogger,
      maxRequestBytes: 65_536,
      maxCallsPerConnection: 10,
    },
    [route],
  );
  t.teardown(() => server.close(0));
  return { port: server.address.port, asked };
}

/** `silent`: the control plane hears and does not answer. */
async function makeWorld(t: Test, { silent = false } = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-discovered-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const config = path.join(folder, 'rules');
  const admin = path.join(folder, 'admin.sock');
  mkdirSync(config);
  writeFileSync(path.join(config, 'rules.yaml'), rules);
  const ca = await TestCa.create();
  const tls = await ca.issuePem([], { dnsNames: ['localhost'] });
  writeFileSync(path.join(folder, 'root.pem'), ca.rootPem);
  const server = new XdsServer({ tls });
  if (silent) server.script = () => {};
  await server.start();
  t.teardown(() => server.stop());
  const app = createServer((request, response) => response.end(request.url));
  await new Promise<void>((resolve) => app.listen(0, podIp, resolve));
  t.teardown(() => app.close().closeAllConnections());
  const { port } = app.address() as { port: number };

  const clock = systemClock;
  const authority = await openAuthority({
    folder: path.join(folder, 'ca'),
    create: true,
    trustDomain: 'cluster.local',
    clock,
  });
  const certified = await startIstiodCa(t, authority, tls, ca.rootPem);
  const program = startProgram(
    t,
    [process.execPath, '--disable-sigusr1', script, 'proxy', 'waypoint', '--domain', 'shop.svc.cluster.local'],
    {
      // As Istio's template gives them.
      CA_ADDR: `localhost:${certified.port}`,
      PROXY_CONFIG: JSON.stringify({ discoveryAddress: `localhost:${server.port}` }),
      POD_NAME: 'waypoint-1',
      POD_NAMESPACE: 'shop',
      INSTANCE_IP: '10.0.0.9',
      SERVICE_ACCOUNT: 'waypoint',
      ISTIO_META_WORKLOAD_NAME: 'waypoint',
      ISTIO_META_CLUSTER_ID: 'Kubernetes',
      // What else a test needs.
      AMBIT_CONFIG: config,
      CA_ROOT_CA: path.join(folder, 'root.pem'),
      XDS_ROOT_CA: path.join(folder, 'root.pem'),
      AUTH_TOKEN: 'a-token',
      AMBIT_LISTEN_IP: '127.0.0.1',
      AMBIT_WAYPOINT_PORTS: '0',
      AMBIT_ADMIN_SOCKET: admin,
      AMBIT_METRICS_PORT: '0',
      AMBIT_READINESS_PORT: '0',
    },
  );
  const address = await eventually(
    'the program to accept tunnels',
    () => {
      if (program.hasExited()) throw new Error(program.log());
      return parseSocketAddress(/accepting tunnels.*?address="?([0-9.:]+)/.exec(program.log())?.[1] ?? '');
    },
    20_000,
  );
  const dependencies = { clock, random: systemRandom, logger: silentLogger, metrics: unscrapedMetrics };
  const secrets = new SecretManager({ ...dependencies, ca: createOwnAuthorityClient(authority, silentLogger) });
  const relay = createRelay({ secrets, logger: silentLogger, clock });
  t.teardown(async () => {
    await relay.close();
    secrets.close();
  });
  await secrets.acquire(clientId);
  return {
    program,
    config,
    server,
    certified,
    ready: () =>
      new Promise<number | undefined>((resolve, reject) => {
        const asked = request({ socketPath: admin, path: '/healthz/ready' }, (response) => {
          resolve(response.resume().statusCode);
        });
        asked.on('error', reject).end();
      }),
    set(...resources: readonly NamedBytes[]) {
      for (const { name, bytes } of resources) server.set(addressType, name, bytes);
      server.push(
        addressType,
        resources.map(({ name }) => name),
      );
    },
    /** A service that is bound to the waypoint, with the application behind it. */
    service: (name: string, vip: string) =>
      serviceResource(
        name,
        vip,
        {},
        {
          namespace: 'shop',
          waypoint,
          ports: [{ servicePort: 80, targetPort: port, appProtocol: AppProtocol.HTTP11 }],
        },
      ),
    pod: (...services: readonly string[]) =>
      podResource('app', podIp, {
        namespace: 'shop',
        tunnelProtocol: TunnelProtocol.NONE,
        services: Object.fromEntries(
          services.map((name) => [`shop/${name}.shop.svc.cluster.local`, { ports: portList({ 80: port }) }]),
        ),
      }),
    /** The status a tunnel is refused with, or what a request in it gets. */
    async get(vip: string, url = '/'): Promise<number | Answer> {
      const outcome = await relay.open({
        target: { peer: address, sourceIdentity: clientId, expectedIdentities: [waypointId], socket: plainSocket },
        authority: `${vip}:80`,
        headers: [],
      });
      if (outcome.kind === 'failed') throw outcome.error;
      if (outcome.kind === 'refused') return outcome.status;
      const { status, headers } = await http1(outcome.stream, { path: url });
      outcome.stream.destroy();
      return { status, routed: headers['x-routed'] };
    },
  };
}

const [cartVip, laterVip] = ['10.97.0.1', '10.97.0.2'];

t.test('workloads and services of istiod, routes and policies of a folder', async (t) => {
  const world = await makeWorld(t);
  const { server, program, set, get, service, pod } = world;
  await eventually('a first state, which is empty, is acknowledged', () => server.answers(addressType).length > 0);
  await eventually('a service that nobody told of is refused', async () => (await get(cartVip)) === 404);
  const first = server.first(addressType, 1);
  t.equal(first?.node?.id, 'waypoint~10.0.0.9~waypoint-1.shop~shop.svc.cluster.local');
  t.match(first?.node?.metadata, { NAMESPACE: 'shop', SERVICE_ACCOUNT: 'waypoint', CLUSTER_ID: 'Kubernetes' });
  t.same(first?.resourceNamesSubscribe, [], 'everything is asked for');
  t.notOk(server.first(authorizationType, 1), 'what ztunnels enforce is not');
  t.same(server.metadata[0]?.get('authorization'), ['Bearer a-token']);
  const asked = { uri: waypointId, authorization: 'Bearer a-token', clusterid: 'Kubernetes' };
  t.same(world.certified.asked, [asked], 'one certificate, its own');

  const client = podResource('client', clientIp, { namespace: 'shop' });
  set(
    serviceResource('waypoint', '10.97.0.9', {}, { namespace: 'shop' }),
    service('cart', cartVip),
    pod('cart'),
    client,
  );
  await eventually('the service is served', async () => typeof (await get(cartVip)) !== 'number');
  t.same(await get(cartVip), { status: 200, routed: 'yes' }, 'by its route');
  t.match(await get(cartVip, '/secret'), { status: 403 }, 'under its policy');
  t.match(program.log(), 'MESH_ELSEWHERE', 'the Service of the folder is not used, and that is said');

  t.test('a service that comes later is never answered without its policy', async (t) => {
    set(service('later', laterVip), pod('cart', 'later'));
    const seen = new Set<number>();
    await eventually('it is served', async () => {
      const answer = await get(laterVip);
      seen.add(typeof answer === 'number' ? answer : answer.status);
      return typeof answer !== 'number';
    });
    t.same(
      [...seen].filter((status) => status !== 404 && status !== 503),
      [403],
    );
  });

  t.test('a change of the folder takes effect', async () => {
    writeFileSync(path.join(world.config, 'rules.yaml'), rules.replace('/secret', '/other'));
    await eventually('the policy is another', async () => {
      const answer = await get(cartVip, '/secret');
      return typeof answer !== 'number' && answer.status === 200;
    });
  });

  t.test('a resource that cannot be read is refused, and the others of its response count', async (t) => {
    set(
      { name: 'shop/bad.shop.svc.cluster.local', bytes: Uint8Array.of(0xff, 0xff, 0xff) },
      service('extra', '10.97.0.3'),
    );
    await eventually('the refusal', () => server.answers(addressType).at(-1)?.kind === 'nack');
    await eventually('the other', async () => (await get('10.97.0.3')) !== 404);
    t.same(await get(cartVip), { status: 200, routed: 'yes' });
  });

  t.test('all goes on while istiod is away', async (t) => {
    server.stop();
    await eventually('it noticed', () => /no stream from the control plane/.test(program.log()));
    t.same(await get(cartVip), { status: 200, routed: 'yes' });
    t.equal(await world.ready(), 200);
    writeFileSync(path.join(world.config, 'rules.yaml'), rules);
    await eventually('rules change all the same', async () => {
      const answer = await get(cartVip, '/secret');
      return typeof answer !== 'number' && answer.status === 403;
    });
  });
});

t.test('before the first state nobody is served, and it is not ready', async (t) => {
  const { server, get, ready } = await makeWorld(t, { silent: true });
  await eventually('it asked', () => server.requests.length > 0, 20_000);
  t.equal(await get(cartVip), 503);
  t.equal(await ready(), 500);
});
