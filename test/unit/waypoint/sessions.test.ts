/** Session tokens: sealed, bound to what they are for, and believed only while they may be. */
import fc from 'fast-check';
import t from 'tap';
import { backendOf, cookiePath, isAlive, type Session, type SessionPersistence } from '../../../src/route/session.ts';
import { openSession, ownSessionKeys, sealSession, sessionKeys } from '../../../src/waypoint/session-token.ts';

const persistence: SessionPersistence = {
  carrier: 'cookie',
  name: 'c',
  scope: 'HTTPRoute default/r 0',
  absoluteMs: undefined,
  idleMs: undefined,
  permanent: false,
  path: '/',
};
const session: Session = {
  service: 'default/web.default.svc.cluster.local',
  port: 80,
  uid: 'Kubernetes//Pod/default/web-1',
  createdMs: 1_700_000_000_000,
  seenMs: 1_700_000_060_000,
};

t.test('a token opens to what was sealed, tells nothing, and is another every time', async (t) => {
  const keys = ownSessionKeys();
  const [a, b] = [sealSession(keys, persistence, session), sealSession(keys, persistence, session)];
  t.same(openSession(keys, persistence, a), session);
  t.not(a, b);
  const clear = Buffer.from(a, 'base64url').toString('latin1');
  for (const secret of ['web', 'Pod', 'default']) t.notOk(clear.includes(secret), secret);
  t.match(a, /^[A-Za-z0-9_-]+$/, 'fit for a cookie');
});

t.test('a token is good for its own rule and name, and with a key of the list', async (t) => {
  const old = 'an old secret of thirty-two characters';
  const current = 'a new secret of thirty-two characters.';
  const token = sealSession(sessionKeys([old]), persistence, session);
  t.same(
    openSession(sessionKeys([current, old]), persistence, token),
    session,
    'keys are rotated by adding one in front',
  );
  t.equal(openSession(sessionKeys([current]), persistence, token), undefined);
  t.equal(openSession(ownSessionKeys(), persistence, token), undefined);
  t.equal(openSession(sessionKeys([old]), { ...persistence, scope: 'HTTPRoute default/r 1' }, token), undefined);
  t.equal(openSession(sessionKeys([old]), { ...persistence, name: 'd' }, token), undefined);
});

t.test('nothing that was not sealed opens, and nothing throws', async (t) => {
  const keys = ownSessionKeys();
  const token = Buffer.from(sealSession(keys, persistence, session), 'base64url');
  fc.assert(
    fc.property(fc.nat(token.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const forged = Buffer.from(token);
      forged[at] = (forged[at] ?? 0) ^ change;
      if (openSession(keys, persistence, forged.toString('base64url')) !== undefined) throw new Error('it opened');
    }),
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.base64String(),
        fc.uint8Array().map((b) => Buffer.from(b).toString('base64url')),
      ),
      (text) => {
        if (openSession(keys, persistence, text) !== undefined) throw new Error('it opened');
      },
    ),
  );
  t.equal(openSession(keys, persistence, 'A'.repeat(1_000_000)), undefined);
});

t.test('a session ends by its age, by idleness, and never began in the future', async (t) => {
  const { createdMs, seenMs } = session;
  const alive = (times: Partial<SessionPersistence>, nowMs: number) =>
    isAlive({ ...persistence, ...times }, session, nowMs);
  t.ok(alive({}, seenMs + 1e12));
  t.ok(alive({ absoluteMs: 100_000 }, createdMs + 99_999));
  t.notOk(alive({ absoluteMs: 100_000 }, createdMs + 100_000));
  t.ok(alive({ idleMs: 5000 }, seenMs + 4999));
  t.notOk(alive({ idleMs: 5000 }, seenMs + 5000));
  t.notOk(alive({}, createdMs - 120_000));
});

t.test('a session goes on with a backend of weight 0, and with none that the route has no more', async (t) => {
  const backend = (service: string, weight: number) => ({
    service,
    port: 80,
    weight,
    requestHeaders: undefined,
    responseHeaders: undefined,
  });
  t.match(backendOf([backend('x', 1), backend(session.service, 0)], session), { weight: 0 });
  t.equal(backendOf([backend('x', 1)], session), undefined);
  t.equal(backendOf([{ ...backend(session.service, 1), port: 81 }], session), undefined);
});

t.test('the cookie’s path is what is certain of the route’s', async (t) => {
  t.equal(cookiePath(undefined), '/');
  t.equal(cookiePath({ kind: 'path-prefix', value: '/foo' }), '/foo');
  t.equal(cookiePath({ kind: 'exact', value: '/foo/bar' }), '/foo/bar');
  t.equal(cookiePath({ kind: 'regex', source: '/p1/p2/[^/]*/p3' }), '/p1/p2');
  t.equal(cookiePath({ kind: 'regex', source: '.*' }), '/');
  t.equal(cookiePath({ kind: 'exact', value: '/a; Domain=evil' }), '/');
});
