import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type OutgoingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t from 'tap';
import type { AdminDependencies } from '../../../src/admin/interfaces.ts';
import { startAdmin } from '../../../src/admin/server.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { LogLevels } from '../../../src/telemetry/levels.ts';
import { CellRegistry } from '../../../src/telemetry/metrics.ts';

interface Ask {
  readonly port?: number | undefined;
  readonly socketPath?: string;
  readonly path: string;
  readonly method?: string;
  readonly headers?: OutgoingHttpHeaders;
}

function ask(options: Ask): Promise<{ status: number; type: string; body: string }> {
  return new Promise((resolve, reject) => {
    const { port, socketPath } = options;
    const where = socketPath === undefined ? { host: '127.0.0.1', port } : { socketPath };
    const sent = request(
      { ...where, path: options.path, method: options.method ?? 'GET', headers: options.headers ?? {}, agent: false },
      (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (chunk) => {
          body += chunk;
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, type: String(response.headers['content-type']), body }),
        );
      },
    );
    sent.on('error', reject);
    sent.end();
  });
}

function dependencies(over: Partial<AdminDependencies> = {}): AdminDependencies {
  return {
    readiness: { pending: () => [] },
    metrics: new CellRegistry(),
    levels: new LogLevels(),
    views: [
      { name: '', contentType: 'application/json', render: () => '{}' },
      { name: 'listeners', contentType: 'text/plain; charset=utf-8', render: (query) => `listeners ${query.get('x')}` },
      {
        name: 'broken',
        contentType: 'application/json',
        render: () => {
          throw new Error('broken view');
        },
      },
    ],
    quit: () => {},
    ...over,
  };
}

const loopback = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;

t.test('readiness tells what is awaited', async (t) => {
  let pending = ['state manager', 'proxy'];
  const deps = dependencies({ readiness: { pending: () => pending } });
  const running = await startAdmin(deps, { admin: undefined, metrics: undefined, readiness: loopback }, silentLogger);
  t.teardown(() => running.close());
  const port = running.ports.readiness;
  t.match(await ask({ port, path: '/healthz/ready' }), {
    status: 500,
    body: 'not ready, pending: state manager, proxy\n',
  });
  pending = [];
  t.match(await ask({ port, path: '/healthz/ready' }), { status: 200, body: 'ready\n' });
  t.match(await ask({ port, path: '/other' }), { status: 404 });
  t.match(await ask({ port, path: '/healthz/ready', method: 'POST' }), { status: 405 });
});

t.test('admin shows views, sets levels by POST alone and quits by POST alone', async (t) => {
  let quits = 0;
  const deps = dependencies({ quit: () => quits++ });
  const running = await startAdmin(deps, { admin: loopback, metrics: undefined, readiness: undefined }, silentLogger);
  t.teardown(() => running.close());
  const port = running.ports.admin;
  t.match(await ask({ port, path: '/config_dump' }), { status: 200, type: 'application/json', body: '{}' });
  t.match(await ask({ port, path: '/config_dump?view=listeners&x=1' }), { status: 200, body: 'listeners 1' });
  t.match(await ask({ port, path: '/config_dump?view=none' }), { status: 404, body: /listeners/ });
  t.match(await ask({ port, path: '/config_dump?view=broken' }), { status: 500, body: /broken view/ });
  t.match(await ask({ port, path: '/logging?level=debug' }), { status: 200, body: 'info\n' });
  t.match(await ask({ port, path: '/logging?level=debug', method: 'POST' }), { status: 200, body: /debug/ });
  t.match(await ask({ port, path: '/logging?level=loud', method: 'POST' }), { status: 400, body: /loud/ });
  t.match(await ask({ port, path: '/logging?reset', method: 'POST' }), { body: 'current log level is info\n' });
  t.match(await ask({ port, path: '/quitquitquit' }), { status: 405 });
  t.match(await ask({ port, path: '/drain', method: 'POST' }), { status: 404 }, 'not every program can');
  t.equal(quits, 0);
  await ask({ port, path: '/quitquitquit', method: 'POST' });
  t.equal(quits, 1);
});

t.test('drain goes by POST alone, and the index shows what there is, to browsers as a page', async (t) => {
  let drains = 0;
  const deps = dependencies({ drain: () => drains++ });
  const running = await startAdmin(deps, { admin: loopback, metrics: undefined, readiness: undefined }, silentLogger);
  t.teardown(() => running.close());
  const port = running.ports.admin;
  t.match(await ask({ port, path: '/drain' }), { status: 405 });
  t.equal(drains, 0);
  t.match(await ask({ port, path: '/drain', method: 'POST' }), { status: 200, body: 'draining\n' });
  t.equal(drains, 1);
  const { body, type } = await ask({ port, path: '/' });
  t.match(type, /^text\/plain/);
  for (const path of ['/config_dump', '/logging', '/debug/pprof/heap', '/drain', '/quitquitquit', '?view=listeners']) {
    t.match(body, path);
  }
  const page = await ask({ port, path: '/', headers: { accept: 'text/html,*/*' } });
  t.match(page, { type: /^text\/html/, body: '<a href="/config_dump?view=listeners">' });
  t.notMatch(page.body, '<a href="/quitquitquit">');
});

