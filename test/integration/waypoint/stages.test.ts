/** Faults, CORS and mirrors of a route, through a waypoint on real tunnels. */
import type { IncomingMessage, RequestListener } from 'node:http';
import { text } from 'node:stream/consumers';
import t from 'tap';
import type { L7Policy, RouteBackend, RouteStages } from '../../../src/route/model.ts';
import { emptyL7Model, type Route } from '../../../src/route/model.ts';
import { eventually } from '../../support/eventually.ts';
import { makeChange, makePort, makeService, makeWorkload } from '../../support/mesh-records.ts';
import { http1, http2 } from './client.ts';
import { createHarness, type Harness, podIp, productId, serviceKey } from './harness.ts';

const hello: RequestListener = (request, response) => {
  request.resume().once('end', () => response.end('hello'));
};

const shadowKey = 'default/shadow.default.svc.cluster.local';

/** Pod 1 leaves the service and becomes `shadow`'s only one. */
function splitShadow(harness: Harness): void {
  harness.mesh.apply(
    makeChange({
      services: [
        makeService({ name: 'shadow', ports: new Map([[9080, makePort(9080, 0, { appProtocol: 'http11' })]]) }),
      ],
      workloads: [
        makeWorkload({
          name: 'productpage-1',
          serviceAccount: 'bookinfo-productpage',
          addresses: [podIp(1)],
          services: new Map([[shadowKey, new Map([[9080, harness.podPort]])]]),
          tunnelProtocol: 'hbone',
          waypoint: {
            kind: 'hostname',
            service: 'default/bookinfo-productpage.default.waypoint.internal',
            hbonePort: 15006,
          },
        }),
      ],
    }),
  );
}

function backend(service: string): RouteBackend {
  return { service, port: 9080, weight: 1, requestHeaders: undefined, responseHeaders: undefined };
}

const mirrorAll = { backend: backend(shadowKey), share: 1 };

function setStages(harness: Harness, stages: Partial<RouteStages>, fields: Partial<Route> = {}): void {
  const route: Route = {
    name: 'default/route/0/0',
    source: undefined,
    match: undefined,
    action: { kind: 'forward', backends: [backend(serviceKey)] },
    requestHeaders: undefined,
    responseHeaders: undefined,
    rewritePath: undefined,
    rewriteHost: undefined,
    timeoutMs: undefined,
    retry: undefined,
    stages: { fault: undefined, cors: undefined, mirrors: [], ...stages },
    ...fields,
  };
  const ports = { service: serviceKey, port: 9080, appProtocol: 'http11', routes: [route], streams: [] } as const;
  harness.model = { ...emptyL7Model, ports: new Map([[`${serviceKey}:9080`, ports]]) };
}

const cors = {
  allowOrigins: [{ kind: 'exact', value: 'https://foo.com', ignoreCase: true }],
  allowMethods: ['PUT'],
  allowHeaders: [],
  exposeHeaders: ['x-c'],
  allowCredentials: true,
  maxAgeSeconds: 5,
  answerUnmatched: true,
} as const;

const reported = (harness: Harness, n = 1) =>
  eventually('the request to be reported', () => harness.requests.length >= n);

t.test('a preflight is answered by the waypoint, other requests get the permission with the response', async (t) => {
  let seen = 0;
  const counted: RequestListener = (request, response) => {
    seen++;
    hello(request, response);
  };
  const harness = await createHarness(t, { pods: [counted] });
  setStages(harness, { cors });
  const preflight = await http1(await harness.tunnel(), {
    method: 'OPTIONS',
    headers: { origin: 'https://foo.com', 'access-control-request-method': 'PUT' },
  });
  t.equal(preflight.status, 200);
  t.match(preflight.headers, {
    'access-control-allow-origin': 'https://foo.com',
    'access-control-allow-credentials': 'true',
    'access-control-allow-methods': 'PUT',
    'access-control-max-age': '5',
  });
  t.equal(seen, 0, 'the application saw no preflight');
  const request = await http1(await harness.tunnel(), { headers: { origin: 'https://foo.com' } });
  t.equal(request.body, 'hello');
  t.match(request.headers, {
    'access-control-allow-origin': 'https://foo.com',
    'access-control-expose-headers': 'x-c',
  });
  const other = await http1(await harness.tunnel(), { headers: { origin: 'https://evil.com' } });
  t.equal(other.body, 'hello');
  t.notOk('access-control-allow-origin' in other.headers);
});

