/** Extensions on the way of real requests: what each hook sees and may do. */
import type { Socket } from 'node:net';
import { Transform } from 'node:stream';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { http1, http2 } from './client.ts';
import { record, world } from './extensions-world.ts';
import { notSleepId } from './harness.ts';

t.test('a hook changes the head of a request and of its response', async (t) => {
  const { attach, tunnel, requests } = await world(t, {
    'tenant.ts': `
      import type { CreateExtension } from 'ambit/extension';
      export const createExtension: CreateExtension = (config) => ({
        requestHeaders(request, exchange) {
          exchange.state.seen = request.headers.get('X-In');
          return { headers: { set: { 'x-tenant': \`\${(config as { prefix: string }).prefix}\${exchange.client.serviceAccount}\` }, remove: ['x-in'] } };
        },
        responseHeaders(response, exchange) {
          return { headers: { add: [['x-out', String(exchange.state.seen)]], remove: ['X-App'] }, status: 203 };
        },
      });`,
  });
  await attach(record('tenant.ts', { config: { prefix: 'acct-' } }));
  const answer = await http1(await tunnel(), { headers: { 'x-in': 'hello' } });
  const { headers } = JSON.parse(answer.body) as { headers: Record<string, string> };
  t.equal(headers['x-tenant'], 'acct-sleep');
  t.equal(headers['x-in'], undefined);
  t.equal(answer.headers['x-out'], 'hello');
  t.equal(answer.headers['x-app'], undefined);
  t.equal(answer.status, 203);
  await eventually('the report', () => requests.length === 1);
  t.equal(requests[0]?.request.responseCode, 203, 'what the client got is what is reported');
});

t.test('a hook answers in place of the application', async (t) => {
  const { attach, tunnel, lines } = await world(t, {
    'gate.ts': `
      export const createExtension = () => ({
        requestHeaders: (request: { path: string }) =>
          request.path === '/no' ? { respond: { status: 418, headers: [['x-why', 'tea']], body: 'teapot' } } : undefined,
      });`,
  });
  await attach(record('gate.ts'));
  const refused = await http1(await tunnel(), { path: '/no' });
  t.match(refused, { status: 418, headers: { 'x-why': 'tea' }, body: 'teapot' });
  t.equal((await http1(await tunnel(), { path: '/yes' })).status, 200);
  const grpc = await http2(await tunnel(), { ':path': '/no', 'content-type': 'application/grpc' });
  t.match(grpc.headers, { ':status': 200, 'grpc-message': 'teapot' });
  const line = await eventually('the line', () => lines.find((one) => one.get('response_code') === 418));
  t.match(line.get('response_code_details'), /^extension_replied\{default\/e\d+\}$/);
});

t.test('bodies pass through hooks in parts, changed or only seen', async (t) => {
  const { attach, tunnel } = await world(t, {
    'upper.ts': `
      export const createExtension = () => ({
        requestBody: (part: { bytes: Uint8Array; last: boolean }) =>
          ({ replace: Buffer.from(part.bytes).toString().toUpperCase() + (part.last ? '!' : '') }),
        responseBody: async (part: { bytes: Uint8Array; last: boolean }) =>
          ({ replace: Buffer.from(part.bytes).toString().replaceAll('"', "'") }),
      });`,
    'count.ts': `
      export const createExtension = () => ({
        requestHeaders: () => ({ body: 'inspect' }),
        requestBody(part: { bytes: Uint8Array }, exchange: { state: Record<string, number> }) {
          exchange.state.bytes = (exchange.state.bytes ?? 0) + part.bytes.length;
        },
        responseHeaders: (_: unknown, exchange: { state: Record<string, number> }) =>
          ({ headers: { set: { 'x-bytes': String(exchange.state.bytes) } }, body: 'skip' }),
        responseBody: () => { throw new Error('not asked for'); },
      });`,
  });
  await attach(record('upper.ts'));
  const changed = await http1(await tunnel(), { method: 'POST', body: 'hello' });
  t.match(changed.body, /'body':'HELLO!'/);
  t.match(changed.body, /'transfer-encoding':'chunked'/, 'a length that may change is not announced');
  await attach(record('count.ts'));
  const seen = await http1(await tunnel(), {
    method: 'POST',
    body: 'x'.repeat(300_000),
    headers: { 'content-length': '300000' },
  });
  t.equal(seen.headers['x-bytes'], '300000');
  const { headers, body } = JSON.parse(seen.body) as { headers: Record<string, string>; body: string };
  t.equal(headers['content-length'], '300000', 'a body that is only looked at keeps its length');
  t.equal(body.length, 300_000);
});

