/** Which tokens pass, which are refused, and what a request looks like afterwards. */
import { createHmac } from 'node:crypto';
import t from 'tap';
import { silentLogger } from '../../../../src/base/logger.ts';
import type { JwtRule, RequestAuthentication } from '../../../../src/route/request-authentication.ts';
import { type Authentication, Authenticator, type TokenRequest } from '../../../../src/waypoint/jwt/authenticate.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { createTestKey, jwtRule, keySetText, signToken } from '../../../support/jwt-issuer.ts';

const issuer = 'https://issuer.example';
const key = await createTestKey('one');
const rsa = await createTestKey('rsa', 'RS256');
const stranger = await createTestKey('one');
const keys = { kind: 'inline', document: keySetText(key, rsa) } as const;
const rule = jwtRule({ keys });
const clock = new FakeClock(Date.now());
const nowS = Math.floor(clock.wallMs() / 1000);
const good = { iss: issuer, sub: 'alice' };

function of(...rules: JwtRule[]): RequestAuthentication[] {
  return [{ source: { kind: 'RequestAuthentication', namespace: 'default', name: 'jwt' }, broken: false, rules }];
}

const request = (fields: Partial<TokenRequest> = {}): TokenRequest => ({
  method: 'GET',
  headers: [],
  query: '',
  ...fields,
});
const bearer = (token: string) => request({ headers: ['Authorization', `Bearer ${token}`] });

function createAuthenticator(): Authenticator {
  const fetchText = () => Promise.reject(new Error('nothing is to be fetched'));
  return new Authenticator({ fetchText, clock, logger: silentLogger });
}

async function judge(rules: readonly JwtRule[], asked: TokenRequest): Promise<Authentication> {
  return await createAuthenticator().authenticate(of(...rules), asked);
}

const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

t.test('hostile tokens', async (t) => {
  const valid = await signToken(key, good, clock.wallMs());
  const [head = '', payload = '', signature = ''] = valid.split('.');
  const unsigned = `${base64({ alg: 'none' })}.${base64(good)}.`;
  const hmacInput = `${base64({ alg: 'HS256', kid: 'one' })}.${base64(good)}`;
  const hmac = `${hmacInput}.${createHmac('sha256', JSON.stringify(key.jwk)).update(hmacInput).digest('base64url')}`;
  const sign = (claims: Record<string, unknown>) => signToken(key, { ...good, ...claims }, clock.wallMs());
  const form = 'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections';
  const cases: readonly (readonly [name: string, token: string, body: string])[] = [
    ['no token at all', 'hello', form],
    ['two sections', `${head}.${payload}`, form],
    ['five sections', `${valid}.x.y`, form],
    ['too long', `${head}.${'A'.repeat(17_000)}.${signature}`, form],
    [
      'a payload that is no JSON',
      `${head}.${Buffer.from('{').toString('base64url')}.${signature}`,
      'Jwt payload is an invalid JSON',
    ],
    ['a header that is no JSON', `e30x.${payload}.${signature}`, 'Jwt header is an invalid JSON'],
    ['without an algorithm', `${base64({})}.${payload}.${signature}`, 'Jwt header [alg] is not supported'],
    ['algorithm none', unsigned, 'Jwt header [alg] is not supported'],
    ['algorithm nOnE', `${base64({ alg: 'nOnE' })}.${payload}.`, 'Jwt header [alg] is not supported'],
    ['the public key as an HMAC secret', hmac, 'Jwt header [alg] is not supported'],
    [
      'an algorithm from the prototype',
      `${base64({ alg: 'toString' })}.${payload}.x`,
      'Jwt header [alg] is not supported',
    ],
    [
      'an algorithm of another key type',
      `${base64({ alg: 'PS512', kid: 'one' })}.${payload}.x`,
      "Jwks doesn't have key to match kid or alg from Jwt",
    ],
    ['a signature of somebody else', await signToken(stranger, good, clock.wallMs()), 'Jwt verification fails'],
    ['a payload exchanged', `${head}.${base64({ ...good, sub: 'root' })}.${signature}`, 'Jwt verification fails'],
    [
      'a critical extension nobody knows',
      `${base64({ alg: 'ES256', kid: 'one', crit: ['x'], x: 1 })}.${payload}.${signature}`,
      'Jwt verification fails',
    ],
    [
      'an embedded key of its own',
      `${base64({ alg: 'ES256', kid: 'one', jwk: stranger.jwk })}.${payload}.${signature}`,
      'Jwt verification fails',
    ],
    [
      'an unknown key',
      await signToken({ ...key, kid: 'two' }, good, clock.wallMs()),
      "Jwks doesn't have key to match kid or alg from Jwt",
    ],
    ['another issuer', await sign({ iss: 'https://other.example' }), 'Jwt issuer is not configured'],
    ['no issuer', await signToken(key, { sub: 'alice' }, clock.wallMs()), 'Jwt issuer is not configured'],
    ['expired beyond the tolerance', await sign({ exp: nowS - 61 }), 'Jwt is expired'],
    ['not valid yet', await sign({ nbf: nowS + 61 }), 'Jwt not yet valid'],
    ['an expiry that is no number', await sign({ exp: 'never' as never }), 'Jwt verification fails'],
  ];
  for (const [name, token, body] of cases) {
    const outcome = await judge([rule], bearer(token));
    t.match(outcome, { kind: 'refuse', status: 401, body }, name);
  }
  t.match(
    await judge([rule], bearer(await sign({ exp: nowS - 59 }))),
    { kind: 'pass' },
    'expired within the tolerance',
  );
  t.match(await judge([rule], bearer(await sign({ nbf: nowS + 59 }))), { kind: 'pass' }, 'early within the tolerance');
  t.match(await judge([rule], bearer(await signToken(rsa, good))), { kind: 'pass' }, 'RSA');
});