t.test('a browser may read an error of the waypoint, too', async (t) => {
  const harness = await createHarness(t, { pods: ['down'] });
  setStages(harness, { cors });
  const answer = await http1(await harness.tunnel(), { headers: { origin: 'https://foo.com' } });
  t.equal(answer.status, 503);
  t.equal(answer.headers['access-control-allow-origin'], 'https://foo.com');
});

t.test('an abort answers in place of the application', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  setStages(harness, { fault: { delay: undefined, abort: { answer: { kind: 'http', status: 418 }, share: 1 } } });
  const answer = await http1(await harness.tunnel());
  t.equal(answer.status, 418);
  t.equal(answer.body, 'fault filter abort');
  await reported(harness);
  t.match(harness.requests[0]?.request, { responseCode: 418, responseFlags: 'FI' });
  t.equal(harness.arrived.length, 0);
});

t.test('an abort with a gRPC status is trailers-only for gRPC, the like HTTP status for others', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  setStages(harness, { fault: { delay: undefined, abort: { answer: { kind: 'grpc', grpcStatus: 14 }, share: 1 } } });
  const grpc = await http2(await harness.tunnel(), { 'content-type': 'application/grpc', te: 'trailers' });
  t.match(grpc.headers, { ':status': 200, 'grpc-status': '14', 'grpc-message': 'fault filter abort' });
  t.equal((await http1(await harness.tunnel())).status, 503);
});

t.test('a delay holds the request back; its time is not the timeout of the route', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  setStages(harness, { fault: { delay: { delayMs: 120, share: 1 }, abort: undefined } }, { timeoutMs: 5_000 });
  const startedMs = performance.now();
  const answer = await http1(await harness.tunnel(), { method: 'POST', body: 'x' });
  t.ok(performance.now() - startedMs >= 115);
  t.equal(answer.body, 'hello');
  await reported(harness);
  t.equal(harness.requests[0]?.request.responseFlags, 'DI');
});

t.test('a client that leaves during the delay ends it', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  let held = false;
  const delay = {
    share: 1,
    get delayMs() {
      held = true;
      return 60_000;
    },
  };
  setStages(harness, { fault: { delay, abort: undefined } });
  const stream = await harness.tunnel();
  const answer = http1(stream).catch((error: Error) => error);
  await eventually('the waypoint to hold it', () => held);
  stream.destroy();
  await answer;
  await reported(harness);
  t.match(harness.requests[0]?.request, { responseCode: 0, responseFlags: 'DI,DC' });
  t.equal(harness.arrived.length, 0);
});

interface Seen {
  readonly request: IncomingMessage;
  readonly body: string;
}

function recording(list: Seen[]): RequestListener {
  return (request, response) => {
    void text(request).then(
      (body) => {
        list.push({ request, body });
        response.end('seen');
      },
      () => {},
    );
  };
}

t.test('a mirror gets the request as it is forwarded, body and Host included; its answer goes nowhere', async (t) => {
  const real: Seen[] = [];
  const shadow: Seen[] = [];
  const harness = await createHarness(t, { pods: [recording(real), recording(shadow)] });
  splitShadow(harness);
  setStages(harness, { mirrors: [mirrorAll] }, { rewritePath: { kind: 'full', value: '/new' } });
  const body = 'x'.repeat(200_000);
  const answer = await http1(await harness.tunnel(), { method: 'POST', path: '/old?q=1', body });
  t.equal(answer.status, 200);
  await eventually('the mirror to have it', () => shadow.length === 1);
  for (const seen of [real[0], shadow[0]]) {
    t.equal(seen?.body, body);
    t.match(seen?.request, { method: 'POST', url: '/new?q=1', headers: { host: 'productpage:9080' } });
  }
  t.equal(real[0]?.request.headers['x-request-id'], shadow[0]?.request.headers['x-request-id']);
  t.ok(
    harness.arrived.every(({ peerIdentity }) => peerIdentity === productId),
    'through tunnels of the waypoint',
  );
  await reported(harness);
  t.equal(harness.requests.length, 1, 'the copy is nobody’s request');
  t.match(harness.outcomes, { answered: 1 });
});

