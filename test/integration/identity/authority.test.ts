import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { type CertificateAuthority, openAuthority } from '../../../src/identity/authority.ts';
import { createKeyAndRequest } from '../../../src/identity/csr.ts';
import { type IssueOutcome, issueSecret } from '../../../src/identity/issue.ts';
import type { Secret } from '../../../src/identity/secret.ts';
import { tlsProfile } from '../../../src/identity/tls-context.ts';
import { within } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { testIdentity } from '../../support/test-ca.ts';
import { ScriptedCa, temporaryAuthority } from '../../unit/identity/scripted-ca.ts';

const identity = testIdentity('spiffe://cluster.local/ns/shop/sa/sleep');
const dayMs = 86_400_000;
const withOpenssl = spawnSync('openssl', ['version']).status === 0 ? {} : { skip: 'openssl is not installed' };

async function secretOf(authority: CertificateAuthority): Promise<Secret> {
  const outcome: IssueOutcome = await issueSecret(identity, {
    ca: new ScriptedCa(authority),
    clock: systemClock,
    ttlSeconds: 3600,
    timeoutMs: 5000,
    signal: new AbortController().signal,
    nextGeneration: () => 1,
  });
  if (outcome.kind !== 'issued') throw new Error(outcome.reason);
  return outcome.secret;
}

/** An intermediate authority as an administrator makes it with openssl, in Istio's layout. */
function pluggedAuthority(folder: string, key: 'ec' | 'rsa'): void {
  mkdirSync(folder);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const newKey = (file: string) =>
    key === 'ec'
      ? openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', file)
      : openssl('genrsa', '-traditional', '-out', file, '2048');
  writeFileSync(
    join(folder, 'ext.cnf'),
    'basicConstraints=critical,CA:true,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n',
  );
  newKey('root-key.pem');
  openssl(
    'req',
    '-x509',
    '-new',
    '-key',
    'root-key.pem',
    '-subj',
    '/O=Istio/CN=Root CA',
    '-days',
    '30',
    '-out',
    'root-cert.pem',
  );
  newKey('ca-key.pem');
  openssl('req', '-new', '-key', 'ca-key.pem', '-subj', '/O=Istio/CN=Intermediate CA/L=cluster1', '-out', 'ca.csr');
  openssl('x509', '-req', '-in', 'ca.csr', '-CA', 'root-cert.pem', '-CAkey', 'root-key.pem', '-CAcreateserial',
    '-extfile', 'ext.cnf', '-days', '10', '-out', 'ca-cert.pem'); // biome-ignore format: one command
  const chain = readFileSync(join(folder, 'ca-cert.pem'), 'utf8') + readFileSync(join(folder, 'root-cert.pem'), 'utf8');
  writeFileSync(join(folder, 'cert-chain.pem'), chain);
}

