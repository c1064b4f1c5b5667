/**
 * Every system of the bench carries requests and bytes through the proxies it names, the peers' tunnels are secured as
 * they say, and what this machine lacks is named with the line that installs it.
 */
import t from 'tap';
import { ports, type System } from '../../../bench/model.ts';
import { envoyStats } from '../../../bench/systems/envoy-process.ts';
import { findPeer } from '../../../bench/systems/programs.ts';
import { openWorld, preparePeers, systemKeys, type World } from '../../../bench/world.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { connectFrom } from '../../../src/lab/sockets.ts';
import { within } from '../../support/eventually.ts';
import { insideLab } from '../lab/inside.ts';

t.setTimeout(120_000);
await preparePeers();

if (await insideLab()) {
  t.test('side by side', async (t) => {
    const world = await openWorld({ logger: silentLogger });
    t.teardown(() => world.close());
    t.same(
      [...world.systems, ...world.missing].map(({ key }) => key).sort(),
      [...systemKeys].sort(),
      'each is there or missing',
    );
    for (const system of world.systems) {
      await t.test(`${system.name} carries requests`, async (t) => {
        t.comment(system.settings);
        const url = `http://${system.host}:${ports.http}/`;
        const answer = await world.lab.request(system.pod, { kind: 'http', url });
        t.match(answer, { kind: 'http', status: 200, bodyBytes: 350, end: 'fin' });
        for (const { name, pid } of system.proxies()) t.ok(pid > 1, `${name} runs`);
      });
    }
  });
}
