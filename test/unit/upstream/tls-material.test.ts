/** Certificates in files: read when first needed, again when they change, and never from what is no file. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import t from 'tap';
import { silentLogger } from '../../../src/base/logger.ts';
import { materialFromFiles, materialFromPem } from '../../../src/upstream/tls-material.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { TestCa } from '../../support/test-ca.ts';

const ca = await TestCa.create();
const own = await ca.issuePem([], { dnsNames: ['a'] });
const nothing = { certificate: undefined, key: undefined, authorities: undefined, revocations: undefined };

t.test('a change is seen within seconds; what cannot be used leaves the last good one in place', async (t) => {
  const file = path.join(t.testdir({ 'ca.pem': ca.rootPem }), 'ca.pem');
  const clock = new FakeClock();
  const material = materialFromFiles({ ...nothing, authorities: file }, clock, silentLogger);
  const first = await material.context();
  t.equal(first.kind, 'context');
  await writeFile(file, 'no certificate');
  t.equal(await material.context(), first, 'not looked at yet');
  clock.advance(5_000);
  t.equal(await material.context(), first, 'the last good one');
  await writeFile(file, (await TestCa.create('another')).rootPem);
  clock.advance(5_000);
  const second = await material.context();
  t.equal(second.kind, 'context');
  t.not(second, first);
  clock.advance(5_000);
  t.equal(await material.context(), second, 'unchanged files give the same context');
});

t.test('what is missing, no file, too long, or does not fit is a reason', async (t) => {
  const folder = t.testdir({ 'long.pem': 'x'.repeat(2 * 1024 * 1024), 'ca.pem': ca.rootPem, dir: {} });
  const reasonOf = async (paths: object) => {
    const found = await materialFromFiles({ ...nothing, ...paths }, new FakeClock(), silentLogger).context();
    return found.kind === 'failed' ? found.reason : 'context';
  };
  t.match(await reasonOf({ authorities: `${folder}/absent.pem` }), /absent\.pem: ENOENT/);
  for (const name of [`${folder}/dir`, `${folder}/long.pem`, '/dev/zero']) {
    t.match(await reasonOf({ authorities: name }), /is no file of PEM|EISDIR/, name);
  }
  t.match(await reasonOf({ certificate: `${folder}/ca.pem`, authorities: `${folder}/ca.pem` }), /without its key/);
  const mixed = materialFromPem({ ...nothing, certificate: own.certPem, key: 'no key', authorities: ca.rootPem });
  t.match(await mixed.context(), { kind: 'failed' });
  const good = materialFromPem({ ...nothing, certificate: own.certPem, key: own.keyPem, authorities: ca.rootPem });
  t.match(await good.context(), { kind: 'context' });
  t.match(await materialFromPem(nothing).context(), { kind: 'context' }, 'the authorities of the system');
});