/** A mutual handshake between two holders of the secret; resolves with what each saw. */
async function handshake(t: { teardown(handler: () => void): unknown }, secret: Secret) {
  const server = createServer({ ...tlsProfile, ...secret.serverMaterial, requestCert: true, rejectUnauthorized: true });
  t.teardown(() => server.close());
  const accepted = new Promise<TLSSocket>((resolve, reject) => {
    server.once('secureConnection', resolve);
    server.once('tlsClientError', reject);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const client = connect({
    port,
    host: '127.0.0.1',
    secureContext: secret.context,
    checkServerIdentity: () => undefined,
  });
  client.on('error', () => {});
  t.teardown(() => client.destroy());
  const peer = await within('the handshake', accepted);
  peer.on('error', () => {});
  return { atServer: peer.getPeerX509Certificate()?.subjectAltName, protocol: peer.getProtocol() };
}

t.test('a made authority and a plugged one give certificates that TLS accepts', withOpenssl, async (t) => {
  const parent = (await temporaryAuthority(t, systemClock)).folder;
  for (const kind of ['made', 'ec', 'rsa'] as const) {
    const folder = `${parent}-${kind}`;
    if (kind !== 'made') pluggedAuthority(folder, kind);
    t.teardown(() => rmSync(folder, { recursive: true }));
    const authority = await openAuthority({ folder, create: true, trustDomain: 'cluster.local', clock: systemClock });
    const secret = await secretOf(authority);
    t.equal(secret.chainPem.length, kind === 'made' ? 1 : 2, `${kind}: the chain holds intermediates and no root`);
    t.same(await handshake(t, secret), { atServer: `URI:${identity}`, protocol: 'TLSv1.3' }, kind);
  }
});

t.test('a leaf says what a mesh expects of it', withOpenssl, async (t) => {
  const { authority } = await temporaryAuthority(t, systemClock);
  const [pem] = (await secretOf(authority)).chainPem;
  const text = execFileSync('openssl', ['x509', '-noout', '-text'], { input: pem ?? '' }).toString();
  t.match(text, /Subject: *\n/);
  t.match(text, /X509v3 Subject Alternative Name: critical\s+URI:spiffe:\/\/cluster.local\/ns\/shop\/sa\/sleep\n/);
  t.match(text, /X509v3 Basic Constraints: critical\s+CA:FALSE/);
  t.match(text, /TLS Web Server Authentication, TLS Web Client Authentication/);
});

t.test('a request has an empty subject and one critical URI', withOpenssl, async (t) => {
  const { requestPem } = await createKeyAndRequest(identity);
  const text = execFileSync('openssl', ['req', '-noout', '-text', '-verify'], {
    input: requestPem,
    stdio: 'pipe',
  }).toString();
  t.match(text, /Subject: *\n/);
  t.match(text, /X509v3 Subject Alternative Name: critical\s+URI:spiffe:\/\/cluster.local\/ns\/shop\/sa\/sleep\n/);
  t.match(text, /NIST CURVE: P-256/);
});

t.test('a leaf never outlives its authority, and an expired authority signs nothing', async (t) => {
  const clock = new FakeClock();
  const { authority } = await temporaryAuthority(t, clock);
  const { publicKey } = await createKeyAndRequest(identity);
  const order = { publicKey, names: [{ type: 'url', value: identity }], lifeMs: 30 * dayMs } as const;
  clock.advance(3650 * dayMs - dayMs);
  const leaf = await authority.issue(order);
  t.equal(leaf.notAfterMs, authority.certificate.validToDate.getTime());
  clock.advance(dayMs);
  await t.rejects(authority.issue(order), { code: 'IDENTITY_CA_FILES', message: /not valid now/ });
});

t.test('the folder is private, and the same authority is found again', async (t) => {
  const { folder, authority } = await temporaryAuthority(t, systemClock);
  t.same(readdirSync(folder).sort(), ['ca-cert.pem', 'ca-key.pem', 'cert-chain.pem', 'root-cert.pem']);
  t.equal(statSync(folder).mode & 0o777, 0o700);
  t.equal(statSync(join(folder, 'ca-key.pem')).mode & 0o777, 0o600);
  const again = await openAuthority({ folder, create: false, trustDomain: 'cluster.local', clock: systemClock });
  t.equal(again.rootsPem, authority.rootsPem);
  t.notMatch(JSON.stringify(again), 'PRIVATE KEY');
});

t.test('many that start at once share one authority', async (t) => {
  const folder = `${(await temporaryAuthority(t, systemClock)).folder}-shared`;
  t.teardown(() => rmSync(folder, { recursive: true }));
  const options = { folder, create: true, trustDomain: 'cluster.local', clock: systemClock };
  const all = await Promise.all(Array.from({ length: 5 }, () => openAuthority(options)));
  t.equal(new Set(all.map((one) => one.rootsPem)).size, 1);
  t.equal(new X509Certificate(all[0]?.rootsPem ?? '').ca, true);
});

t.test('a folder that is incomplete, mixed up or unreadable is refused with the reason', async (t) => {
  const { folder } = await temporaryAuthority(t, systemClock);
  const other = await temporaryAuthority(t, systemClock);
  const open = (path: string, create = true) =>
    openAuthority({ folder: path, create, trustDomain: 'cluster.local', clock: systemClock });
  const keep = (name: string) => readFileSync(join(folder, name));
  const refused = async (name: string, content: Buffer | string | undefined, message: RegExp) => {
    const before = keep(name);
    if (content === undefined) rmSync(join(folder, name));
    else writeFileSync(join(folder, name), content);
    await t.rejects(open(folder), { code: 'IDENTITY_CA_FILES', message });
    writeFileSync(join(folder, name), before);
  };
  await refused('cert-chain.pem', undefined, /cert-chain.pem is missing/);
  await refused('ca-key.pem', readFileSync(join(other.folder, 'ca-key.pem')), /does not belong/);
  await refused('ca-key.pem', 'nonsense', /cannot be read as PEM/);
  await refused('root-cert.pem', readFileSync(join(other.folder, 'root-cert.pem')), /does not lead/);
  const leaf = await secretOf(other.authority);
  await refused('ca-cert.pem', leaf.chainPem[0], /not the certificate of an authority/);
  await t.rejects(open(join(folder, 'nothing'), false), { message: /holds no certificate authority/ });
  const occupied = join(folder, '..', 'occupied');
  mkdirSync(occupied);
  copyFileSync(join(folder, 'root-cert.pem'), join(occupied, 'something-else'));
  await t.rejects(open(occupied), { message: /must be a folder that is empty or absent/ });
  t.same(readdirSync(occupied), ['something-else'], 'and left alone');
});
