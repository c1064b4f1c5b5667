/** A C allocator with much that is free between blocks in use, as a burst of buffers leaves it. */
import process from 'node:process';
import { collectGarbage } from '../../src/base/garbage.ts';

const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
// The sanitizer brings an allocator of its own.
const isGlibc = process.env.AMBIT_NATIVE_ASAN !== '1' && header.glibcVersionRuntime !== undefined;

/** Why nothing can be looked at here; false: it can. */
export const noHoles = isGlibc ? false : 'the allocator is not that of glibc';

/** `burstBytes`: of the whole burst. A hundredth of it stays for as long as `kept` is held. */
export function leaveHoles(): { readonly burstBytes: number; readonly kept: readonly Buffer[] } {
  const [block, count] = [16 * 1024, 4096];
  const blocks = Array.from({ length: count }, () => Buffer.allocUnsafeSlow(block).fill(1));
  // One in a hundred stays, so that the allocator's heap cannot shrink from its end.
  const kept = blocks.filter((_, i) => i % 100 === 99);
  blocks.length = 0;
  collectGarbage({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  return { burstBytes: block * count, kept };
}
