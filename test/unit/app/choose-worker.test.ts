/** Connections go evenly to workers. */
import fc from 'fast-check';
import t from 'tap';
import { chooseWorker } from '../../../src/app/workers/choose-worker.ts';

const worker = (connections: number, tunnels = 0, taking = true) => ({ connections, tunnels, taking });

t.test('the one with the fewest connections, then with the fewest tunnels', async (t) => {
  const workers = [worker(3), worker(1, 9), worker(1, 2), worker(0, 0, false)];
  t.equal(chooseWorker(workers, new Set()), workers[2]);
  t.equal(chooseWorker(workers, new Set([workers[2] as never])), workers[1]);
  t.equal(chooseWorker([worker(0, 0, false)], new Set()), undefined);
  t.equal(chooseWorker([], new Set()), undefined);
});

t.test('whatever comes, no worker has two connections more than another', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 0, max: 100 }), (count, connections) => {
      const workers = Array.from({ length: count }, () => worker(0));
      for (let i = 0; i < connections; i++) {
        const chosen = chooseWorker(workers, new Set());
        if (chosen !== undefined) chosen.connections++;
      }
      const held = workers.map((one) => one.connections);
      if (Math.max(...held) - Math.min(...held) > 1) throw new Error(held.join());
    }),
  );
});