t.test('admin refuses a foreign Host and a foreign Origin', async (t) => {
  const running = await startAdmin(
    dependencies(),
    { admin: loopback, metrics: undefined, readiness: undefined },
    silentLogger,
  );
  t.teardown(() => running.close());
  const port = running.ports.admin;
  t.match(await ask({ port, path: '/config_dump', headers: { host: 'evil.example' } }), { status: 403 });
  t.match(await ask({ port, path: '/quitquitquit', method: 'POST', headers: { origin: 'http://evil.example' } }), {
    status: 403,
  });
  t.match(await ask({ port, path: '/quitquitquit', method: 'POST', headers: { origin: 'null' } }), { status: 403 });
  t.match(
    await ask({ port, path: '/config_dump', headers: { host: 'localhost:15000', origin: 'http://localhost:15000' } }),
    { status: 200 },
  );
});

t.test('what a page of another site has a browser fetch from admin is not answered', async (t) => {
  const running = await startAdmin(
    dependencies(),
    { admin: loopback, metrics: undefined, readiness: undefined },
    silentLogger,
  );
  t.teardown(() => running.close());
  const { admin: port } = running.ports;
  for (const [site, status] of [
    ['cross-site', 403],
    ['same-site', 403],
    ['same-origin', 200],
    ['none', 200],
  ] as const) {
    t.match(await ask({ port, path: '/config_dump', headers: { 'sec-fetch-site': site } }), { status }, site);
  }
});

t.test('one address does not keep others from probing: it has its share of connections', async (t) => {
  const running = await startAdmin(
    dependencies(),
    { admin: undefined, metrics: undefined, readiness: loopback },
    silentLogger,
  );
  t.teardown(() => running.close());
  const port = running.ports.readiness ?? 0;
  const held = await Promise.all(
    Array.from({ length: 140 }, async () => {
      const socket = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.66' }).on('error', () => {});
      await once(socket, 'connect');
      return socket;
    }),
  );
  t.teardown(() => {
    for (const socket of held) socket.destroy();
  });
  t.match(await ask({ port, path: '/healthz/ready' }), { status: 200 });
});

t.test('admin on a unix socket is for its owner alone and replaces a stale file', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-admin-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const socketPath = path.join(folder, 'admin.sock');
  writeFileSync(socketPath, '');
  const mask = process.umask(0);
  const starting = startAdmin(
    dependencies(),
    { admin: { kind: 'unix', path: socketPath }, metrics: undefined, readiness: undefined },
    silentLogger,
  );
  t.equal(statSync(socketPath).mode & 0o777, 0o600, 'from the moment it is there');
  t.equal(process.umask(mask), 0, 'and other files are made as ever');
  const running = await starting;
  t.teardown(() => running.close());
  t.equal(statSync(socketPath).mode & 0o777, 0o600);
  t.match(await ask({ socketPath, path: '/healthz/ready' }), { status: 200 });
  t.match(await ask({ socketPath, path: '/config_dump' }), { status: 200 });
  t.match(await ask({ socketPath, path: '/logging?level=debug', method: 'POST' }), { status: 200, body: /debug/ });
  t.match(await ask({ socketPath, path: '/debug/pprof/heap/profiling' }), { status: 200, body: 'inactive\n' });
  t.match(await ask({ socketPath, path: '/', headers: { host: 'evil.example' } }), { status: 403 });
});

t.test('metrics answer on both paths, and a taken port is told and leaves nothing open', async (t) => {
  const running = await startAdmin(
    dependencies(),
    { admin: undefined, metrics: loopback, readiness: undefined },
    silentLogger,
  );
  t.teardown(() => running.close());
  const port = running.ports.metrics ?? 0;
  for (const at of ['/metrics', '/stats/prometheus'])
    t.match(await ask({ port, path: at }), { status: 200, type: /text\/plain/ });
  const taken = { admin: loopback, metrics: { kind: 'tcp', host: '127.0.0.1', port }, readiness: undefined } as const;
  await t.rejects(startAdmin(dependencies(), taken, silentLogger), {
    code: 'ADMIN_LISTEN',
    message: new RegExp(String(port)),
  });
});
