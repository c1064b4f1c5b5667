/** Keys by URL: cached, renewed, rotated, kept when the server fails, and never fetched as often as a stranger likes. */
import t from 'tap';
import { silentLogger } from '../../../../src/base/logger.ts';
import type { JwtRule } from '../../../../src/route/request-authentication.ts';
import { Authenticator } from '../../../../src/waypoint/jwt/authenticate.ts';
import type { Fetched } from '../../../../src/waypoint/jwt/fetch-text.ts';
import { KeyStore, keyAges } from '../../../../src/waypoint/jwt/key-store.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { createTestKey, jwtRule, keySetText, signToken } from '../../../support/jwt-issuer.ts';

const [one, two] = [await createTestKey('one'), await createTestKey('two')];
const rule = jwtRule({ keys: { kind: 'url', url: 'https://issuer.example/keys' } });
const settled = () => new Promise((resolve) => setImmediate(resolve));

function createWorld() {
  const clock = new FakeClock(Date.now());
  const world = {
    clock,
    fetches: [] as string[],
    answer: { kind: 'document', text: keySetText(one), maxAgeMs: undefined } as Fetched,
    documents: new Map<string, Fetched>(),
  };
  const fetchText = (url: string) => {
    world.fetches.push(url);
    return Promise.resolve(world.documents.get(url) ?? world.answer);
  };
  const dependencies = { clock, logger: silentLogger, fetchText };
  return Object.assign(world, { store: new KeyStore(dependencies), authenticator: new Authenticator(dependencies) });
}

t.test('a set is fetched once, and again beside its use when it is due', async (t) => {
  const { store, clock, fetches } = createWorld();
  t.equal(store.current(rule), undefined);
  const [a, b] = await Promise.all([store.get(rule), store.get(rule)]);
  t.ok(a !== undefined && a === b);
  t.equal(fetches.length, 1, 'one fetch for all who wait');
  clock.advance(keyAges.defaultMs - 1);
  t.equal(store.current(rule), a);
  t.equal(fetches.length, 1);
  clock.advance(1);
  t.equal(store.current(rule), a, 'the old one meanwhile');
  await settled();
  t.equal(fetches.length, 2);
  t.equal(store.current(rule), a, 'an unchanged document is the same set');
});

t.test('max-age is followed within bounds', async (t) => {
  for (const [maxAgeMs, keptMs] of [
    [0, keyAges.leastMs],
    [120_000, 120_000],
    [9e9, keyAges.mostMs],
  ] as const) {
    const world = createWorld();
    world.answer = { kind: 'document', text: keySetText(one), maxAgeMs };
    await world.store.get(rule);
    world.clock.advance(keptMs - 1);
    world.store.current(rule);
    t.equal(world.fetches.length, 1, `${maxAgeMs}`);
    world.clock.advance(1);
    world.store.current(rule);
    t.equal(world.fetches.length, 2, `${maxAgeMs}`);
  }
});

t.test('the last good set goes on when the server fails or talks nonsense', async (t) => {
  const world = createWorld();
  const { store, clock } = world;
  const good = await store.get(rule);
  const failures: Fetched[] = [
    { kind: 'failed', reason: 'status 500' },
    ...['', '<html>', '[]', '{"keys":{}}', '{"keys":[]}', '{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}'].map(
      (text): Fetched => ({ kind: 'document', text, maxAgeMs: undefined }),
    ),
  ];
  for (const answer of failures) {
    world.answer = answer;
    clock.advance(keyAges.mostMs);
    const before = world.fetches.length;
    store.current(rule);
    await settled();
    t.equal(world.fetches.length, before + 1);
    t.equal(store.current(rule), good);
  }
});

t.test('a server that is down is asked once in a while, and its tokens are refused', async (t) => {
  const world = createWorld();
  world.answer = { kind: 'failed', reason: 'connection refused' };
  const token = await signToken(one, { iss: rule.issuer, sub: 'a' });
  const ask = () =>
    world.authenticator.authenticate(
      [{ source: { kind: 'RequestAuthentication', namespace: 'a', name: 'b' }, broken: false, rules: [rule] }],
      { method: 'GET', headers: ['authorization', `Bearer ${token}`], query: '' },
    );
  for (let i = 0; i < 5; i++)
    t.match(await ask(), { kind: 'refuse', status: 401, body: 'Jwks remote fetch is failed' });
  t.equal(world.fetches.length, 1);
  world.answer = { kind: 'document', text: keySetText(one), maxAgeMs: undefined };
  world.clock.advance(keyAges.retryMs);
  t.match(await ask(), { kind: 'pass' });
});

t.test('a new key is found by the first token that names it; unknown names cannot make it fetch at will', async (t) => {
  const world = createWorld();
  const authenticate = (token: string) =>
    world.authenticator.authenticate(
      [{ source: { kind: 'RequestAuthentication', namespace: 'a', name: 'b' }, broken: false, rules: [rule] }],
      { method: 'GET', headers: ['authorization', `Bearer ${token}`], query: '' },
    );
  const [oldToken, newToken] = await Promise.all(
    [one, two].map((key) => signToken(key, { iss: rule.issuer, sub: 'a' })),
  );
  t.match(await authenticate(oldToken as string), { kind: 'pass' });
  world.answer = { kind: 'document', text: keySetText(two), maxAgeMs: undefined };
  world.clock.advance(keyAges.retryMs);
  t.match(await authenticate(newToken as string), { kind: 'pass' });
  t.equal(world.fetches.length, 2);
  t.match(await authenticate(oldToken as string), { kind: 'refuse' }, 'what the old key signed ends with it');
  for (let i = 0; i < 20; i++) {
    const forged = await signToken({ ...one, kid: `k${i}` }, { iss: rule.issuer, sub: 'a' });
    t.match(await authenticate(forged), { kind: 'refuse' });
  }
  t.equal(world.fetches.length, 2);
});

t.test('discovery takes the issuer at its own word only', async (t) => {
  const url = 'https://issuer.example/.well-known/openid-configuration';
  const discovering: JwtRule = { ...rule, keys: { kind: 'discovery', url } };
  const document = (fields: object): Fetched => ({
    kind: 'document',
    text: JSON.stringify(fields),
    maxAgeMs: undefined,
  });
  const world = createWorld();
  world.documents.set(url, document({ issuer: 'https://other.example', jwks_uri: 'https://issuer.example/k' }));
  t.equal(await world.store.get(discovering), undefined);
  world.documents.set(url, document({ issuer: rule.issuer, jwks_uri: 'https://issuer.example/k' }));
  world.clock.advance(keyAges.retryMs);
  t.equal((await world.store.get(discovering))?.size, 1);
  t.same(world.fetches, [url, url, 'https://issuer.example/k']);
});
