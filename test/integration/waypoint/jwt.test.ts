/** RequestAuthentication at a waypoint, on real tunnels: as a user writes it, from YAML to what the application gets. */
import type { IncomingMessage, RequestListener } from 'node:http';
import t, { type Test } from 'tap';
import { modernPreset } from '../../../src/config/preset.ts';
import { compileText, documents } from '../../support/compile-text.ts';
import { eventually } from '../../support/eventually.ts';
import { createTestKey, keySetText, serveDocuments, signToken } from '../../support/jwt-issuer.ts';
import { http1, http2, type RequestOptions } from './client.ts';
import { createHarness, type Harness } from './harness.ts';
import { authorizationPolicy, modelOf, productpage, requestAuthentication } from './productpage-models.ts';

const one = await createTestKey('one');
const rsa = await createTestKey('rsa', 'RS256');
const two = await createTestKey('two');

const inline = { issuer: 'issuer-1', jwks: keySetText(one, rsa) };

/** The application answers with what it got. */
const echo: RequestListener = (request, response) => {
  response.end(JSON.stringify({ url: request.url, headers: request.headers }));
};

interface Seen {
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
}

async function createWorld(t: Test, jwksOrigins: readonly string[] = []): Promise<Harness> {
  return await createHarness(t, { preset: modernPreset, pods: [echo], jwksOrigins });
}

async function ask(harness: Harness, options: RequestOptions = {}) {
  return await http1(await harness.tunnel(), options);
}

const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
const seenBy = (answer: { readonly body: string }): Seen => JSON.parse(answer.body);

t.test('a token opens what a policy keeps for its principal', async (t) => {
  const harness = await createWorld(t);
  harness.model = modelOf(
    requestAuthentication([inline, { issuer: 'issuer-2', jwks: keySetText(two) }]),
    authorizationPolicy(
      'az',
      `rules: [{from: [{source: {requestPrincipals: [issuer-1/sub-1, issuer-2/*]}}]}, {to: [{operation: {paths: [/healthz]}}]}]`,
    ),
  );
  const status = async (options: RequestOptions) => (await ask(harness, options)).status;
  const [first, second] = [
    await signToken(one, { iss: 'issuer-1', sub: 'sub-1' }),
    await signToken(rsa, { iss: 'issuer-1', sub: 'sub-2' }),
  ];
  t.equal(await status({}), 403, 'no token');
  t.equal(await status({ path: '/healthz' }), 200, 'no token where none is asked for');
  t.equal(await status(bearer(first)), 200);
  t.equal(await status(bearer(first)), 200, 'known by now');
  t.equal(await status({ path: `/x?access_token=${first}` }), 200);
  t.equal(await status(bearer(second)), 403, 'another subject');
  t.equal(await status(bearer(await signToken(two, { iss: 'issuer-2', sub: 'x' }))), 200);
  t.equal(await status({ ...bearer(await signToken(two, { iss: 'issuer-3', sub: 'sub-1' })), path: '/healthz' }), 401);
  const expired = await ask(harness, {
    ...bearer(await signToken(one, { iss: 'issuer-1', sub: 'sub-1', exp: 1 })),
    path: '/a?b',
  });
  t.match(expired, { status: 401, body: 'Jwt is expired' });
  t.equal(expired.headers['www-authenticate'], 'Bearer realm="http://productpage:9080/a", error="invalid_token"');
  const log = () => JSON.stringify(harness.lines.map((line) => [...line]));
  await eventually('the refusal in the log', () => log().includes('jwt_authn_access_denied{Jwt_is_expired}'));
  t.notOk(log().includes(first.slice(-20)), 'no token in the log');
});

t.test('the application gets claims as headers, and no token that was not asked for', async (t) => {
  const harness = await createWorld(t);
  harness.model = modelOf(
    requestAuthentication([
      { ...inline, outputPayloadToHeader: 'X-Payload', outputClaimToHeaders: [{ header: 'X-Org', claim: 'org.unit' }] },
    ]),
  );
  const claims = { iss: 'issuer-1', sub: 'sub-1', org: { unit: 'sales' } };
  const token = await signToken(one, claims);
  const asked = { path: `/p?a=1&access_token=${token}&b=%20`, headers: { 'x-org': 'forged', 'x-payload': 'forged' } };
  const seen = seenBy(await ask(harness, asked));
  t.equal(seen.url, '/p?a=1&b=%20');
  t.match(seen.headers, { 'x-org': 'sales' });
  t.match(JSON.parse(Buffer.from(String(seen.headers['x-payload']), 'base64url').toString()), claims);
  const anonymous = seenBy(await ask(harness, { headers: { 'x-org': 'forged', 'X-Payload': 'forged' } }));
  t.notOk('x-org' in anonymous.headers || 'x-payload' in anonymous.headers);
  t.notOk('authorization' in seenBy(await ask(harness, bearer(token))).headers);
});

