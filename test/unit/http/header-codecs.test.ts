/** What goes into a server of this room as fields comes out as the same fields, whatever they are; and small texts likewise. */
import assert from 'node:assert/strict';
import { connect } from 'node:http2';
import { duplexPair } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { respond } from '../../../src/http/exchange.ts';
import { grpcTimeoutMs } from '../../../src/http/grpc-timeout.ts';
import { serveH2c } from '../../../src/http/h2c-server.ts';
import type { HeaderList } from '../../../src/http/header-list.ts';
import { serveHttp1 } from '../../../src/http/http1-server.ts';
import { keyOf } from '../../../src/route/request-source.ts';
import type { RequestFacts } from '../../../src/route/traffic-protection.ts';
import { within } from '../../support/eventually.ts';

const name = fc
  .stringMatching(/^[A-Za-z][A-Za-z0-9_-]{0,20}$/)
  // With a meaning to the codec, or to one hop alone.
  .map((text) => `x-${text}`);
const value = fc.stringMatching(/^(?:[\x21-\x7e\xa1-\xff](?:[\t\x20-\x7e\xa1-\xff]{0,30}[\x21-\x7e\xa1-\xff])?)?$/);
const fields = fc.array(fc.tuple(name, value), { maxLength: 20 });

/** Of a request that arrived, and of a response that left: the same list both ways. */
const served = (serve: typeof serveHttp1 | typeof serveH2c) => {
  const [client, server] = duplexPair();
  client.on('error', () => {});
  let seen: HeaderList = [];
  serve(server, {
    exchange: (exchange) => {
      seen = exchange.request.headers;
      respond(exchange, 200, seen, '');
    },
    refused: (status, reason) => assert.fail(`${status} ${reason}`),
  });
  return { client, seen: () => seen };
};

t.test('HTTP/1.1: order, case and duplicates, of requests and responses', async () => {
  await fc.assert(
    fc.asyncProperty(fields, async (list) => {
      const { client, seen } = served(serveHttp1);
      const lines = list.map(([field, text]) => `${field}: ${text}\r\n`).join('');
      let answer = '';
      const over = new Promise<void>((resolve) => client.once('end', resolve));
      client.on('data', (chunk: Buffer) => {
        answer += chunk.toString('latin1');
      });
      client.write(Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\n${lines}Connection: close\r\n\r\n`, 'latin1'));
      await within('the answer', over);
      assert.deepEqual(seen(), list.flat());
      const got = answer.split('\r\n').filter((line) => line.startsWith('x-'));
      assert.deepEqual(
        got,
        list.map(([field, text]) => `${field}: ${text}`),
      );
      client.destroy();
    }),
    { numRuns: 60 },
  );
});

t.test('HTTP/2: order and duplicates, names in lower case', async () => {
  await fc.assert(
    fc.asyncProperty(fields, async (list) => {
      const { client, seen } = served(serveH2c);
      const session = connect('http://a', { createConnection: () => client as never });
      session.on('error', () => {});
      const lower = list.map(([field, text]) => [field.toLowerCase(), text] as const);
      const stream = session.request([':method', 'GET', ':path', '/', ':authority', 'a', ...lower.flat()] as never, {
        endStream: true,
      });
      const raw = await within(
        'the answer',
        new Promise<readonly string[]>((resolve, reject) => {
          stream.once('error', reject);
          stream.once('response', (_headers, _flags, list: readonly string[]) => resolve(list));
        }),
      );
      assert.deepEqual(seen(), lower.flat());
      const got: string[] = [];
      for (let i = 0; i < raw.length; i += 2) if (raw[i]?.startsWith('x-')) got.push(raw[i] ?? '', raw[i + 1] ?? '');
      assert.deepEqual(got, lower.flat());
      session.destroy();
    }),
    { numRuns: 60 },
  );
});

t.test('a grpc-timeout is its digits and its unit, or none', async (t) => {
  const units = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000_001 } as const;
  fc.assert(
    fc.property(
      fc.nat(99_999_999),
      fc.constantFrom(...(Object.keys(units) as (keyof typeof units)[])),
      (amount, unit) => {
        assert.equal(grpcTimeoutMs(`${amount}${unit}`), amount * units[unit]);
      },
    ),
  );
  for (const none of ['', '5', 'S', '-1S', '1.5S', '123456789S', '1s', ' 1S', '1S '])
    t.equal(grpcTimeoutMs(none), undefined);
});

t.test('two requests have one key only when all parts are the same', async () => {
  const facts = (tenant: string | undefined, path: string): RequestFacts => ({
    clientIdentity: 'spiffe://cluster.local/ns/default/sa/a',
    clientNamespace: 'default',
    clientIp: '10.0.0.1',
    service: 'default/web',
    route: '',
    method: 'GET',
    host: 'web',
    path,
    query: '',
    headers: tenant === undefined ? [] : ['x-tenant', tenant],
  });
  const sources = [{ kind: 'header', name: 'x-tenant' }, { kind: 'path' }] as const;
  // Texts that would fit together in more than one way, and such as are longer than what is kept.
  const part = fc.oneof(
    fc.string({ unit: fc.constantFrom('a', ';', ':', '-', '1', '2', '#'), maxLength: 6 }),
    fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 127, maxLength: 131 }),
  );
  const request = fc.record({ tenant: fc.option(part, { nil: undefined }), path: part });
  fc.assert(
    fc.property(request, request, (a, b) => {
      const same = a.tenant === b.tenant && a.path === b.path;
      const keys = [a, b].map(({ tenant, path }) => keyOf(sources, facts(tenant, path)));
      assert.equal(keys[0] === keys[1], same);
    }),
    { numRuns: 2000 },
  );
});
