/** A waypoint that takes over from another on the same port, while applications never pause. */
import t from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { hammer } from './hammer.ts';
import { programWorld } from './program-world.ts';

t.test('a new process on the port of the old one, which drains: no request fails', async (t) => {
  const { start, tunnel } = await programWorld(t, 16);
  const old = await start('old', { AMBIT_PORT_REUSE: 'true' });
  const load = hammer(16, (client) => tunnel(old.address, client));
  t.teardown(() => load.stop());
  await eventually('requests to be answered', () => load.answered > 200, 60_000);
  const next = await start('next', { AMBIT_PORT_REUSE: 'true', AMBIT_WAYPOINT_PORTS: String(old.address.port) });
  old.program.signal('SIGTERM');
  t.equal(await within('the old one to end', old.program.exited, 60_000), 0);
  t.match(old.program.log(), 'drained');
  const before = load.answered;
  await eventually('the new one to answer', () => load.answered > before + 200, 60_000);
  await load.stop();
  t.same(load.failures, []);
  t.ok(load.connections >= 32, `each of 16 clients came back: ${load.connections}`);
  next.program.signal('SIGTERM');
  t.equal(await within('the new one to end', next.program.exited, 60_000), 0);
});
