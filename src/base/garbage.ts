/** V8's collector, for the few who know better than V8 when it should run. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

let collector: NodeJS.GCFunction | undefined;

export function collectGarbage(options: NodeJS.GCOptions): void {
  collector ??= exposedCollector();
  collector(options);
}

/** `gc` is a global of contexts that are made while the flag is set. */
function exposedCollector(): NodeJS.GCFunction {
  setFlagsFromString('--expose-gc');
  const exposed = runInNewContext('gc') as NodeJS.GCFunction;
  setFlagsFromString('--no-expose-gc');
  return exposed;
}
