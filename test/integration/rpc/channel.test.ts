import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { type Logger, silentLogger } from '../../../src/base/logger.ts';
import { IstioCertificateResponseSchema, IstioCertificateService } from '../../../src/proto/gen/certificate_pb.js';
import { type ChannelOptions, createChannel } from '../../../src/rpc/channel.ts';
import { parseServerAddress, type ServerAddress } from '../../../src/rpc/credentials.ts';
import { type Caller, startRpcServer, unaryRoute } from '../../../src/rpc/server.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { TestCa } from '../../support/test-ca.ts';

const method = IstioCertificateService.method.createCertificate;
const spiffe = 'spiffe://cluster.local/ns/a/sa/b';

type T = { teardown(handler: () => unknown): unknown };

/** A server that answers with what it saw of its caller. */
async function serve(
  t: T,
  ca: TestCa,
  options: { names?: string[]; logger?: Logger; clock?: FakeClock; gate?: Promise<void> } = {},
) {
  const issued = await ca.issuePem([], { dnsNames: options.names ?? ['localhost'] });
  const callers: Caller[] = [];
  const server = await startRpcServer(
    {
      listen: { ip: '127.0.0.1', port: 0 },
      tls: { keyPem: issued.keyPem, certPem: issued.certPem, clientRootsPem: ca.rootPem },
      clock: options.clock ?? systemClock,
      logger: options.logger ?? silentLogger,
      maxRequestBytes: 10_000,
      maxCallsPerConnection: 10,
    },
    [
      unaryRoute(method, async (request, caller) => {
        callers.push(caller);
        if (request.csr === 'throw') throw new Error('a defect');
        if (request.csr === 'gate') await options.gate;
        if (request.csr === 'wait') await new Promise(() => {});
        const seen = caller.certificate?.subjectAltName ?? 'nobody';
        const certChain = [seen, caller.metadata('authorization') ?? '', caller.metadata('clusterid') ?? ''];
        return { kind: 'ok', message: create(IstioCertificateResponseSchema, { certChain }) };
      }),
    ],
  );
  t.teardown(() => server.close(0));
  const address: ServerAddress = { host: 'localhost', port: server.address.port, tls: true };
  return { server, callers, address };
}

function open(t: T, options: ChannelOptions) {
  const channel = createChannel(options);
  t.teardown(() => channel.close());
  return (csr = '', timeoutMs = 5000) => channel.unary(method, { csr }, { timeoutMs });
}

function folder(t: T): string {
  const path = mkdtempSync(join(tmpdir(), 'ambit-rpc-'));
  t.teardown(() => rmSync(path, { recursive: true }));
  return path;
}

t.test('a call brings metadata and the token of the moment', async (t) => {
  const ca = await TestCa.create();
  const { address } = await serve(t, ca);
  const path = join(folder(t), 'token');
  writeFileSync(path, 'first\n');
  const call = open(t, {
    address,
    roots: { kind: 'text', text: ca.rootPem },
    token: { kind: 'file', path },
    metadata: { clusterid: 'east' },
  });
  t.match(await call(), { kind: 'ok', message: { certChain: ['nobody', 'Bearer first', 'east'] } });
  writeFileSync(path, 'second');
  t.match(await call(), { kind: 'ok', message: { certChain: ['nobody', 'Bearer second', 'east'] } });
  rmSync(path);
  t.match(await call(), { kind: 'error', code: 'UNAVAILABLE', retryable: true, message: /cannot read the token/ });
  writeFileSync(path, 'third');
  t.match(await call(), { kind: 'ok' });
});

t.test('a handler sees only good client certificates, on a second connection too', async (t) => {
  const ca = await TestCa.create();
  const stranger = await TestCa.create('stranger');
  const { address } = await serve(t, ca);
  const expired = { notBeforeMs: Date.now() - 7_200_000, notAfterMs: Date.now() - 3_600_000 };
  const cases = [
    { what: 'good', issued: await ca.issuePem([spiffe]), seen: `URI:${spiffe}` },
    { what: 'foreign', issued: await stranger.issuePem([spiffe]), seen: 'nobody' },
    { what: 'expired', issued: await ca.issuePem([spiffe], expired), seen: 'nobody' },
    { what: 'none', issued: undefined, seen: 'nobody' },
  ];
  for (const { what, issued, seen } of cases) {
    const certificate = issued === undefined ? undefined : { keyPem: issued.keyPem, certPem: issued.certPem };
    for (const connection of ['first', 'second']) {
      const call = open(t, {
        address,
        roots: { kind: 'text', text: ca.rootPem },
        clientCertificate: () => certificate,
      });
      t.match(await call(), { kind: 'ok', message: { certChain: [seen] } }, `${what} on the ${connection} connection`);
    }
  }
});

t.test('a certificate that expires while the connection lives is no longer shown', async (t) => {
  const ca = await TestCa.create();
  const clock = new FakeClock(Date.now());
  const { address } = await serve(t, ca, { clock });
  const { keyPem, certPem } = await ca.issuePem([spiffe]);
  const certificate = { keyPem, certPem };
  const call = open(t, { address, roots: { kind: 'text', text: ca.rootPem }, clientCertificate: () => certificate });
  t.match(await call(), { message: { certChain: [`URI:${spiffe}`] } });
  clock.advance(2 * 3_600_000);
  t.match(await call(), { message: { certChain: ['nobody'] } });
});

