/**
 * Certificates from a CA that speaks `IstioCertificateService` over TLS, as a ztunnel composes it: what is said on the wire,
 * token and roots that are replaced under it, and a CA that answers wrongly, goes away, and comes back.
 */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import t, { type Test } from 'tap';
import { readHeaders } from '../../../src/app/control-plane-settings.ts';
import { openProxySecrets } from '../../../src/app/proxy-identity.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import type { SpiffeId } from '../../../src/base/spiffe.ts';
import { openAuthority } from '../../../src/identity/authority.ts';
import { checkRequest } from '../../../src/identity/request-check.ts';
import { IstioCertificateResponseSchema, IstioCertificateService } from '../../../src/proto/gen/certificate_pb.js';
import { type RpcServer, startRpcServer, unaryRoute } from '../../../src/rpc/server.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { TestCa, testIdentity } from '../../support/test-ca.ts';

const alice = testIdentity('spiffe://cluster.local/ns/shop/sa/alice');
const bob = testIdentity('spiffe://cluster.local/ns/shop/sa/bob');
const carol = testIdentity('spiffe://cluster.local/ns/shop/sa/carol');

interface Asked {
  readonly impersonated: unknown;
  readonly uri: string | undefined;
  readonly seconds: bigint;
  readonly authorization: string | undefined;
  readonly clusterid: string | undefined;
  readonly team: string | undefined;
}

async function startWorld(t: Test) {
  const folder = mkdtempSync(join(tmpdir(), 'ambit-istio-ca-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const clock = new FakeClock(Date.now());
  const authority = await openAuthority({
    folder: join(folder, 'ca'),
    create: true,
    trustDomain: 'cluster.local',
    clock,
  });
  const asked: Asked[] = [];
  /** Whom the CA certifies in place of whom was asked for. */
  const answersFor: { identity: SpiffeId | undefined } = { identity: undefined };
  const route = unaryRoute(IstioCertificateService.method.createCertificate, async (request, caller) => {
    const checked = await checkRequest(request.csr);
    asked.push({
      impersonated: request.metadata?.ImpersonatedIdentity,
      uri: checked.kind === 'bad' ? undefined : checked.uri,
      seconds: request.validityDuration,
      authorization: caller.metadata('authorization'),
      clusterid: caller.metadata('clusterid'),
      team: caller.metadata('x-team'),
    });
    if (checked.kind === 'bad')
      return { kind: 'error', code: 'INVALID_ARGUMENT', message: checked.reason, retryable: false };
    const leaf = await authority.issue({
      publicKey: checked.publicKey,
      names: [{ type: 'url', value: answersFor.identity ?? checked.uri }],
      lifeMs: Number(request.validityDuration) * 1000,
    });
    const certChain = [...leaf.chainPem, authority.rootsPem];
    return { kind: 'ok', message: create(IstioCertificateResponseSchema, { certChain }) };
  });
  const materialOf = async (ca: TestCa) => {
    const { keyPem, certPem } = await ca.issuePem([], { dnsNames: ['localhost'] });
    return { keyPem, certPem, clientRootsPem: ca.rootPem };
  };
  const serve = async (ca: TestCa, port = 0): Promise<RpcServer> => {
    const tls = await materialOf(ca);
    const listen = { ip: '127.0.0.1', port };
    const options = { listen, tls, clock, logger: silentLogger, maxRequestBytes: 65_536, maxCallsPerConnection: 10 };
    const server = await startRpcServer(options, [route]);
    t.teardown(() => server.close(0));
    return server;
  };
  const replace = (name: string, text: string) => {
    writeFileSync(join(folder, `${name}.next`), text);
    renameSync(join(folder, `${name}.next`), join(folder, name));
  };
  const first = await TestCa.create('first');
  replace('root.pem', first.rootPem);
  replace('token', 'token-1\n');
  const server = await serve(first);
  const problems: string[] = [];
  const { secrets, credential } = await openProxySecrets(
    {
      variables: {
        CA_ADDRESS: `https://localhost:${server.address.port}`,
        CA_ROOT_CA: join(folder, 'root.pem'),
        AUTH_TOKEN: join(folder, 'token'),
        SECRET_TTL: 3_600_000,
      },
      trustDomain: 'cluster.local',
      clusterId: 'cluster-7',
      joinAs: 'it does not join',
      headers: readHeaders({ 'CA_HEADER_X-Team': 'mesh' }, 'CA_HEADER_', problems),
      impersonate: true,
    },
    { clock, random: { next: () => 0.5 }, logger: silentLogger, metrics: unscrapedMetrics },
  );
  t.teardown(() => secrets.close());
  t.same(problems, []);
  t.equal(credential, undefined);
  /** Lets the back-off of failed requests pass until there is a certificate. */
  const comesBack = (identity: SpiffeId) =>
    eventually(`a certificate of ${identity}`, () => {
      clock.advance(2000);
      return secrets.current(identity);
    });
  return { asked, answersFor, serve, materialOf, replace, server, secrets, comesBack };
}

t.test('a request says for whom, with the token of the moment and the headers of the settings', async (t) => {
  const { asked, replace, secrets } = await startWorld(t);
  t.match(await secrets.acquire(alice), { kind: 'available', secret: { identity: alice } });
  replace('token', 'token-2');
  t.match(await secrets.acquire(bob), { kind: 'available', secret: { identity: bob } });
  const common = { seconds: 3600n, clusterid: 'cluster-7', team: 'mesh' };
  t.strictSame(asked, [
    { impersonated: alice, uri: alice, authorization: 'Bearer token-1', ...common },
    { impersonated: bob, uri: bob, authorization: 'Bearer token-2', ...common },
  ]);
});

t.test('roots that are replaced count for new calls, and certificates at hand go on serving', async (t) => {
  const { asked, materialOf, replace, server, secrets, comesBack } = await startWorld(t);
  t.match(await secrets.acquire(alice), { kind: 'available' });
  const held = secrets.current(alice);
  const second = await TestCa.create('second');
  replace('root.pem', second.rootPem);
  t.match(await secrets.acquire(bob), { kind: 'unavailable', reason: /certificate/ }, 'the CA still shows the old one');
  t.equal(asked.length, 1, 'neither request nor token left');
  t.equal(secrets.current(alice), held);
  server.replaceMaterial(await materialOf(second));
  t.match(await comesBack(bob), { identity: bob });
  t.equal(secrets.current(alice), held);
});

t.test('an answer for another identity is not used', async (t) => {
  const { answersFor, secrets, comesBack } = await startWorld(t);
  answersFor.identity = carol;
  t.match(await secrets.acquire(alice), { kind: 'unavailable', reason: /carol/ });
  t.equal(secrets.current(alice), undefined);
  t.equal(secrets.current(carol), undefined);
  answersFor.identity = undefined;
  t.match(await comesBack(alice), { identity: alice });
});

t.test('a CA that is away costs only what is new, and is asked again', async (t) => {
  const { serve, replace, server, secrets, comesBack } = await startWorld(t);
  t.match(await secrets.acquire(alice), { kind: 'available' });
  await server.close(0);
  t.match(await secrets.acquire(bob), { kind: 'unavailable', reason: /UNAVAILABLE/ });
  t.match(secrets.current(alice), { identity: alice });
  const again = await TestCa.create('again');
  replace('root.pem', again.rootPem);
  await serve(again, server.address.port);
  t.match(await comesBack(bob), { identity: bob });
});
