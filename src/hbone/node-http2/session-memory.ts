/** How much of what it holds for a peer a session of node:http2 may keep. Pure. */
import type { RelayOptions } from '../options.ts';

/** Its connection window each way, twice over, and room for header lists; Node refuses new streams beyond. */
export function sessionMemoryMegabytes(options: RelayOptions): number {
  return Math.ceil((4 * options.connectionWindowBytes) / (1024 * 1024)) + 10;
}
