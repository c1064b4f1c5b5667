/** New versions of extensions while requests go on. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { eventually } from '../../support/eventually.ts';
import { http1 } from './client.ts';
import { record, world } from './extensions-world.ts';

t.test('a new version takes over without a request noticing; one that cannot be loaded changes nothing', async (t) => {
  const version = (n: number) =>
    `export const createExtension = () => ({ responseHeaders: () => ({ headers: { set: { 'x-version': '${n}' } } }) });`;
  const { attach, tunnel, folder, waypoint } = await world(t, { 'v.ts': version(1) });
  const { extensions } = waypoint.services;
  await attach(record('v.ts'));
  let running = true;
  const statuses = new Set<number>();
  const versions = new Set<unknown>();
  const load = Promise.all(
    Array.from({ length: 4 }, async () => {
      while (running) {
        const answer = await http1(await tunnel());
        statuses.add(answer.status);
        versions.add(answer.headers['x-version']);
      }
    }),
  );
  const seen = (n: string) => eventually(`version ${n}`, () => versions.has(n));
  await seen('1');
  writeFileSync(path.join(folder, 'v.ts'), version(2));
  await seen('2');
  writeFileSync(path.join(folder, 'v.ts'), 'export const createExtension = () => ({ responseHeaders: ');
  await eventually('the diagnostic', () => extensions.describe()[0]?.problem !== undefined);
  t.match(extensions.describe()[0], { state: 'ready', problem: /v\.ts/ });
  versions.clear();
  await seen('2');
  writeFileSync(path.join(folder, 'v.ts'), version(3));
  await seen('3');
  running = false;
  await load;
  t.same([...statuses], [200]);
  t.equal(extensions.describe()[0]?.problem, undefined);
});

t.test('a request is finished by the version it began with', async (t) => {
  const version = (n: number) => `
    export const createExtension = () => ({
      requestHeaders(_: unknown, exchange: { state: Record<string, unknown> }) { exchange.state.began = ${n}; },
      responseHeaders: (_: unknown, exchange: { state: Record<string, unknown> }) =>
        ({ headers: { set: { 'x-version': '${n}', 'x-began': String(exchange.state.began) } } }),
    });`;
  let finish = () => {};
  const { attach, tunnel, folder, waypoint } = await world(t, { 'v.ts': version(1) }, (_, response) => {
    finish = () => response.end('done');
  });
  await attach(record('v.ts'));
  const answer = http1(await tunnel());
  await eventually('the application to be asked', () => finish.name !== '' && finish.toString().includes('done'));
  writeFileSync(path.join(folder, 'v.ts'), version(2));
  await eventually('the new version', () => waypoint.services.extensions.describe()[0]?.generation === 2);
  t.match(waypoint.services.extensions.describe()[0], { draining: 1 });
  finish();
  t.match((await answer).headers, { 'x-version': '1', 'x-began': '1' });
  await eventually('the old thread to end', () => waypoint.services.extensions.describe()[0]?.draining === 0);
});
