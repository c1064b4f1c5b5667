/** Extensions on the way of real requests: what each hook may do, what becomes of those that fail, and new versions. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { modernPreset } from '../../../src/config/preset.ts';
import type { ExtensionRecord } from '../../../src/route/extension.ts';
import { emptyL7Model } from '../../../src/route/model.ts';
import { eventually } from '../../support/eventually.ts';
import { http1, http2 } from './client.ts';
import { createHarness, type Harness, serviceKey } from './harness.ts';

const gatewayKey = 'default/productpage';

interface World extends Harness {
  readonly folder: string;
  /** Puts extensions before the service and waits until each has been loaded, or refused. */
  attach(...records: readonly ExtensionRecord[]): Promise<void>;
}

async function world(t: Test, modules: Readonly<Record<string, string>>, pod: RequestListener = echo): Promise<World> {
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-extensions-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, source] of Object.entries(modules)) writeFileSync(path.join(folder, name), source);
  const harness = await createHarness(t, { preset: modernPreset, pods: [pod], extensionsDirectory: folder });
  const attach = async (...records: readonly ExtensionRecord[]) => {
    const extensions = {
      services: new Map([[serviceKey, records]]),
      gateways: new Map(),
      routes: new Map(),
      byGateway: new Map([[gatewayKey, records]]),
    };
    harness.model = { ...emptyL7Model, extensions };
    harness.waypoint.modelChanged();
    await eventually('the extensions to be loaded', () => harness.waypoint.services.extensions.pending().length === 0);
  };
  return Object.assign(harness, { folder, attach });
}

let names = 0;
function record(module: string, fields: Partial<ExtensionRecord> = {}): ExtensionRecord {
  return {
    source: { kind: 'Extension', namespace: 'default', name: `e${++names}` },
    module,
    phase: 'last',
    priority: 0,
    config: undefined,
    failureMode: 'closed',
    deadlineMs: 2000,
    memoryBytes: 64 * 1024 * 1024,
    maxHeldBytes: 100_000,
    broken: undefined,
    ...fields,
  };
}

/** Tells what it got. */
const echo: RequestListener = (request: IncomingMessage, response) => {
  void text(request).then((body) => {
    response.setHeader('x-app', 'yes');
    response.end(JSON.stringify({ url: request.url, headers: request.headers, body }));
  });
};

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
