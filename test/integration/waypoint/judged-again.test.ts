/** HTTP requests under way when policies change: what is no longer allowed ends, whatever carries it; all else goes on. */
import { createServer, type RequestListener } from 'node:http';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import t, { type Test } from 'tap';
import { modernPreset } from '../../../src/config/preset.ts';
import { emptyL7Model, type L7Model, type L7Policy } from '../../../src/route/model.ts';
import { eventually } from '../../support/eventually.ts';
import { createTestKey, keySetText, signToken } from '../../support/jwt-issuer.ts';
import { http1 } from './client.ts';
import { createHarness, type Harness, notSleepId, podUid, sleepId } from './harness.ts';
import { authorizationPolicy, modelOf, requestAuthentication } from './productpage-models.ts';

const key = await createTestKey('one');
const otherKey = await createTestKey('two');

const denySleep = authorizationPolicy(
  'no-sleep',
  `action: DENY, rules: [{from: [{source: {principals: [${sleepId.slice('spiffe://'.length)}]}}]}]`,
);
const denyStream = authorizationPolicy('no-stream', 'action: DENY, rules: [{to: [{operation: {paths: [/stream]}}]}]');

/** `/stream` begins and does not end, `/slow` does not begin, an upgrade is an echo. */
const app: RequestListener = (request, response) => {
  response.on('error', () => {});
  if (request.url?.startsWith('/stream')) response.write('begun');
  else if (request.url !== '/slow') response.end('done');
};

async function createWorld(t: Test): Promise<Harness & { change(model: L7Model): void }> {
  const server = createServer(app);
  server.on('upgrade', (_request, socket: Socket) => {
    socket.on('error', () => {});
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    socket.pipe(socket);
  });
  const harness = await createHarness(t, { preset: modernPreset, pods: [app], servers: [server] });
  harness.model = modelOf();
  return Object.assign(harness, {
    change(model: L7Model) {
      harness.model = model;
      harness.waypoint.modelChanged();
    },
  });
}

/** Sends and collects what comes; `closed` when the tunnel is. */
function talk(stream: Duplex, head: string) {
  const seen = { text: '', closed: false };
  stream.on('error', () => {});
  stream.on('close', () => {
    seen.closed = true;
  });
  stream.on('data', (chunk: Buffer) => {
    seen.text += chunk.toString('latin1');
  });
  stream.write(`${head}\r\nhost: productpage:9080\r\n\r\n`);
  return seen;
}

const logged = (harness: Harness, path: string) =>
  eventually(`${path} to be logged`, () => harness.lines.find((line) => line.get('path') === path));

t.test('a response under way breaks off when a policy denies its client, and no other does', async (t) => {
  const harness = await createWorld(t);
  const mine = talk(await harness.tunnel(), 'GET /stream?mine HTTP/1.1');
  const other = talk(await harness.tunnel(undefined, notSleepId), 'GET /stream?other HTTP/1.1');
  await eventually('both to begin', () => mine.text.includes('begun') && other.text.includes('begun'));
  harness.change(modelOf(denySleep));
  await eventually('the one to break off', () => mine.closed);
  t.notMatch(mine.text, /\r\n0\r\n/, 'it does not look whole');
  const line = await logged(harness, '/stream?mine');
  t.equal(line.get('response_flags'), 'RBAC');
  t.equal(line.get('response_code_details'), 'rbac_access_denied_matched_policy[ns[default]-policy[no-sleep]-rule[0]]');
  harness.change(
    modelOf(denySleep, authorizationPolicy('more', 'action: DENY, rules: [{to: [{operation: {paths: [/x]}}]}]')),
  );
  t.match(await http1(await harness.tunnel(undefined, notSleepId)), { status: 200 }, 'time for the other to end');
  t.equal(other.closed, false);
});

t.test('HTTP/2: the stream is reset, others of the same connection go on', async (t) => {
  const harness = await createWorld(t);
  const tunnel = await harness.tunnel();
  const session = connect('http://productpage:9080', { createConnection: () => tunnel as never });
  t.teardown(() => session.destroy());
  const [denied, kept] = [await begin(session, '/stream'), await begin(session, '/stream-kept')];
  harness.change(modelOf(denyStream));
  await eventually('the stream to end', () => denied.destroyed);
  t.not(denied.rstCode, 0);
  t.match([kept.destroyed, session.destroyed], [false, false]);
  t.equal((await logged(harness, '/stream')).get('response_flags'), 'RBAC');
});

async function begin(session: ClientHttp2Session, path: string): Promise<ClientHttp2Stream> {
  const stream = session.request({ ':path': path });
  stream.on('error', () => {});
  await new Promise((resolve) => stream.once('data', resolve));
  return stream;
}

t.test('a WebSocket ends', async (t) => {
  const harness = await createWorld(t);
  const upgrade = '\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: k';
  const stream = await harness.tunnel();
  const socket = talk(stream, `GET /stream HTTP/1.1${upgrade}`);
  await eventually('the answer', () => socket.text.startsWith('HTTP/1.1 101'));
  stream.write('frames');
  await eventually('the echo', () => socket.text.endsWith('frames'));
  harness.change(modelOf());
  harness.change(modelOf(denyStream));
  await eventually('the end', () => socket.closed);
  const line = await logged(harness, '/stream');
  t.match([line.get('response_code'), line.get('response_flags')], [101, 'RBAC']);
});

