/** Waiting for a connection: who may open one, who waits, who is refused, and that nobody waits for what cannot come. */
import fc from 'fast-check';
import t from 'tap';
import { Circuit, noLimits } from '../../../src/upstream/circuit.ts';
import { ConnectionQueue, type QueuedRequest } from '../../../src/upstream/connection-queue.ts';

class Pool {
  free = 0;
  connections = 0;
}

/** A request that opens a connection or takes a free one, as a pool would. */
class Request implements QueuedRequest {
  readonly pool: Pool;
  readonly #circuit: Circuit;
  over = false;
  started = false;

  constructor(pool: Pool, circuit: Circuit) {
    this.pool = pool;
    this.#circuit = circuit;
  }

  start(): void {
    this.started = true;
    if (this.pool.free > 0) this.pool.free--;
    else {
      this.pool.connections++;
      this.#circuit.connections++;
    }
  }
}

const turns = async () => {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
};

t.test('an endpoint without a connection may open one, whatever others hold', async (t) => {
  const circuit = new Circuit({ ...noLimits, maxConnections: 1 });
  const queue = new ConnectionQueue(circuit);
  const [a, b] = [new Pool(), new Pool()];
  const first = new Request(a, circuit);
  t.equal(queue.enter(first), 'waits');
  queue.left(first);
  const second = new Request(b, circuit);
  t.equal(queue.enter(second), 'waits');
  t.ok(second.started);
  queue.left(second);
  const third = new Request(a, circuit);
  queue.enter(third);
  t.notOk(third.started, 'a has one already');
  t.equal(circuit.pending, 1);
});

t.test('every request is served or refused, and limits hold, whatever the order of events', async () => {
  const step = fc.record({ what: fc.constantFrom('enter', 'finish', 'leave'), pool: fc.nat(1), pick: fc.nat(1000) });
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 0, max: 4 }),
      fc.array(step, { maxLength: 60 }),
      async (maxConnections, maxPending, steps) => {
        const circuit = new Circuit({ ...noLimits, maxConnections, maxPending });
        const queue = new ConnectionQueue(circuit);
        const pools = [new Pool(), new Pool()];
        const waiting = new Set<Request>();
        const running = new Set<Request>();
        const settle = () => {
          for (const request of waiting) {
            if (!request.started) continue;
            waiting.delete(request);
            queue.left(request);
            running.add(request);
          }
        };
        for (const { what, pool, pick } of steps) {
          if (what === 'enter') {
            const request = new Request(pools[pool] as Pool, circuit);
            const outcome = queue.enter(request);
            if (outcome === 'started') running.add(request);
            if (outcome === 'waits') waiting.add(request);
          } else if (what === 'finish') {
            const request = [...running][pick % Math.max(1, running.size)];
            if (request === undefined) continue;
            running.delete(request);
            request.pool.free++;
            queue.wake();
          } else {
            const request = [...waiting][pick % Math.max(1, waiting.size)];
            if (request === undefined || request.started) continue;
            request.over = true;
            waiting.delete(request);
            queue.left(request);
          }
          settle();
          if (circuit.pending > maxPending) return false;
          await turns();
          settle();
          // One more for each endpoint that had none.
          if (circuit.connections > maxConnections + pools.length - 1) return false;
        }
        while (running.size > 0) {
          for (const request of running) request.pool.free++;
          running.clear();
          queue.wake();
          await turns();
          settle();
        }
        return waiting.size === 0 && circuit.pending === 0;
      },
    ),
    { numRuns: 100 },
  );
});
