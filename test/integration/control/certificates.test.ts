import { type webcrypto, X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { inspect } from 'node:util';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { systemRandom } from '../../../src/base/random.ts';
import { createKeyAndRequest } from '../../../src/identity/csr.ts';
import { joinTokenSource } from '../../../src/identity/join.ts';
import { SecretManager } from '../../../src/identity/secret-manager.ts';
import { x509 } from '../../../src/identity/x509.ts';
import { IstioCertificateService } from '../../../src/proto/gen/certificate_pb.js';
import { JoinService } from '../../../src/proto/gen/join_pb.js';
import { createChannel } from '../../../src/rpc/channel.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { testIdentity } from '../../support/test-ca.ts';
import { channelTo, member, runControl, temporaryFolder, tokenFor } from './control.ts';

const dayMs = 86_400_000;
const sleep = testIdentity('spiffe://cluster.local/ns/shop/sa/sleep');
const other = testIdentity('spiffe://cluster.local/ns/shop/sa/other');

t.test('a node joins with a token and gets the identities that run on it, and no others', async (t) => {
  const control = await runControl(t);
  control.placed.set('n1', [sleep]).set('n2', [other]);
  const { ask, ca } = await member(t, control, { token: await tokenFor(control) });
  const answer = await ask(sleep);
  if (answer.kind !== 'issued') throw new Error(answer.reason);
  const leaf = new X509Certificate(answer.chainPem[0] as string);
  t.equal(leaf.subjectAltName, `URI:${sleep}`);
  t.equal(leaf.subject, undefined, 'the subject is empty');
  t.same(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  t.ok(leaf.validFromDate.getTime() < Date.now() - 60_000, 'starts in the past');
  t.ok(Math.abs(leaf.validToDate.getTime() - Date.now() - 3_600_000) < 5000, 'lives as long as asked');
  t.equal(answer.rootsPem, readFileSync(control.caRootFile, 'utf8'));
  t.match(await ask(other), {
    kind: 'refused',
    reason: /PERMISSION_DENIED: node n1 runs no workload of .*other.*nodeName/,
  });
  t.match(control.log.lines.at(-1), ['certificate refused', { code: 'PERMISSION_DENIED', member: 'node n1' }]);
  control.placed.set('n1', []);
  t.match(await ask(sleep), { kind: 'refused' }, 'it left the node');
  t.equal(ca.credential.failure(), undefined);
});

t.test('a waypoint gets its own identity only', async (t) => {
  const control = await runControl(t);
  const name = { kind: 'waypoint', namespace: 'shop', serviceAccount: 'reviews-waypoint' } as const;
  const { token } = await control.tokens.create(name, 60_000);
  const { ask } = await member(t, control, { name, token: { kind: 'text', text: token } });
  t.match(await ask(testIdentity('spiffe://cluster.local/ns/shop/sa/reviews-waypoint')), { kind: 'issued' });
  control.placed.set('n1', [sleep]);
  t.match(await ask(sleep), { kind: 'refused', reason: /may be .*reviews-waypoint only/ });
});

t.test('without a credential nothing is signed', async (t) => {
  const control = await runControl(t);
  control.placed.set('n1', [sleep]);
  const channel = createChannel(channelTo(control));
  t.teardown(() => channel.close());
  const { requestPem: csr } = await createKeyAndRequest(sleep);
  t.match(await channel.unary(IstioCertificateService.method.createCertificate, { csr }), {
    kind: 'error',
    code: 'UNAUTHENTICATED',
    message: /join with a token/,
  });
  t.match(await channel.unary(JoinService.method.renew, { csr }), { kind: 'error', code: 'UNAUTHENTICATED' });
});

t.test("a workload's certificate is no join credential", async (t) => {
  const control = await runControl(t);
  control.placed.set('n1', [sleep]);
  const { ca } = await member(t, control, { token: await tokenFor(control) });
  const { keyPem, requestPem } = await createKeyAndRequest(sleep);
  const answer = await ca.sign({ identity: sleep, requestPem, ttlSeconds: 600 }, new AbortController().signal);
  if (answer.kind !== 'issued') throw new Error(answer.reason);
  const certificate = { keyPem, certPem: answer.chainPem.join('') };
  const channel = createChannel({ ...channelTo(control), clientCertificate: () => certificate });
  t.teardown(() => channel.close());
  const result = await channel.unary(IstioCertificateService.method.createCertificate, { csr: requestPem });
  t.match(result, { kind: 'error', code: 'UNAUTHENTICATED' });
});

t.test(
  'a request is refused for a foreign name, two names, another kind of name, a weak key and a false signature',
  async (t) => {
    const control = await runControl(t);
    control.placed.set('n1', [sleep]);
    const { ask, ca } = await member(t, control, { token: await tokenFor(control) });
    t.match(await ask(sleep, other), { kind: 'refused', reason: /another identity/ });
    t.match(await ask(testIdentity('spiffe://elsewhere/ns/shop/sa/sleep')), {
      kind: 'refused',
      reason: /trust domain/,
    });
    const sign = (requestPem: string) =>
      ca.sign({ identity: sleep, requestPem, ttlSeconds: 600 }, new AbortController().signal);
    const uri = { type: 'url' as const, value: sleep };
    const cases: [x509.JsonGeneralNames, webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams, RegExp][] = [
      [[uri, { type: 'url', value: other }], { name: 'ECDSA', namedCurve: 'P-256' }, /one URI and nothing else/],
      [[uri, { type: 'dns', value: 'a.test' }], { name: 'ECDSA', namedCurve: 'P-256' }, /one URI and nothing else/],
      [[{ type: 'dns', value: sleep }], { name: 'ECDSA', namedCurve: 'P-256' }, /one URI and nothing else/],
      [[], { name: 'ECDSA', namedCurve: 'P-256' }, /one subject alternative name|one URI/],
      [
        [uri],
        { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]) },
        /RSA of 2048/,
      ],
    ];
    for (const [names, algorithm, reason] of cases) {
      const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
      const request = await x509.Pkcs10CertificateRequestGenerator.create({
        keys,
        signingAlgorithm: { name: algorithm.name, hash: 'SHA-256' },
        extensions: [new x509.SubjectAlternativeNameExtension(names, true)],
      });
      t.match(await sign(request.toString('pem')), { kind: 'refused', reason });
    }
    const { requestPem } = await createKeyAndRequest(sleep);
    const der = Buffer.from(requestPem.replace(/-----[^-]+-----/g, ''), 'base64');
    der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1);
    const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
    t.match(await sign(forged), { kind: 'refused', reason: /not signed by its own key/ });
    t.match(await sign('nonsense'), { kind: 'refused', reason: /no PKCS #10/ });
    t.match(await sign(`${requestPem}${' '.repeat(9000)}`), { kind: 'refused', reason: /longer than/ });
  },
);

t.test('a token works once, in time, and for its own node', async (t) => {
  const control = await runControl(t);
  control.placed.set('n1', [sleep]);
  const token = await tokenFor(control);
  t.match(await (await member(t, control, { token })).ask(sleep), { kind: 'issued' });
  t.match(await (await member(t, control, { token })).ask(sleep), { kind: 'unreachable', reason: /used before/ });
  const late = await tokenFor(control, 'n1', -1);
  t.match(await (await member(t, control, { token: late })).ask(sleep), { kind: 'unreachable', reason: /has expired/ });
  const foreign = await tokenFor(control, 'n2');
  t.match(await (await member(t, control, { token: foreign })).ask(sleep), {
    kind: 'unreachable',
    reason: /for node n2, the request for .*node\/n1/,
  });
  const second = await member(t, control, { token: foreign, name: { kind: 'node', node: 'n2' } });
  await second.ca.credential.settled();
  t.ok(second.ca.credential.certificate(), 'a wrong use does not spend a token');
  const none = await member(t, control, {});
  t.match(await none.ask(sleep), { kind: 'unreachable', reason: /AMBIT_JOIN_TOKEN is not set/ });
});

t.test('a token may come in a file', async (t) => {
  const control = await runControl(t);
  const path = join(temporaryFolder(t), 'token');
  const { text } = await tokenFor(control);
  writeFileSync(path, `${text}\n`);
  t.same(joinTokenSource(text), { kind: 'text', text });
  const { ca } = await member(t, control, { token: joinTokenSource(path) });
  await ca.credential.settled();
  t.ok(ca.credential.certificate());
});

t.test('a restarted proxy uses its stored credential, readable by nobody else', async (t) => {
  const control = await runControl(t);
  control.placed.set('n1', [sleep]);
  const token = await tokenFor(control);
  const first = await member(t, control, { token });
  t.match(await first.ask(sleep), { kind: 'issued' });
  first.ca.close();
  t.same(readdirSync(first.stateFolder), ['join-node-n1.pem']);
  const path = join(first.stateFolder, 'join-node-n1.pem');
  t.equal(statSync(path).mode & 0o777, 0o600);
  const second = await member(t, control, { stateFolder: first.stateFolder, token });
  t.match(await second.ask(sleep), { kind: 'issued' });
  await second.ca.credential.settled();
  second.ca.close();
  writeFileSync(path, 'rubbish');
  const third = await member(t, control, { stateFolder: first.stateFolder, token: await tokenFor(control) });
  t.match(await third.ask(sleep), { kind: 'issued' }, 'a spoilt file needs another token');
});

t.test('a credential is renewed at half of its life, and kept when that fails', async (t) => {
  const control = await runControl(t);
  const clock = new FakeClock(Date.now());
  const { ca } = await member(t, control, { token: await tokenFor(control), clock });
  await ca.credential.settled();
  const first = ca.credential.certificate();
  await clock.advanceAsync(14 * dayMs);
  t.equal(ca.credential.certificate(), first);
  await clock.advanceAsync(2 * dayMs);
  const second = await eventually(
    'the renewal',
    () => ca.credential.certificate() !== first && ca.credential.certificate(),
  );
  await ca.credential.settled();
  await control.close();
  await clock.advanceAsync(9 * dayMs);
  await eventually('a failed renewal', () => ca.credential.failure());
  t.equal(ca.credential.certificate(), second);
  for (const text of [JSON.stringify(second), inspect(second, { showHidden: true, getters: true }), inspect(ca)]) {
    t.notMatch(text, 'PRIVATE KEY');
    t.notMatch(text, '2d2d2d2d');
  }
  clock.advance(20 * dayMs);
  t.equal(ca.credential.certificate(), undefined, 'an expired one is not shown');
});

t.test('a restarted control plane keeps its authority, its tokens and what it gave', async (t) => {
  const before = await runControl(t);
  const root = readFileSync(before.caRootFile, 'utf8');
  const token = await tokenFor(before);
  const unused = await tokenFor(before, 'n2');
  const { stateFolder, ask } = await member(t, before, { token });
  before.placed.set('n1', [sleep]);
  t.match(await ask(sleep), { kind: 'issued' });
  await before.close();
  t.match(await ask(sleep), { kind: 'unreachable' });
  t.equal(statSync(join(before.stateFolder, 'ca')).mode & 0o777, 0o700);
  t.equal(statSync(join(before.stateFolder, 'ca', 'ca-key.pem')).mode & 0o777, 0o600);

  const after = await runControl(t, { stateFolder: before.stateFolder, listen: before.address });
  after.placed.set('n1', [sleep]);
  t.equal(readFileSync(after.caRootFile, 'utf8'), root);
  t.match(await (await member(t, after, { stateFolder })).ask(sleep), { kind: 'issued' });
  t.match(await (await member(t, after, { token })).ask(sleep), { kind: 'unreachable', reason: /used before/ });
  const n2 = await member(t, after, { token: unused, name: { kind: 'node', node: 'n2' } });
  await n2.ca.credential.settled();
  t.ok(n2.ca.credential.certificate());
});

t.test('an authority made anew no longer knows old credentials, and a new token helps', async (t) => {
  const before = await runControl(t);
  const { stateFolder, ca } = await member(t, before, { token: await tokenFor(before) });
  await ca.credential.settled();
  await before.close();
  rmSync(join(before.stateFolder, 'ca'), { recursive: true });
  const after = await runControl(t, { stateFolder: before.stateFolder });
  after.placed.set('n1', [sleep]);
  const without = await member(t, after, { stateFolder });
  t.match(await without.ask(sleep), { kind: 'refused', reason: /UNAUTHENTICATED/ });
  await without.ca.credential.settled();
  t.match(without.ca.credential.failure(), /join anew/);
  const withToken = await member(t, after, { stateFolder, token: await tokenFor(after) });
  await withToken.ca.credential.settled();
  t.match(await withToken.ask(sleep), { kind: 'issued' });
});

t.test('configuration not read yet, and too many calls, are reasons to come again', async (t) => {
  const control = await runControl(t, { placement: { identitiesOn: () => undefined } });
  const { ask } = await member(t, control, { token: await tokenFor(control) });
  t.match(await ask(sleep), { kind: 'unreachable', reason: /has not been read yet/ });
  const channel = createChannel(channelTo(control));
  t.teardown(() => channel.close());
  const { requestPem: csr } = await createKeyAndRequest(sleep);
  const results = await Promise.all(
    Array.from({ length: 40 }, () => channel.unary(JoinService.method.join, { token: 'x', csr })),
  );
  const limited = results.filter((result) => result.kind === 'error' && result.code === 'RESOURCE_EXHAUSTED');
  t.ok(limited.length >= 10 && limited.length < 40, `${limited.length} of 40 were told to wait`);
});

t.test('secrets over the wire: first when the control plane is down, then when it is there', async (t) => {
  const control = await runControl(t);
  control.placed.set('n1', [sleep]);
  const token = await tokenFor(control);
  const { ca } = await member(t, control, { token, stateFolder: temporaryFolder(t) });
  const manager = new SecretManager({
    ca,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    metrics: unscrapedMetrics,
  });
  t.teardown(() => manager.close());
  const state = await manager.acquire(sleep);
  t.equal(state.kind, 'available', state.kind === 'unavailable' ? state.reason : '');
  t.match(await manager.acquire(other), { kind: 'unavailable', reason: /runs no workload/ });
});

t.test("the server's own certificate is replaced at half of its life", async (t) => {
  // OpenSSL looks at the real clock, so the test begins in the past.
  const clock = new FakeClock(Date.now() - 4 * dayMs);
  const control = await runControl(t, { clock });
  const shown = () =>
    new Promise<string>((resolve, reject) => {
      const ca = readFileSync(control.caRootFile, 'utf8');
      const socket = connect({ port: control.address.port, host: '127.0.0.1', ca, ALPNProtocols: ['h2'] }, () => {
        resolve(socket.getPeerX509Certificate()?.serialNumber ?? '');
        socket.destroy();
      });
      socket.on('error', reject);
    });
  const first = await shown();
  t.equal(await shown(), first);
  await clock.advanceAsync(4 * dayMs);
  await eventually('another certificate', async () => (await shown()) !== first);
});
