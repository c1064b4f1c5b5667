/** Large answers: content coding, limits, and readers that leave. */
import { type IncomingHttpHeaders, request } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { brotliDecompressSync, gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { chooseCoding } from '../../../src/admin/content-coding.ts';
import type { AdminDependencies, MetricsSource } from '../../../src/admin/interfaces.ts';
import { startAdmin } from '../../../src/admin/server.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { LogLevels } from '../../../src/telemetry/levels.ts';
import { CellRegistry } from '../../../src/telemetry/metrics.ts';
import { eventually } from '../../support/eventually.ts';

async function metricsPort(t: Test, metrics: MetricsSource): Promise<number> {
  const deps: AdminDependencies = {
    readiness: { pending: () => [] },
    metrics,
    levels: new LogLevels(),
    views: [],
    quit: () => {},
  };
  const metricsAddress = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;
  const addresses = { admin: undefined, metrics: metricsAddress, readiness: undefined };
  const running = await startAdmin(deps, addresses, silentLogger);
  t.teardown(() => running.close());
  return running.ports.metrics ?? 0;
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

function get(port: number, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path: '/metrics', headers, agent: false }, (response) => {
      buffer(response).then(
        (body) => resolve({ status: response.statusCode, headers: response.headers, body }),
        reject,
      );
    });
    sent.on('error', reject);
    sent.end();
  });
}

const plain = (body: string) => ({ contentType: 'text/plain', body: chunks(body) });

async function* chunks(body: string): AsyncGenerator<string> {
  yield body;
}

t.test('the form follows Accept, the coding Accept-Encoding', async (t) => {
  const registry = new CellRegistry();
  registry.counter('x_total', 'X.').value = 7;
  const port = await metricsPort(t, registry);
  const text = await get(port);
  t.match(text.headers, {
    'content-type': 'text/plain; version=0.0.4; charset=utf-8',
    vary: 'accept, accept-encoding',
  });
  t.equal(text.headers['content-encoding'], undefined);
  const accept = 'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3';
  const open = await get(port, { accept });
  t.equal(open.headers['content-type'], 'application/openmetrics-text; version=1.0.0; charset=utf-8');
  t.match(open.body.toString(), /x_total 7\n# EOF\n$/);
  const decoders = { gzip: gunzipSync, br: brotliDecompressSync, zstd: zstdDecompressSync, deflate: inflateSync };
  for (const [coding, decode] of Object.entries(decoders)) {
    const { headers, body } = await get(port, { 'accept-encoding': coding });
    t.equal(headers['content-encoding'], coding);
    t.equal(decode(body).toString(), text.body.toString());
  }
});

t.test('the coding of the highest quality is taken; what is refused is not', async (t) => {
  t.equal(chooseCoding(undefined), undefined);
  t.equal(chooseCoding(''), undefined);
  t.equal(chooseCoding('gzip'), 'gzip');
  t.equal(chooseCoding('gzip;q=0.5, br;q=0.9'), 'br');
  t.equal(chooseCoding('GZIP, deflate'), 'gzip');
  t.equal(chooseCoding('gzip;q=0'), undefined);
  t.equal(chooseCoding('*'), 'zstd');
  t.equal(chooseCoding('*, zstd;q=0'), 'gzip');
  t.equal(chooseCoding('gzip;q=nonsense'), undefined);
  t.equal(chooseCoding('identity, gzip;q=0.5'), undefined);
  t.equal(chooseCoding('compress'), undefined);
});

t.test('a few large answers at a time; a reader that leaves makes room and stops the making', async (t) => {
  let making = 0;
  let ended = 0;
  async function* endless() {
    making++;
    try {
      for (;;) {
        yield 'x'.repeat(16 * 1024);
        await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      ended++;
    }
  }
  let endlessly = true;
  const port = await metricsPort(t, {
    render: () => (endlessly ? { contentType: 'text/plain', body: endless() } : plain('short\n')),
  });
  // They read the head and no more.
  const readers = Array.from({ length: 4 }, () => {
    const sent = request({ host: '127.0.0.1', port, path: '/metrics', agent: false }, () => {});
    sent.on('error', () => {});
    sent.end();
    return sent;
  });
  await eventually('all are being made', () => making === 4);
  endlessly = false;
  t.match(await get(port), { status: 503, headers: { 'retry-after': '1' } });
  readers[0]?.destroy();
  await eventually('one was ended', () => ended === 1);
  t.match(await get(port), { status: 200, body: Buffer.from('short\n') });
  for (const reader of readers) reader.destroy();
  await eventually('all were ended', () => ended === 4);
});

t.test('an answer whose making fails is cut short, so that its reader notices', async (t) => {
  async function* failing() {
    yield 'some\n';
    throw new Error('it broke');
  }
  const port = await metricsPort(t, { render: () => ({ contentType: 'text/plain', body: failing() }) });
  await t.rejects(get(port));
});
