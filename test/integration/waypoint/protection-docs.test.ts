/** The example of docs/protection.md does what the page says. */
import { readFileSync } from 'node:fs';
import type { RequestListener, ServerResponse } from 'node:http';
import path from 'node:path';
import t from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { http1 } from './client.ts';
import { notSleepId, sleepId } from './harness.ts';
import { hello, protectedBy } from './protected.ts';

const page = readFileSync(path.resolve(import.meta.dirname, '../../../docs/protection.md'), 'utf8');
const [example = '', global = ''] = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text]) => `\n${text}`);

t.test('rates, a limit at a time and a size, as the page says', async (t) => {
  const held: ServerResponse[] = [];
  const listener: RequestListener = (request, response) => {
    if (request.url?.startsWith('/reports')) held.push(response);
    else hello(request, response);
  };
  const harness = await protectedBy(t, example, { pods: [listener] });
  const get = async (target: string, identity = sleepId, headers: Record<string, string> = {}) =>
    await http1(await harness.tunnel(undefined, identity), { path: target, headers });

  const answers: number[] = [];
  for (let i = 0; i < 12; i++) answers.push((await get('/')).status);
  t.same(answers.slice(0, 5), [200, 200, 200, 200, 200], 'five at once');
  t.ok(answers.includes(429), 'and no more');
  const other = await get('/search', notSleepId, { 'x-tenant': 'a' });
  t.match(other, { status: 200, headers: { 'x-ratelimit-remaining': '0' } });
  t.equal((await get('/search', notSleepId, { 'x-tenant': 'a' })).status, 429, 'one search a minute of a tenant');
  t.equal((await get('/search', notSleepId, { 'x-tenant': 'b' })).status, 200, 'another has its own');

  const large = await http1(await harness.tunnel(undefined, notSleepId), {
    method: 'POST',
    body: 'a'.repeat(1024 * 1024 + 1),
    headers: { 'content-length': String(1024 * 1024 + 1) },
  });
  t.equal(large.status, 413);
});

t.test('two reports at a time, others wait', async (t) => {
  const held: ServerResponse[] = [];
  const harness = await protectedBy(t, example, { pods: [(_request, response) => void held.push(response)] });
  const report = async () => within('an answer', http1(await harness.tunnel(), { path: '/reports/1' }));
  const all = [report(), report(), report()];
  await eventually('two to arrive', () => held.length === 2);
  const limit = harness.model.protections?.services.values().next().value?.[0]?.concurrency[0];
  const turnstile = harness.waypoint.services.protections.turnstile(limit as NonNullable<typeof limit>);
  await eventually('the third to wait', () => turnstile.waiting('') === 1);
  held[0]?.end('done');
  await eventually('its turn', () => held.length === 3);
  for (const response of held) response.end('done');
  t.same(
    (await Promise.all(all)).map(({ status }) => status),
    [200, 200, 200],
  );
});

t.test('the limit that is asked for is one', async (t) => {
  const whole = `${example}${global.slice(1).replace('port: 8081', 'port: 80')}`;
  const harness = await protectedBy(t, whole);
  const [protection] = harness.model.protections?.services.values().next().value ?? [];
  t.match(protection?.global, [{ name: 'default/productpage/shop', failOpen: false, descriptors: [{}, {}] }]);
});