t.test('a mirror that hangs or is down delays nothing and is counted', async (t) => {
  const harness = await createHarness(t, { pods: [hello, 'down'] });
  splitShadow(harness);
  setStages(harness, { mirrors: [mirrorAll] });
  t.equal((await http1(await harness.tunnel())).body, 'hello');
  await eventually('the failure to be counted', () => harness.outcomes.failed === 1);
  const hanging = await createHarness(t, { pods: [hello, () => {}] });
  splitShadow(hanging);
  setStages(hanging, { mirrors: [mirrorAll] }, { timeoutMs: 250 });
  t.equal((await http1(await hanging.tunnel())).body, 'hello');
  await eventually('the slow one to be counted', () => hanging.outcomes.slow === 1);
});

t.test('a mirror that does not read its body is given up, and the upload arrives whole', async (t) => {
  let received = 0;
  const count: RequestListener = (request, response) => {
    request.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    request.once('end', () => response.end('hello'));
  };
  const harness = await createHarness(t, { pods: [count, () => {}] });
  splitShadow(harness);
  setStages(harness, { mirrors: [mirrorAll] });
  const body = 'y'.repeat(12 * 1024 * 1024);
  const answer = await http1(await harness.tunnel(), { method: 'POST', body });
  t.equal(answer.body, 'hello');
  t.equal(received, body.length);
  await eventually('the slow one to be counted', () => harness.outcomes.slow === 1);
});

t.test('the policies of the mirrored pod are respected', async (t) => {
  const shadow: Seen[] = [];
  const harness = await createHarness(t, { pods: [hello, recording(shadow)] });
  splitShadow(harness);
  setStages(harness, { mirrors: [mirrorAll] });
  const denyAll: L7Policy = {
    source: { kind: 'AuthorizationPolicy', namespace: 'default', name: 'no' },
    action: 'deny',
    dryRun: false,
    rules: [{ clauses: [] }],
  };
  harness.model = {
    ...harness.model,
    workloadPolicies: new Map([['Kubernetes//Pod/default/productpage-1', [denyAll]]]),
  };
  t.equal((await http1(await harness.tunnel())).body, 'hello');
  t.match(harness.outcomes, { denied: 1 });
  t.equal(shadow.length, 0);
});

t.test('a request that is denied is not mirrored', async (t) => {
  const shadow: Seen[] = [];
  const harness = await createHarness(t, { pods: ['down', recording(shadow)] });
  splitShadow(harness);
  setStages(harness, { mirrors: [mirrorAll] }, { action: { kind: 'forward', backends: [backend('default/nobody')] } });
  t.equal((await http1(await harness.tunnel())).status, 500);
  t.same(harness.outcomes, {});
});

t.test('a share without a backend is 500, and UNAVAILABLE to a gRPC client', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  const invalid = { ...backend(serviceKey), service: undefined };
  setStages(harness, {}, { action: { kind: 'forward', backends: [invalid] } });
  const grpc = await http2(await harness.tunnel(), { 'content-type': 'application/grpc', te: 'trailers' });
  t.match(grpc.headers, { ':status': 200, 'grpc-status': '14' });
  t.equal((await http1(await harness.tunnel())).status, 500);
});

t.test('the namespace of a client is the one of its certificate', async (t) => {
  const harness = await createHarness(t, { pods: [hello] });
  const none = { path: undefined, method: undefined, authority: undefined, scheme: undefined };
  const match = (sourceNamespace: string) => ({ ...none, headers: [], queryParams: [], sourceNamespace });
  setStages(harness, {}, { match: match('default') });
  t.equal((await http1(await harness.tunnel())).status, 200);
  setStages(harness, {}, { match: match('other') });
  t.equal((await http1(await harness.tunnel())).status, 404);
});
