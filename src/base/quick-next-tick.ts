/**
 * Keeps `process.nextTick` as quick as it is at first. V8 forgets the shape of the objects that Node 26 makes for it once a
 * collection of the old generation finds none of them alive; from then on each call takes ten times as long, for ever
 * (40 and 370 ns), and there are several in every request. One of them, kept alive, keeps the shape.
 */
import { createHook } from 'node:async_hooks';
import process from 'node:process';

let kept: object | undefined;

/** For the whole process; harmless when called again. */
export function keepNextTickQuick(): void {
  if (kept !== undefined) return;
  const hook = createHook({
    init: (_id, type, _trigger, resource) => {
      if (type === 'TickObject') kept = resource;
    },
  });
  hook.enable();
  process.nextTick(() => {});
  hook.disable();
}