t.test('a changed root file and a changed client certificate count from the next call on', async (t) => {
  const old = await TestCa.create('old');
  const fresh = await TestCa.create('fresh');
  const { address } = await serve(t, fresh);
  const path = join(folder(t), 'root.pem');
  writeFileSync(path, old.rootPem);
  let certificate = await fresh.issuePem(['spiffe://cluster.local/ns/a/sa/one']);
  const call = open(t, { address, roots: { kind: 'file', path }, clientCertificate: () => certificate });
  t.match(await call(), { kind: 'error', code: 'UNAVAILABLE', retryable: true });
  writeFileSync(path, fresh.rootPem);
  t.match(await call(), { message: { certChain: [/one$/] } });
  certificate = await fresh.issuePem(['spiffe://cluster.local/ns/a/sa/two']);
  t.match(await call(), { message: { certChain: [/two$/] } });
});

t.test('a server is known by its host, by its address or by an alternative name, and by nothing else', async (t) => {
  const ca = await TestCa.create();
  const { address } = await serve(t, ca, { names: ['istiod.test'] });
  const roots = { kind: 'text', text: ca.rootPem } as const;
  t.match(await open(t, { address, roots })(), { kind: 'error', code: 'UNAVAILABLE' });
  t.match(await open(t, { address, roots, alternativeNames: ['istiod.test'] })(), { kind: 'ok' });
  const byAddress = { ...address, host: '127.0.0.1' };
  t.match(await open(t, { address: byAddress, roots })(), { kind: 'error', code: 'UNAVAILABLE' });
  t.match(await open(t, { address: byAddress, roots, alternativeNames: ['istiod.test'] })(), { kind: 'ok' });
});

t.test('a server that is away, mute or broken is a value', async (t) => {
  const ca = await TestCa.create();
  const errors: string[] = [];
  const logger = { ...silentLogger, error: (message: string) => errors.push(message) };
  const { address, server } = await serve(t, ca, { logger });
  const call = open(t, { address, roots: { kind: 'text', text: ca.rootPem } });
  t.match(await call('throw'), { kind: 'error', code: 'INTERNAL', message: 'internal error' });
  t.equal(errors.length, 1);
  t.match(await call('x'.repeat(20_000)), { kind: 'error', code: 'RESOURCE_EXHAUSTED' });
  t.match(await call('wait', 50), { kind: 'error', code: 'DEADLINE_EXCEEDED', retryable: true });
  await server.close(0);
  t.match(await call(), { kind: 'error', code: 'UNAVAILABLE', retryable: true });
});

t.test('a closed channel and an aborted call are values', async (t) => {
  const ca = await TestCa.create();
  const { address } = await serve(t, ca);
  const channel = createChannel({ address, roots: { kind: 'text', text: ca.rootPem } });
  const abort = new AbortController();
  const waiting = channel.unary(method, { csr: 'wait' }, { signal: abort.signal });
  setImmediate(() => abort.abort());
  t.match(await waiting, { kind: 'error', code: 'CANCELLED' });
  channel.close();
  t.match(await channel.unary(method, {}), { kind: 'error', code: 'CANCELLED' });
});

t.test('a replaced server certificate is shown to new connections', async (t) => {
  const ca = await TestCa.create();
  const { address, server } = await serve(t, ca, { names: ['before.test'] });
  const roots = { kind: 'text', text: ca.rootPem } as const;
  t.match(await open(t, { address, roots })(), { kind: 'error' });
  const issued = await ca.issuePem([], { dnsNames: ['localhost'] });
  server.replaceMaterial({ keyPem: issued.keyPem, certPem: issued.certPem, clientRootsPem: ca.rootPem });
  t.match(await open(t, { address, roots })(), { kind: 'ok' });
});

t.test('addresses of control planes', async (t) => {
  t.same(parseServerAddress('https://istiod.istio-system.svc:15012'), {
    host: 'istiod.istio-system.svc',
    port: 15012,
    tls: true,
  });
  t.same(parseServerAddress('localhost:15012'), { host: 'localhost', port: 15012, tls: true });
  t.same(parseServerAddress('http://[::1]:15010'), { host: '::1', port: 15010, tls: false });
  for (const text of ['', 'ftp://a:1', 'https://', 'https://user@a:1', 'https://a:1/path', 'https://a:99999']) {
    t.equal(parseServerAddress(text), undefined, text);
  }
});

t.test('a call under way goes on when the next one makes a new connection', async (t) => {
  const ca = await TestCa.create();
  const gate = Promise.withResolvers<void>();
  const { address, callers } = await serve(t, ca, { gate: gate.promise });
  let certificate = await ca.issuePem(['spiffe://cluster.local/ns/a/sa/one']);
  const call = open(t, { address, roots: { kind: 'text', text: ca.rootPem }, clientCertificate: () => certificate });
  const first = call('gate');
  await eventually('the first call', () => callers.length === 1);
  certificate = await ca.issuePem(['spiffe://cluster.local/ns/a/sa/two']);
  t.match(await call(), { message: { certChain: [/two$/] } });
  gate.resolve();
  t.match(await first, { message: { certChain: [/one$/] } });
});