t.test('without a token a request passes as nobody, and what tells of a token is removed', async (t) => {
  const outputs = jwtRule({ keys, payloadHeader: 'x-payload', claimHeaders: [{ header: 'x-user', claim: ['sub'] }] });
  const headers = ['X-Payload', 'forged', 'x-user', 'root', 'x-other', 'stays', 'Authorization', 'Basic YTpi'];
  t.match(await judge([outputs], request({ headers })), {
    kind: 'pass',
    claims: undefined,
    headers: ['x-other', 'stays', 'Authorization', 'Basic YTpi'],
  });
  const preflight = [
    'Origin',
    'https://a.example',
    'Access-Control-Request-Method',
    'PUT',
    'Authorization',
    'Bearer x',
    'x-user',
    'root',
  ];
  t.match(await judge([outputs], request({ method: 'OPTIONS', headers: preflight })), {
    kind: 'pass',
    claims: undefined,
    headers: preflight.slice(0, 6),
  });
  t.match(await judge([outputs], request({ headers: preflight })), { kind: 'refuse' }, 'only OPTIONS is a preflight');
});

t.test('audiences', async (t) => {
  const ours = jwtRule({ keys, audiences: ['ours', 'also'] });
  const asked = async (aud: string | string[]) => judge([ours], bearer(await signToken(key, { ...good, aud })));
  t.match(await asked('ours'), { kind: 'pass' });
  t.match(await asked(['x', 'also']), { kind: 'pass' });
  t.match(await asked('theirs'), { kind: 'refuse', status: 403, body: 'Audiences in Jwt are not allowed' });
  t.match(await judge([ours], bearer(await signToken(key, good))), { kind: 'refuse', status: 403 }, 'none at all');
});

t.test('every token must be accepted by a rule that looks where it stands', async (t) => {
  const second = jwtRule({
    keys: { kind: 'inline', document: keySetText(stranger) },
    issuer: 'https://second.example',
    locations: [{ kind: 'cookie', name: 'sid' }],
  });
  const [a, b] = [await signToken(key, good), await signToken(stranger, { iss: second.issuer, sub: 'bob' })];
  const both = await judge(
    [rule, second],
    request({ headers: ['cookie', `x=1; sid=${b}; y=2`, 'authorization', `bearer ${a}`] }),
  );
  t.match(both, { kind: 'pass', claims: { values: { sub: 'alice' } }, headers: ['cookie', 'x=1; y=2'] });
  t.match(
    await judge([rule, second], bearer(b)),
    { kind: 'refuse', body: 'Jwt issuer is not configured' },
    'not there',
  );
  const mixed = request({ headers: ['authorization', `Bearer ${a}`, 'cookie', 'sid=x.y.z'] });
  t.match(await judge([rule, second], mixed), { kind: 'refuse' }, 'a good one does not excuse a bad one');
  const many = request({ headers: [1, 2, 3, 4, 5].flatMap((n) => ['authorization', `Bearer ${n}`]) });
  t.match(await judge([rule], many), { kind: 'refuse', body: 'Jwt: too many tokens in one request' });
  const wrongKeys = jwtRule({ keys: { kind: 'inline', document: keySetText(stranger) } });
  t.match(await judge([wrongKeys, rule], bearer(a)), { kind: 'pass' }, 'one of two rules of one issuer is enough');
});