t.test('conditions on claims: nested, lists, presence, prefix, suffix, negation', async (t) => {
  const harness = await createWorld(t);
  const token = await signToken(one, {
    iss: 'issuer-1',
    sub: 'sub-1',
    aud: ['app', 'web'],
    azp: 'portal',
    scope: 'read write',
    groups: ['admins', 'staff'],
    nested: { key: { role: 'owner' } },
    number: 1,
  });
  const cases: readonly (readonly [condition: string, withToken: number, without: number])[] = [
    ['key: "request.auth.claims[groups]", values: [staff]', 200, 403],
    ['key: "request.auth.claims[groups]", values: ["adm*"]', 200, 403],
    ['key: "request.auth.claims[groups]", values: ["*aff"]', 200, 403],
    ['key: "request.auth.claims[groups]", values: ["*"]', 200, 403],
    ['key: "request.auth.claims[groups]", values: [staf]', 403, 403],
    ['key: "request.auth.claims[groups]", notValues: [staff]', 403, 200],
    ['key: "request.auth.claims[scope]", values: [write]', 200, 403],
    ['key: "request.auth.claims[nested][key][role]", values: [owner]', 200, 403],
    ['key: "request.auth.claims[nested][key]", values: ["*"]', 403, 403],
    ['key: "request.auth.claims[number]", values: ["1"]', 403, 403],
    ['key: "request.auth.claims[constructor][name]", values: ["*"]', 403, 403],
    ['key: "request.auth.audiences", values: [web]', 200, 403],
    ['key: "request.auth.presenter", values: [portal]', 200, 403],
    ['key: "request.auth.principal", values: ["*/sub-1"]', 200, 403],
    ['key: "request.auth.principal", notValues: ["*"]', 403, 200],
  ];
  for (const [condition, withToken, without] of cases) {
    harness.model = modelOf(
      requestAuthentication([inline]),
      authorizationPolicy('az', `rules: [{when: [{${condition}}]}]`),
    );
    t.equal((await ask(harness, bearer(token))).status, withToken, condition);
    t.equal((await ask(harness)).status, without, `${condition}, without a token`);
  }
  harness.model = modelOf(
    requestAuthentication([inline]),
    authorizationPolicy('az', 'action: DENY, rules: [{from: [{source: {notRequestPrincipals: ["*"]}}]}]'),
  );
  t.equal((await ask(harness)).status, 403, 'DENY to whom no token speaks for');
  t.equal((await ask(harness, bearer(token))).status, 200);
});

t.test('keys by URL: fetched, rotated, and only from where the operator allows', async (t) => {
  let document = keySetText(one);
  let fetches = 0;
  const origin = await serveDocuments(t, (_request, response) => {
    fetches++;
    response.end(document);
  });
  const rules = requestAuthentication([{ issuer: 'issuer-1', jwksUri: `${origin}/keys` }]);
  const token = await signToken(one, { iss: 'issuer-1', sub: 'sub-1' });
  const closed = await createWorld(t);
  closed.model = modelOf(rules);
  t.match(await ask(closed, bearer(token)), { status: 401, body: 'Jwks remote fetch is failed' });
  t.equal(fetches, 0, 'a namespace cannot make the waypoint call into the cluster');
  t.equal((await ask(closed)).status, 200, 'without a token nothing is needed');
  const open = await createWorld(t, [origin]);
  open.model = modelOf(rules);
  const answers = await Promise.all(
    [1, 2, 3].map(() => ask(open, { ...bearer(token), method: 'POST', body: 'x'.repeat(100_000) })),
  );
  t.same(
    answers.map(({ status }) => status),
    [200, 200, 200],
    'bodies wait with their requests',
  );
  t.equal(fetches, 1);
  document = keySetText(two);
  const forged = await signToken(two, { iss: 'issuer-1', sub: 'sub-1' });
  t.equal((await ask(open, bearer(forged))).status, 401, 'not again so soon');
  t.equal(fetches, 1);
});

t.test('who leaves while keys are fetched is logged and nothing is forwarded', async (t) => {
  const held: (() => void)[] = [];
  const origin = await serveDocuments(t, (_request, response) => void held.push(() => response.end(keySetText(one))));
  const harness = await createWorld(t, [origin]);
  harness.model = modelOf(requestAuthentication([{ issuer: 'issuer-1', jwksUri: `${origin}/keys` }]));
  const token = await signToken(one, { iss: 'issuer-1', sub: 'sub-1' });
  const stream = await harness.tunnel();
  const answer = http1(stream, { ...bearer(token), method: 'POST', body: 'x' }).catch(() => 'gone');
  await eventually('a fetch', () => held.length === 1);
  stream.destroy();
  t.equal(await answer, 'gone');
  await eventually('a report', () => harness.requests.length === 1);
  t.match(harness.requests[0], { request: { responseCode: 0, responseFlags: 'DC' } });
  for (const release of held) release();
  t.equal((await ask(harness, bearer(token))).status, 200, 'the keys came for others');
  t.equal(harness.arrived.length, 1);
});

t.test('gRPC clients are told in their own way; an object that cannot be read refuses all', async (t) => {
  const harness = await createWorld(t);
  harness.model = modelOf(requestAuthentication([inline]));
  const call = await http2(await harness.tunnel(), { 'content-type': 'application/grpc', authorization: 'Bearer x' });
  t.match(call.headers, { ':status': 200, 'grpc-status': '16' });
  harness.model = compileText(
    documents(productpage, requestAuthentication([{ ...inline, outputPayloadToHeader: 'content-length' }])),
  ).l7;
  t.match(await ask(harness), { status: 401, body: 'Jwt rules cannot be read' });
});
