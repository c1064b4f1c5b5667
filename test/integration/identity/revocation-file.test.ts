/** The file of revocation lists, changed in every way that people and Kubernetes change files. */
import { sign, X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';
import { certificateNames } from '../../../src/identity/der.ts';
import { Revocation } from '../../../src/identity/revocation.ts';
import { RevocationFile } from '../../../src/identity/revocation-file.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { recordingLogger, recordingMetrics } from '../../support/recording.ts';
import { TestCa } from '../../support/test-ca.ts';

const identity = 'spiffe://cluster.local/ns/shop/sa/a';

async function start(t: Test, prepare: (folder: string) => string) {
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-crl-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const clock = new FakeClock(Date.now());
  const { logger, lines } = recordingLogger();
  const { metrics, value } = recordingMetrics();
  const revocation = new Revocation({ required: true, logger, metrics });
  let changes = 0;
  revocation.onChange(() => changes++);
  const file = new RevocationFile({ path: prepare(folder), revocation, clock, logger, metrics });
  t.teardown(() => file.close());
  await file.start();
  return {
    folder,
    clock,
    lines,
    value,
    revocation,
    file,
    changes: () => changes,
    /** A watcher has told of a change: the debounce runs beside the rescan. */
    noticed: () => eventually('a notice', () => clock.pending === 2),
  };
}

const verdict = (revocation: Revocation, certPem: string, rootPem: string) =>
  revocation.examine(new X509Certificate(certPem), rootPem, 'source').kind;

t.test('a list is in force at start, and its replacement two seconds after a rename', async (t) => {
  const ca = await TestCa.create();
  const [one, other] = [await ca.issuePem([identity]), await ca.issuePem([identity])];
  const first = await ca.list([one.serialNumber]);
  const { folder, clock, revocation, changes, noticed, value } = await start(t, (folder) => {
    writeFileSync(path.join(folder, 'crl.pem'), first);
    return path.join(folder, 'crl.pem');
  });
  t.equal(verdict(revocation, one.certPem, ca.rootPem), 'revoked');
  t.equal(verdict(revocation, other.certPem, ca.rootPem), 'good');
  t.equal(value('ambit_crl_entries'), 1);
  writeFileSync(path.join(folder, 'crl.pem.new'), await ca.list([one.serialNumber, other.serialNumber]));
  renameSync(path.join(folder, 'crl.pem.new'), path.join(folder, 'crl.pem'));
  await noticed();
  clock.advance(1999);
  t.equal(verdict(revocation, other.certPem, ca.rootPem), 'good', 'not before the writer can be done');
  clock.advance(1);
  await eventually('the second list', () => changes() === 2);
  t.equal(verdict(revocation, other.certPem, ca.rootPem), 'revoked');
  t.equal(value('ambit_crl_entries'), 2);
});

t.test('a folder that Kubernetes swaps by its ..data link is followed', async (t) => {
  const ca = await TestCa.create();
  const leaf = await ca.issuePem([identity]);
  const lists = [await ca.list([]), await ca.list([leaf.serialNumber])];
  const version = (folder: string, name: string, text: string) => {
    mkdirSync(path.join(folder, name));
    writeFileSync(path.join(folder, name, 'ca-crl.pem'), text);
    symlinkSync(name, path.join(folder, '..data_tmp'));
    renameSync(path.join(folder, '..data_tmp'), path.join(folder, '..data'));
  };
  const { folder, clock, revocation, changes, noticed } = await start(t, (folder) => {
    version(folder, '..2026_01', lists[0] ?? '');
    symlinkSync(path.join('..data', 'ca-crl.pem'), path.join(folder, 'ca-crl.pem'));
    return path.join(folder, 'ca-crl.pem');
  });
  t.equal(verdict(revocation, leaf.certPem, ca.rootPem), 'good');
  version(folder, '..2026_02', lists[1] ?? '');
  rmSync(path.join(folder, '..2026_01'), { recursive: true });
  await noticed();
  clock.advance(2000);
  await eventually('the swapped list', () => changes() === 2);
  t.equal(verdict(revocation, leaf.certPem, ca.rootPem), 'revoked');
});

t.test('nonsense at start lets nobody in, and a good file after it does', async (t) => {
  const ca = await TestCa.create();
  const leaf = await ca.issuePem([identity]);
  const { folder, clock, lines, revocation, file, noticed, changes, value } = await start(t, (folder) => {
    writeFileSync(path.join(folder, 'crl.pem'), 'nonsense');
    return path.join(folder, 'crl.pem');
  });
  t.equal(verdict(revocation, leaf.certPem, ca.rootPem), 'unknown');
  t.match(file.problem, /no X509 CRL/);
  t.match(
    lines.filter(({ level }) => level === 'error'),
    [{ message: 'revocation lists cannot be used', fields: { effect: 'no list is in force' } }],
  );
  t.equal(value('ambit_crl_usable'), 0);
  writeFileSync(path.join(folder, 'crl.pem'), await ca.list([]));
  await noticed();
  clock.advance(2000);
  await eventually('the list', () => changes() === 1);
  t.equal(verdict(revocation, leaf.certPem, ca.rootPem), 'good');
  t.equal(value('ambit_crl_usable'), 1);
  t.equal(file.problem, undefined);
});

t.test('nonsense, too much and nothing later on keep the last good list, and each is told once', async (t) => {
  const ca = await TestCa.create();
  const leaf = await ca.issuePem([identity]);
  const list = await ca.list([leaf.serialNumber]);
  const { folder, lines, clock, revocation, file, changes, value } = await start(t, (folder) => {
    writeFileSync(path.join(folder, 'crl.pem'), list);
    return path.join(folder, 'crl.pem');
  });
  const bad: readonly (readonly [string, () => void, RegExp])[] = [
    ['nothing in it', () => writeFileSync(path.join(folder, 'crl.pem'), ''), /no X509 CRL/],
    ['half of it', () => writeFileSync(path.join(folder, 'crl.pem'), list.slice(0, 100)), /no X509 CRL|no whole/],
    ['too large', () => writeFileSync(path.join(folder, 'crl.pem'), Buffer.alloc(4 * 2 ** 20 + 1)), /larger than/],
    ['gone', () => rmSync(path.join(folder, 'crl.pem')), /ENOENT/],
    ['its folder too', () => rmSync(folder, { recursive: true }), /ENOENT/],
  ];
  for (const [name, spoil, reason] of bad) {
    spoil();
    await file.refresh();
    await file.refresh();
    t.match(file.problem, reason, name);
    t.equal(verdict(revocation, leaf.certPem, ca.rootPem), 'revoked', name);
  }
  t.equal(value('ambit_crl_usable'), 0);
  t.equal(changes(), 1, 'nobody was told of a change');
  const errors = lines.filter(({ level }) => level === 'error');
  t.equal(errors.length, 3, 'each once, also what is alike');
  t.ok(errors.every(({ fields }) => fields.effect === 'the last good lists stay in force'));
  mkdirSync(folder);
  writeFileSync(path.join(folder, 'crl.pem'), await ca.list([]));
  clock.advance(30_000);
  await eventually('the list is back, found without a watcher', () => changes() === 2);
  t.equal(verdict(revocation, leaf.certPem, ca.rootPem), 'good');
});

t.test('a list past its date is in force, and that is said', async (t) => {
  const ca = await TestCa.create();
  const leaf = await ca.issuePem([identity]);
  const past = { thisUpdateMs: Date.now() - 7_200_000, nextUpdateMs: Date.now() - 3_600_000 };
  const list = await ca.list([leaf.serialNumber], past);
  const { revocation, lines } = await start(t, (folder) => {
    writeFileSync(path.join(folder, 'crl.pem'), list);
    return path.join(folder, 'crl.pem');
  });
  t.equal(verdict(revocation, leaf.certPem, ca.rootPem), 'revoked');
  t.match(
    lines.filter(({ level }) => level === 'warn'),
    [{ message: /past its date/ }],
  );
});

t.test('a list of 20 000 is read while others have their turn', async (t) => {
  const ca = await TestCa.create();
  const leaf = await ca.issuePem([identity]);
  const list = longList(ca, leaf.serialNumber, 20_000);
  let turns = 0;
  const beat = () => {
    turns++;
    pending = setImmediate(beat);
  };
  let pending = setImmediate(beat);
  const { revocation, value } = await start(t, (folder) => {
    writeFileSync(path.join(folder, 'crl.pem'), list);
    return path.join(folder, 'crl.pem');
  });
  clearImmediate(pending);
  t.ok(turns > 10, `${turns} turns of the loop`);
  t.equal(value('ambit_crl_entries'), 20_001);
  t.equal(verdict(revocation, leaf.certPem, ca.rootPem), 'revoked');
});

/** Written by hand: the library takes minutes for as many. */
function longList(ca: TestCa, lastSerial: string, length: number): string {
  const time = der(0x17, Buffer.from('260101000000Z'));
  const entry = (serial: Buffer) => der(0x30, der(0x02, serial), time);
  const entries = Array.from({ length }, (_, i) => {
    const serial = Buffer.alloc(16, 1);
    serial.writeUInt32BE(i, 12);
    return entry(serial);
  });
  const algorithm = der(0x30, Buffer.from('06082a8648ce3d040302', 'hex'));
  const { subject } = certificateNames(new X509Certificate(ca.rootPem).raw);
  const revoked = der(0x30, ...entries, entry(Buffer.from(lastSerial, 'hex')));
  const signed = der(0x30, der(0x02, Buffer.of(1)), algorithm, subject, time, revoked);
  const signature = sign('sha256', signed, ca.rootKeyPem);
  const list = der(0x30, signed, algorithm, der(0x03, Buffer.of(0), signature));
  return `-----BEGIN X509 CRL-----\n${list.toString('base64')}\n-----END X509 CRL-----\n`;
}

function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), content]);
  const size = Buffer.from(length.toString(16).padStart(length < 0x100 ? 2 : length < 0x1_0000 ? 4 : 6, '0'), 'hex');
  return Buffer.concat([Buffer.of(tag, 0x80 + size.length), size, content]);
}