t.test('a body that is held comes whole, and may be refused before anything goes on', async (t) => {
  let asked = 0;
  const { attach, tunnel, waypoint } = await world(
    t,
    {
      'whole.ts': `
        export const createExtension = () => ({
          requestHeaders: () => ({ body: 'hold' }),
          requestBody(part: { bytes: Uint8Array; last: boolean }) {
            const text = Buffer.from(part.bytes).toString();
            if (text.includes('attack')) return { respond: { status: 422, body: 'no' } };
            return { replace: JSON.stringify({ length: text.length, last: part.last }) };
          },
          responseHeaders: () => ({ body: 'hold' }),
          responseBody: (part: { bytes: Uint8Array }) => ({ replace: 'seen ' + Buffer.from(part.bytes).toString() }),
        });`,
    },
    (request, response) => {
      asked++;
      void text(request).then((body) => response.end(body));
    },
  );
  const held = record('whole.ts');
  await attach(held);
  const answer = await http1(await tunnel(), { method: 'POST', body: 'x'.repeat(70_000) });
  t.match(answer, { status: 200, body: 'seen {"length":70000,"last":true}', headers: { 'content-length': '33' } });
  t.match(await http1(await tunnel(), { method: 'POST', body: 'an attack' }), { status: 422, body: 'no' });
  t.equal(asked, 1, 'the application has seen nothing of it');
  t.equal((await http1(await tunnel(), { method: 'POST', body: 'x'.repeat(200_000) })).status, 413);
  await attach({ ...held, failureMode: 'open' });
  const open = await http1(await tunnel(), { method: 'POST', body: 'x'.repeat(200_000) });
  t.match(open, { status: 200 });
  t.equal(open.body.length, 200_000, 'open: what is too long goes on unseen, both ways');
  t.equal(waypoint.services.extensions.held.bytes, 0, 'nothing is held any more');
});

t.test(
  'a body that is held for a hook and does not come is answered with 408, whatever the failure mode',
  async (t) => {
    let asked = 0;
    const { attach, tunnel, waypoint, lines } = await world(
      t,
      {
        'hold.ts':
          "export const createExtension = () => ({ requestHeaders: () => ({ body: 'hold' }), requestBody() {} });",
      },
      (_request, response) => {
        asked++;
        response.end();
      },
      { bodyTimeoutMs: 50 },
    );
    await attach(record('hold.ts', { failureMode: 'open' }));
    const stream = await tunnel();
    let answer = '';
    stream.on('data', (chunk: Buffer) => {
      answer += chunk.toString();
    });
    stream.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nslow');
    await eventually('the answer', () => answer.endsWith('Request Timeout'));
    t.match(answer, /^HTTP\/1\.1 408 /);
    await eventually('the line', () =>
      lines.some((line) => line.get('response_code_details') === 'request_body_timeout'),
    );
    t.equal(asked, 0, 'the application has seen nothing of it');
    t.equal(waypoint.services.extensions.held.bytes, 0);
  },
);

