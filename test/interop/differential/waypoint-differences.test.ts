/**
 * The same requests to a real Envoy and to Ambit's waypoint, with the same rules: every difference there is stands in
 * docs/envoy.md with its reason, and nothing stands there that is no longer so.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { readCaseFile } from '../../conformance/support/case-file.ts';
import { startWorld } from '../../conformance/support/world.ts';
import { missingEnvoy, startEnvoy } from '../../support/envoy.ts';
import { envoyListener } from '../../support/envoy-config.ts';
import { keySetText } from '../../support/jwt-issuer.ts';
import { compare, type Difference, readListed } from './compare.ts';
import { envoyWaypoint } from './envoy-waypoint.ts';
import { dial, observe } from './observe.ts';
import { differentialRequests } from './requests.ts';

t.setTimeout(180_000);
const skip = await missingEnvoy();
const page = path.join(import.meta.dirname, '../../../docs/envoy.md');
const cases = '{rule: the rules that both have, cases: [{name: none}]}';

t.test('every difference between Envoy and Ambit is known, and every known one is there', { skip }, async (t) => {
  const world = await startWorld(path.join(import.meta.dirname, 'mesh'), readCaseFile(cases, 'cases'));
  t.teardown(() => world.close());
  const [v1, v2] = await Promise.all([world.pods.address('echo-v1', 8080), world.pods.address('echo-v2', 8080)]);
  const envoy = await startEnvoy(t, envoyWaypoint({ v1, v2, jwks: keySetText(world.key('main')) }));
  const authority = world.authorityOf('gateway-conformance-mesh/echo:80');
  const tunnel = async () => {
    const outcome = await world.connect(authority, world.file.client);
    if (outcome.kind !== 'open') throw new Error(`no tunnel: ${outcome.kind}`);
    return outcome.stream;
  };
  const found: Difference[] = [];
  const one = async (index: number): Promise<void> => {
    const request = differentialRequests[index];
    if (request === undefined) return;
    const theirs = await observe(world, await dial(envoy.listener(envoyListener)), request, `envoy-${index}`);
    const ours = await observe(world, await tunnel(), request, `ambit-${index}`);
    found.push(...compare(request.name, theirs, ours));
  };
  const width = 8;
  const names = differentialRequests.map(({ name }) => name);
  t.equal(new Set(names).size, names.length, 'names are unique');
  await Promise.all(
    Array.from({ length: width }, async (_, from) => {
      for (let index = from; index < differentialRequests.length; index += width) await one(index);
    }),
  );
  if (process.env.AMBIT_SHOW_DIFFERENCES) {
    for (const { request, what, envoy, ambit } of found.sort(
      (a, b) => names.indexOf(a.request) - names.indexOf(b.request),
    ))
      console.error(`| ${request} | ${what} | ${envoy} | ${ambit} |`);
  }
  const { unexpected, stale } = readListed(readFileSync(page, 'utf8'), found);
  t.same(unexpected, [], 'not in docs/envoy.md');
  t.same(stale, [], 'in docs/envoy.md, and no longer so');
});

t.test('an unknown difference fails, and so does a listed one that is gone', async (t) => {
  const [theirs, ours] = [
    new Map([
      ['status', '200'],
      ['path', '/a'],
    ]),
    new Map([['status', '400']]),
  ];
  const found = compare('r', theirs, ours);
  t.same(found, [{ request: 'r', what: 'status', envoy: '200', ambit: '400' }], 'what follows from it is left out');
  t.same(readListed('', found), { unexpected: ['r: status: 200 / 400'], stale: [] });
  const listed = '| r | status | 200 | 400 | because |';
  t.same(readListed(listed, found), { unexpected: [], stale: [] });
  t.same(readListed(listed, []), { unexpected: [], stale: ['r: status: 200 / 400'] });
  t.match(readListed('| r | status | 200 | 400 |  |', found), { unexpected: { length: 1 } }, 'without a reason');
  t.match(readListed('| r | status | 200 | 403 | because |', found), {
    unexpected: { length: 1 },
    stale: { length: 1 },
  });
  t.same(readListed('| any | status | * | 400 | because |', found), { unexpected: [], stale: [] });
  t.same(compare('r', ours, ours), []);
});
