import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { TokenStore } from '../../../src/control/tokens.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const node = { kind: 'node', node: 'n1' } as const;
const key = Buffer.from('one key');
const otherKey = Buffer.from('another key');

async function start(t: { teardown(handler: () => void): unknown }) {
  const folder = mkdtempSync(join(tmpdir(), 'ambit-tokens-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const clock = new FakeClock();
  return { folder, clock, store: await TokenStore.open(join(folder, 'tokens'), clock) };
}

t.test('a token is long, different each time, and not on the disk', async (t) => {
  const { folder, store } = await start(t);
  const { token } = await store.create(node, 1000);
  t.match(token, /^ambit-join-[A-Za-z0-9_-]{43}$/);
  t.not((await store.create(node, 1000)).token, token);
  for (const file of readdirSync(join(folder, 'tokens'))) {
    const path = join(folder, 'tokens', file);
    t.notOk((file + readFileSync(path, 'utf8')).includes(token.slice(12, 30)));
    t.equal(statSync(path).mode & 0o777, 0o600);
  }
  t.equal(statSync(join(folder, 'tokens')).mode & 0o777, 0o700);
});

t.test('a token is good until it expires or another key has spent it', async (t) => {
  const { store, clock } = await start(t);
  const { token } = await store.create(node, 1000);
  t.same(await store.check(token, key), { kind: 'good', name: node });
  t.equal(await store.spend(token, key), true);
  t.same(await store.check(token, key), { kind: 'good', name: node }, 'the same key may ask again');
  t.match(await store.check(token, otherKey), { kind: 'bad', reason: /used before/ });
  t.equal(await store.spend(token, otherKey), false);
  clock.advance(1000);
  t.match(await store.check(token, key), { kind: 'bad', reason: /expired/ });
});

t.test('of many keys at once exactly one spends a token', async (t) => {
  const { store, folder, clock } = await start(t);
  const { token } = await store.create(node, 1000);
  const second = await TokenStore.open(join(folder, 'tokens'), clock);
  const wins = await Promise.all(
    Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? store : second).spend(token, Buffer.from(`key ${i}`))),
  );
  t.equal(wins.filter(Boolean).length, 1);
  t.equal(readdirSync(join(folder, 'tokens')).length, 2, 'no drafts are left');
});

t.test('nonsense is unknown and touches no file', async (t) => {
  const { store } = await start(t);
  for (const text of ['', 'ambit-join-', '../../etc/passwd', `ambit-join-${'a'.repeat(43)}`, 'x'.repeat(100_000)]) {
    t.match(await store.check(text, key), { kind: 'bad', reason: /unknown/ });
  }
});

t.test('tokens outlive a restart, and are swept a day after they expired', async (t) => {
  const { store, folder, clock } = await start(t);
  const { token } = await store.create(node, 1000);
  await store.spend(token, key);
  const again = await TokenStore.open(join(folder, 'tokens'), clock);
  t.match(await again.check(token, otherKey), { kind: 'bad', reason: /used before/ });
  clock.advance(25 * 3_600_000);
  await TokenStore.open(join(folder, 'tokens'), clock);
  t.same(readdirSync(join(folder, 'tokens')), []);
});