t.test('who has no answer yet gets 403', async (t) => {
  const harness = await createWorld(t);
  const answer = http1(await harness.tunnel(), { path: '/slow' });
  await eventually('it to be under way', () => harness.arrived.length > 0);
  harness.change(modelOf(denySleep));
  t.match(await answer, { status: 403, body: 'RBAC: access denied' });
  t.match((await logged(harness, '/slow')).get('response_code_details'), /no-sleep/);
});

t.test('the policies of the pod count too, and providers that nobody asked', async (t) => {
  const harness = await createWorld(t);
  const denied: L7Policy = {
    source: { kind: 'AuthorizationPolicy', namespace: 'default', name: 'pod' },
    action: 'deny',
    dryRun: false,
    rules: [{ clauses: [] }],
  };
  const pod = { ...emptyL7Model, workloadPolicies: new Map([[podUid(0), [denied]]]) };
  const custom = {
    ...emptyL7Model,
    customAuthorizations: {
      gateways: new Map([['default/productpage', [{ providerName: 'p', provider: undefined, policies: [denied] }]]]),
      services: new Map(),
    },
  };
  for (const [name, model] of Object.entries({ pod, custom })) {
    harness.change(emptyL7Model);
    const stream = talk(await harness.tunnel(), `GET /stream?${name} HTTP/1.1`);
    await eventually('it to begin', () => stream.text.includes('begun'));
    harness.change(model);
    await eventually(`the end by ${name}`, () => stream.closed);
    t.match((await logged(harness, `/stream?${name}`)).get('response_code_details'), /policy\[pod\]/);
  }
});

t.test('a token counts by the rules of now; claims that it told once are kept', async (t) => {
  const harness = await createWorld(t);
  const rule = { issuer: 'issuer-1', jwks: keySetText(key) };
  const onlyClaim = authorizationPolicy('claim', 'rules: [{from: [{source: {requestPrincipals: [issuer-1/me]}}]}]');
  harness.change(modelOf(requestAuthentication([rule]), onlyClaim));
  const token = await signToken(key, { iss: 'issuer-1', sub: 'me' });
  const head = `GET /stream HTTP/1.1\r\nauthorization: Bearer ${token}`;
  const stream = talk(await harness.tunnel(), head);
  await eventually('it to begin', () => stream.text.includes('begun'));
  harness.change(modelOf(requestAuthentication([rule]), onlyClaim, denyStream.replace('/stream', '/elsewhere')));
  harness.change(modelOf(requestAuthentication([{ ...rule, jwks: keySetText(otherKey, key) }]), onlyClaim));
  const after = await http1(await harness.tunnel(), { headers: { authorization: `Bearer ${token}` } });
  t.equal(after.status, 200, 'verified by other rules');
  t.equal(stream.closed, false, 'its key is still among the keys');
  harness.change(modelOf(requestAuthentication([{ ...rule, jwks: keySetText(otherKey) }]), onlyClaim));
  await eventually('the end', () => stream.closed);
  t.match((await logged(harness, '/stream')).get('response_code_details'), /^jwt_authn_access_denied/);
});

t.test('a request that waited while policies changed is judged by the new ones before it is sent', async (t) => {
  const harness = await createWorld(t);
  const fault = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: delayed, namespace: default}
spec:
  hosts: [productpage]
  http:
  - fault: {delay: {percentage: {value: 100}, fixedDelay: 0.2s}}
    route: [{destination: {host: productpage, port: {number: 9080}}}]
`;
  harness.change(modelOf(fault));
  const answer = http1(await harness.tunnel(), { path: '/now' });
  await eventually('it to be there', () => harness.waypoint.services.admission.requests > 0);
  harness.change(modelOf(fault, denySleep));
  t.match(await answer, { status: 403 });
  t.equal(harness.arrived.length, 0, 'nothing was sent');
});

t.test('of many requests under way exactly those denied end, in whatever order they came and went', async (t) => {
  const harness = await createWorld(t);
  const tunnel = await harness.tunnel();
  const session = connect('http://productpage:9080', { createConnection: () => tunnel as never });
  t.teardown(() => session.destroy());
  const streams = await Promise.all(Array.from({ length: 60 }, (_, at) => begin(session, `/stream/${at % 3}`)));
  for (const at of [0, 7, 30, 59]) streams[at]?.close();
  await eventually('those to be gone', () => harness.lines.length >= 4);
  harness.change(modelOf(denyStream.replace('/stream', '/stream/1')));
  harness.change(modelOf(denyStream.replace('/stream', '/stream/2')));
  const ended = (rest: number) => streams.filter((stream, at) => at % 3 === rest && stream.destroyed).length;
  await eventually('all of them to end', () => ended(2) === 20);
  t.equal(ended(0), 2, 'the others that were closed');
  harness.change(modelOf(denySleep));
  await eventually('everything to end', () => ended(0) + ended(1) + ended(2) === 60);
});
