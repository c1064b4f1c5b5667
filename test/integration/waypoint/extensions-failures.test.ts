/** Extensions that fail: what becomes of requests, of the proxy, and of what an extension may not do. */
import t from 'tap';
import { eventually } from '../../support/eventually.ts';
import { http1 } from './client.ts';
import { record, world } from './extensions-world.ts';

t.test('what a hook that fails leads to is its failure mode', async (t) => {
  const { attach, tunnel, lines, waypoint } = await world(t, {
    'fails.ts': `
      const answers: Record<string, () => unknown> = {
        '/throws': () => { throw new Error('oops'); },
        '/late': () => new Promise(() => {}),
        '/rejects': () => Promise.reject(new Error('oops')),
        '/wrong': () => ({ headers: { set: { host: 'x' } } }),
        '/uncloneable': () => ({ headers: { set: { 'x-a': () => 1 } } }),
      };
      export const createExtension = () => ({
        requestHeaders(request: any, exchange: any) {
          exchange.state.path = request.path;
          return answers[request.path]?.();
        },
        requestBody(_: unknown, exchange: any) { if (exchange.state.path === '/body') throw new Error('oops'); },
        responseHeaders(_: unknown, exchange: any) { if (exchange.state.path === '/response') throw new Error('oops'); },
      });`,
  });
  const cases = [
    ['/throws', 'requestHeaders:threw'],
    ['/late', 'requestHeaders:deadline'],
    ['/rejects', 'requestHeaders:threw'],
    ['/wrong', 'requestHeaders:invalid'],
    ['/uncloneable', 'requestHeaders:invalid'],
    ['/response', 'responseHeaders:threw'],
    ['/body', 'requestBody:threw'],
  ] as const;
  const closed = record('fails.ts', { deadlineMs: 500 });
  await attach(closed);
  for (const [path, details] of cases) {
    lines.length = 0;
    const answer = await http1(await tunnel(), { method: 'POST', path, body: 'hello' });
    t.equal(answer.status, 503, `${path} closed`);
    const line = await eventually('the line', () => lines.find((one) => one.get('response_code') === 503));
    t.equal(line.get('response_code_details'), `extension_failed{default/${closed.source.name}:${details}}`);
  }
  await attach(record('fails.ts', { deadlineMs: 500, failureMode: 'open' }));
  for (const [path] of cases) {
    const open = await http1(await tunnel(), { method: 'POST', path, body: 'hello' });
    t.equal(open.status, 200, `${path} open`);
    t.equal((JSON.parse(open.body) as { body: string }).body, 'hello');
  }
  await attach(record('missing.ts'));
  t.equal((await http1(await tunnel())).status, 503, 'without a module, closed');
  t.match(waypoint.services.extensions.describe(), [{ state: 'broken', problem: /missing\.ts/ }]);
  await attach(record('missing.ts', { failureMode: 'open' }));
  t.equal((await http1(await tunnel())).status, 200, 'without a module, open');
});

t.test('a response that has begun is broken off, not ended, where its body meets a closed failure', async (t) => {
  const { attach, tunnel } = await world(t, {
    'body.ts': `export const createExtension = () => ({ responseBody() { throw new Error('oops'); } });`,
  });
  await attach(record('body.ts'));
  await t.rejects(http1(await tunnel()));
});

t.test('a thread that does not let go is ended and begun again, and takes nobody with it', async (t) => {
  const { attach, tunnel, waypoint } = await world(t, {
    'loop.ts': `
      export const createExtension = () => ({
        requestHeaders(request: { path: string }) { if (request.path === '/loop') for (;;); },
      });`,
    'memory.ts': `
      const kept: unknown[] = [];
      export const createExtension = () => ({
        requestHeaders(request: { path: string }) {
          if (request.path === '/heap') for (;;) kept.push({ more: [kept.length] });
          if (request.path === '/buffers') for (;;) kept.push(Buffer.alloc(4 << 20, 1));
        },
      });`,
  });
  await attach(record('loop.ts', { deadlineMs: 50 }));
  t.equal((await http1(await tunnel(), { path: '/loop' })).status, 503);
  await eventually('a new thread', () => waypoint.services.extensions.describe()[0]?.generation === 2);
  t.equal((await http1(await tunnel(), { path: '/' })).status, 200);
  await attach(record('memory.ts', { memoryBytes: 24 * 1024 * 1024, deadlineMs: 10_000 }));
  for (const [at, path] of ['/heap', '/buffers'].entries()) {
    t.equal((await http1(await tunnel(), { path })).status, 503, path);
    await eventually('a new thread', () => waypoint.services.extensions.describe()[0]?.generation === at + 2);
    t.equal((await http1(await tunnel(), { path: '/' })).status, 200);
  }
});

t.test('an extension has no way out of its thread', async (t) => {
  const { attach, tunnel } = await world(t, {
    'out.ts': `
      import { readFileSync } from 'node:fs';
      export const createExtension = () => ({});`,
    'tries.ts': `
      const tried: string[] = [];
      const attempt = async (name: string, act: () => unknown) => {
        try { await act(); tried.push(name + ' worked'); } catch { tried.push(name); }
      };
      export const createExtension = async () => {
        await attempt('kill', () => process.kill(process.pid, 0));
        await attempt('fs', () => import('node:fs'));
        await attempt('fs2', () => process.getBuiltinModule('fs').readFileSync('/etc/hostname'));
        await attempt('v8', () => import('node:v8'));
        await attempt('outside', () => import('/etc/hostname'));
        await attempt('net', () => fetch('http://127.0.0.1:18080/').catch((e: any) => { if (e.cause?.code !== 'ERR_ACCESS_DENIED') return; throw e; }));
        await attempt('thread', () => import('node:worker_threads'));
        const names = Object.keys(process.env).join();
        return { requestHeaders: () => ({ respond: { status: 200, body: tried.join() + ' env:' + names } }) };
      };`,
  });
  await attach(record('tries.ts'));
  t.equal((await http1(await tunnel())).body, 'kill,fs,fs2,v8,outside,net,thread env:');
  await attach(record('out.ts'));
  t.equal((await http1(await tunnel())).status, 503, 'what it may not import keeps it from being loaded');
});
