import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { serialText } from '../../../src/identity/der.ts';
import { isSignedBy, readRevocationLists } from '../../../src/identity/revocation-list.ts';
import { TestCa } from '../../support/test-ca.ts';

/** Written by OpenSSL: an authority's certificate, then its list of three. */
const written = ['ec-p256', 'ec-p384', 'rsa', 'rsa-pss', 'ed25519'];
const fixture = (name: string) => readFileSync(path.join(import.meta.dirname, 'lists', `${name}.pem`), 'utf8');
const listOf = (name: string) => fixture(name).slice(fixture(name).indexOf('-----BEGIN X509 CRL'));
const serial = (hex: string) => serialText(Buffer.from(hex, 'hex'));

async function readOne(text: string) {
  const read = await readRevocationLists(text);
  const list = read.kind === 'lists' ? read.lists[0] : undefined;
  if (list === undefined) throw new Error(read.kind === 'bad' ? read.reason : 'no list');
  return list;
}

/** The list with its DER changed. */
function changed(pem: string, change: (der: Buffer) => Buffer): string {
  const der = Buffer.from(pem.replace(/-----[^-]*-----/g, ''), 'base64');
  return `-----BEGIN X509 CRL-----\n${change(der).toString('base64')}\n-----END X509 CRL-----\n`;
}

t.test('lists that OpenSSL wrote are read, and verified with the key of their authority alone', async (t) => {
  for (const name of written) {
    const list = await readOne(listOf(name));
    t.same(
      [...list.serials].sort(),
      [serial('0a1b2c'), serial('00ff'), serial('31439A62C3C520ADA6C83DCAB7F39580FA9D858A')].sort(),
      name,
    );
    t.equal((list.nextUpdateMs ?? 0) - list.thisUpdateMs, 86_400_000, name);
    for (const other of written) {
      const { publicKey } = new X509Certificate(fixture(other));
      t.equal(isSignedBy(list, publicKey), other === name, `${name} with the key of ${other}`);
    }
  }
});

t.test('a list with one bit changed is not signed', async (t) => {
  const { publicKey } = new X509Certificate(fixture('ec-p256'));
  const serialAt = (der: Buffer) => der.indexOf(Buffer.from('0a1b2c', 'hex'));
  const list = await readOne(
    changed(listOf('ec-p256'), (der) => {
      der[serialAt(der) + 2] = 0x2d;
      return der;
    }),
  );
  t.ok(list.serials.has(serial('0a1b2d')), 'it can be read');
  t.notOk(isSignedBy(list, publicKey));
});

t.test('several lists in one text are all read', async (t) => {
  const [one, other] = [await TestCa.create('one'), await TestCa.create('other')];
  const read = await readRevocationLists(`# ours\n${await one.list(['0102'])}\n${await other.list([])}`);
  t.match(read, { kind: 'lists', lists: { length: 2 } });
});

t.test('what is not a list, or not wholly, is refused with a reason', async (t) => {
  const good = listOf('ec-p256');
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['nothing', '', /no X509 CRL/],
    ['words', 'nonsense', /no X509 CRL/],
    ['a certificate', fixture('rsa').slice(0, fixture('rsa').indexOf('-----BEGIN X509 CRL')), /no X509 CRL/],
    ['a list that is cut off', good + good.slice(0, 200), /no whole X509 CRL/],
    ['a list and a certificate', fixture('ec-p256'), /no whole X509 CRL/],
    ['a good list before a bad one', good + changed(good, (der) => der.subarray(0, 60)), /list 2 of 2/],
    ['bytes after it', changed(good, (der) => Buffer.concat([der, Buffer.of(0)])), /after its end/],
    ['an empty block', '-----BEGIN X509 CRL-----\n-----END X509 CRL-----\n', /cut off/],
    ['too many', good.repeat(65), /more than 64/],
  ];
  for (const [name, text, reason] of cases) {
    const read = await readRevocationLists(text);
    t.match(read, { kind: 'bad', reason }, name);
  }
});

t.test('an indirect list, a delta and an unknown critical extension are not taken for an ordinary list', async (t) => {
  const good = listOf('ec-p256');
  const number = '0603551d14040402021000';
  const authorityKey = '0603551d23041830168014';
  // Each is as long as what it replaces, so that the lengths around it stay right.
  const cases: readonly (readonly [string, string, string, RegExp | undefined])[] = [
    ['indirect', authorityKey, '0603551d1c041830168401ff8011', /indirect/],
    ['not indirect', authorityKey, '0603551d1c0418301684010080110000', undefined],
    ['delta', number, '0603551d1b0101ff040100', /delta list/],
    ['delta that is not marked critical', number, '0603551d1b040402021000', /delta list/],
    ['critical', number, '0603551d7f0101ff040100', /critical extension/],
    ['not critical', number, '0603551d7f040402021000', undefined],
  ];
  for (const [name, before, after, reason] of cases) {
    const read = await readRevocationLists(
      changed(good, (der) => {
        const at = der.indexOf(Buffer.from(before, 'hex'));
        t.ok(at > 0, `${name}: the fixture has it`);
        Buffer.from(after, 'hex').copy(der, at);
        return der;
      }),
    );
    if (reason === undefined) t.equal(read.kind, 'lists', name);
    else t.match(read, { kind: 'bad', reason }, name);
  }
});

t.test('whatever the bytes, the answer is a value, and soon', async (t) => {
  const good = Buffer.from(listOf('rsa-pss').replace(/-----[^-]*-----/g, ''), 'base64');
  let state = 7;
  const random = (below: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * below);
  };
  let read = 0;
  for (let round = 0; round < 2000; round++) {
    const bytes = Buffer.from(good);
    for (let i = 0; i <= random(3); i++) bytes[random(bytes.length)] = random(256);
    const outcome = await readRevocationLists(changed('', () => bytes.subarray(0, 1 + random(bytes.length))));
    if (outcome.kind === 'lists') read++;
  }
  const whole = await readRevocationLists(changed('', () => good));
  t.equal(whole.kind, 'lists');
  t.ok(read < 2000);
});