t.test('locations, and what is forwarded of them', async (t) => {
  const token = await signToken(key, good);
  const named = jwtRule({
    keys,
    locations: [
      { kind: 'header', name: 'x-jwt', prefix: 'JWT-', ignoreCase: false },
      { kind: 'param', name: 'tok' },
    ],
  });
  t.match(await judge([named], request({ headers: ['X-JWT', `JWT-${token}`] })), {
    claims: { values: good },
    headers: [],
  });
  t.match(
    await judge([named], request({ headers: ['X-JWT', `jwt-${token}`] })),
    { claims: undefined },
    'another prefix',
  );
  t.match(await judge([named], bearer(token)), { claims: undefined }, 'the default places are no longer looked at');
  t.match(await judge([named], request({ query: `?a=%20&t%6Fk=${token}&b` })), {
    claims: { values: good },
    query: '?a=%20&b',
  });
  t.match(await judge([rule], request({ query: `?access_token=${token}` })), { claims: { values: good }, query: '' });
  t.match(await judge([rule], request({ query: '?access_token=a.b.c&z=1' })), { kind: 'refuse', loggedQuery: '?z=1' });
  const forwarding = { ...rule, forwardOriginalToken: true };
  const query = `?access_token=${token}`;
  t.match(await judge([forwarding], request({ query })), { claims: { values: good }, query, loggedQuery: '' });
  const kept = await judge([{ ...rule, forwardOriginalToken: true }], bearer(token));
  t.match(kept, { claims: { values: good }, headers: ['Authorization', `Bearer ${token}`] });
});

t.test('claims become headers, and none of them can end a line', async (t) => {
  const claims = { ...good, admin: true, n: 7, groups: ['a', 'b'], org: { unit: 'x' }, evil: 'a\r\nx-root: 1' };
  const token = await signToken(key, claims);
  const header = (claim: string) => ({ header: `x-${claim.replace('.', '-')}`, claim: claim.split('.') });
  const outputs = jwtRule({
    keys,
    payloadHeader: 'x-payload',
    claimHeaders: ['sub', 'admin', 'n', 'groups', 'org.unit', 'evil', 'missing', 'constructor', '__proto__'].map(
      header,
    ),
  });
  const outcome = await judge(
    [outputs],
    request({ headers: ['authorization', `Bearer ${token}`, 'x-sub', 'root', 'x-missing', 'x'] }),
  );
  t.same(outcome.kind === 'pass' && outcome.headers, [
    ...['x-payload', token.split('.')[1], 'x-sub', 'alice', 'x-admin', 'true', 'x-n', '7'],
    ...['x-groups', base64(['a', 'b']), 'x-org-unit', 'x'],
  ]);
});

t.test('a verified token is known again at once, until it or its keys end', async (t) => {
  const own = new FakeClock(Date.now());
  const authenticator = new Authenticator({
    fetchText: () => Promise.reject(new Error('no')),
    clock: own,
    logger: silentLogger,
  });
  const token = await signToken(key, { ...good, exp: Math.floor(own.wallMs() / 1000) + 100 });
  const ask = () => authenticator.authenticate(of(rule), bearer(token));
  const first = ask();
  t.ok(first instanceof Promise);
  t.match(await first, { kind: 'pass' });
  t.match(ask(), { kind: 'pass', claims: { values: good } }, 'without waiting');
  const changed = authenticator.authenticate(of({ ...rule, audiences: ['ours'] }), bearer(token));
  t.match(await changed, { kind: 'refuse' }, 'another rule did not verify it');
  own.advance(159_000);
  t.match(ask(), { kind: 'pass' });
  own.advance(2_000);
  t.match(await ask(), { kind: 'refuse', body: 'Jwt is expired' });
});

t.test('an object that cannot be read refuses every request', async (t) => {
  const [authentication] = of(rule);
  const outcome = createAuthenticator().authenticate(
    [{ ...(authentication as RequestAuthentication), broken: true }],
    request(),
  );
  t.match(outcome, { kind: 'refuse', status: 401, details: 'jwt_authn_access_denied{Jwt_rules_cannot_be_read}' });
});
