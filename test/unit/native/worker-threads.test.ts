// The addon in worker threads: each has its own copy of what is per thread, and ends cleanly in any state.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { descriptorsLeftOpen } from './descriptors.ts';

type Ending = 'close' | 'leave-open' | 'terminate' | 'exit-in-callback' | 'throw-in-callback';

/** The worker's exit code, or the error it ended with. */
async function runWorker(ending: Ending): Promise<unknown> {
  const worker = new Worker(new URL('./watching-worker.ts', import.meta.url), { workerData: ending });
  const ended = Promise.withResolvers<unknown>();
  let failure: unknown;
  worker.on('error', (error) => {
    failure = error;
  });
  worker.on('exit', (code) => ended.resolve(failure ?? code));
  if (ending === 'terminate') {
    await once(worker, 'message');
    await worker.terminate();
  }
  return await ended.promise;
}

t.test('a worker ends cleanly whatever its watcher is doing', async (t) => {
  t.equal(await runWorker('close'), 0);
  t.equal(await runWorker('leave-open'), 0);
  t.equal(await runWorker('terminate'), 1);
  t.equal(await runWorker('exit-in-callback'), 5);
  t.match(await runWorker('throw-in-callback'), { message: 'from the callback' });
});

t.test('workers that come and go leave no descriptor behind', async (t) => {
  t.equal(await descriptorsLeftOpen(5, async () => void (await runWorker('close'))), 0);
});

t.test('several workers watch at the same time', async (t) => {
  t.same(await Promise.all([runWorker('close'), runWorker('leave-open'), runWorker('close')]), [0, 0, 0]);
});