t.test('an application slow to read slows the client, with a hook between them', async (t) => {
  const { attach, tunnel } = await world(
    t,
    { 'pass.ts': 'export const createExtension = () => ({ requestBody() {}, responseBody() {} });' },
    (request, response) => {
      const slow = new Transform({
        highWaterMark: 1024,
        transform: (chunk, _encoding, done) => setImmediate(() => done(null, chunk)),
      });
      request.pipe(slow).pipe(response);
    },
  );
  await attach(record('pass.ts'));
  const body = 'abcdefgh'.repeat(500_000);
  const answer = await http1(await tunnel(), { method: 'POST', body });
  t.equal(answer.body.length, body.length);
  t.ok(answer.body === body, 'four megabytes come back as they went');
});

t.test('connections may be closed before anything is read of them', async (t) => {
  const { attach, tunnel, lines } = await world(t, {
    'door.ts': `
      export const createExtension = () => ({
        connection: (it: { client: { serviceAccount: string }; protocol: string }) =>
          it.client.serviceAccount === 'sleep' ? { close: 'not ' + it.protocol + ' of sleep' } : undefined,
      });`,
  });
  await attach(record('door.ts'));
  await t.rejects(http1(await tunnel()));
  const line = await eventually('the line', () => lines.find((one) => one.get('response_flags') === 'RBAC'));
  t.match(line.get('response_code_details'), /not http of sleep/);
  t.equal((await http1(await tunnel(undefined, notSleepId))).status, 200);
});

t.test(
  'a connection that is no HTTP is closed in each phase, before policies or after, and fails closed',
  async (t) => {
    const module = `
    export const createExtension = () => ({
      connection: (it: { client: { serviceAccount: string }; protocol: string }) =>
        it.client.serviceAccount === 'sleep' ? { close: 'not ' + it.protocol } : undefined,
    });`;
    const echoed = {
      pods: [(socket: Socket) => void socket.pipe(socket)],
      podKind: 'tcp',
      appProtocol: 'tcp',
    } as const;
    const { attach, tunnel, lines } = await world(t, { 'door.ts': module }, undefined, echoed);
    for (const phase of ['authn', 'last'] as const) {
      await attach(record('door.ts', { phase }));
      lines.length = 0;
      const refused = await tunnel();
      refused.on('error', () => {});
      await within('the reset', new Promise((resolve) => refused.once('close', resolve)));
      const line = await eventually('the line', () => lines.find((one) => one.get('response_flags') === 'RBAC'));
      t.match(line.get('response_code_details'), /extension_closed\{default\/e\d+: not tcp\}/);
      const passed = await tunnel(undefined, notSleepId);
      passed.end('hello');
      t.equal(await within('the echo', text(passed)), 'hello');
    }
    await attach(record('missing.ts'));
    const closed = await tunnel(undefined, notSleepId);
    closed.on('error', () => {});
    await within('the reset', new Promise((resolve) => closed.once('close', resolve)));
    await attach(record('missing.ts', { failureMode: 'open' }));
    const open = await tunnel(undefined, notSleepId);
    open.end('hello');
    t.equal(await within('the echo', text(open)), 'hello');
  },
);

t.test('extensions are asked in order, and see the response in reverse', async (t) => {
  const mark = (name: string) => `
    export const createExtension = () => ({
      requestHeaders: (request: any) => ({ headers: { set: { 'x-way': (request.headers.get('x-way') ?? '') + '${name}' } } }),
      responseHeaders: (response: any) => ({ headers: { set: { 'x-back': (response.headers.get('x-back') ?? '') + '${name}' } } }),
    });`;
  const { attach, tunnel } = await world(t, { 'a.ts': mark('a'), 'b.ts': mark('b'), 'c.ts': mark('c') });
  await attach(record('c.ts'), record('b.ts', { priority: 3 }), record('a.ts', { phase: 'authn' }));
  const answer = await http1(await tunnel());
  t.equal((JSON.parse(answer.body) as { headers: Record<string, string> }).headers['x-way'], 'abc');
  t.equal(answer.headers['x-back'], 'cba');
});
