/** How many workers a waypoint has, by its settings. */
import { availableParallelism } from 'node:os';
import t from 'tap';
import { readWaypointCommand } from '../../../src/app/waypoint-settings.ts';

const base = ['--config', 'd', '--gateway', 'a/b'];
const workers = (environment: Record<string, string>, ...words: string[]) => {
  const command = readWaypointCommand([...base, ...words], environment);
  return command.kind === 'run' ? command.settings.workers : command;
};

t.test('one, a number, or as many as there are processors', async (t) => {
  t.equal(workers({}), 1);
  t.equal(workers({ ISTIO_CPU_LIMIT: '2' }), 1, 'a limit alone asks for nothing');
  t.equal(workers({ AMBIT_WORKERS: '4' }), 4);
  t.equal(workers({ AMBIT_WORKERS: 'cpus' }), Math.min(64, availableParallelism()));
  t.equal(workers({ AMBIT_WORKERS: 'cpus', ISTIO_CPU_LIMIT: '3' }), 3);
  t.equal(workers({ AMBIT_WORKERS: '4' }, '--concurrency', '2'), 2);
  t.equal(workers({ ISTIO_CPU_LIMIT: '5' }, '--concurrency', '0'), 5);
  for (const wrong of ['0', '65', '-1', 'many', '1.5'])
    t.match(workers({ AMBIT_WORKERS: wrong }), { kind: 'problems' }, wrong);
});

t.test('a credential of one process is not shared', async (t) => {
  t.match(workers({ AMBIT_WORKERS: '2', AMBIT_STATE_DIR: '/state' }), {
    kind: 'problems',
    problems: [/AMBIT_STATE_DIR/],
  });
  t.equal(workers({ AMBIT_STATE_DIR: '/state' }), 1);
});
