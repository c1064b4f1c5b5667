/**
 * For what is closed, when everybody has heard of it: V8 keeps Node's streams, and what leads to them, until the next whole
 * collection (docs/performance.md), but need not keep what listened as well. An error that comes all the same harms nobody.
 */
import type { EventEmitter } from 'node:events';

export function forgetListeners(emitter: EventEmitter): void {
  emitter.removeAllListeners();
  emitter.on('error', ignore);
}

function ignore(): void {}
