// Free pages of the C allocator go back to the system, also those between blocks that are in use.
import { readFileSync } from 'node:fs';
import process from 'node:process';
import * as native from 'node-tproxy-native';
import t from 'tap';
import { collectGarbage } from '../../../src/base/garbage.ts';

const residentBytes = () => Number(readFileSync('/proc/self/statm', 'latin1').split(' ')[1]) * 4096;
const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
// The sanitizer brings an allocator of its own.
const sanitized = process.env.AMBIT_NATIVE_ASAN === '1';
const skip = sanitized || header.glibcVersionRuntime === undefined ? 'the allocator is not that of glibc' : false;

t.test('what a burst of buffers left is given back', { skip }, async (t) => {
  const block = 16 * 1024;
  const blocks = Array.from({ length: 4096 }, () => Buffer.allocUnsafeSlow(block).fill(1));
  // One in a hundred stays, so that the heap cannot shrink from its end.
  const kept = blocks.filter((_, i) => i % 100 === 99);
  blocks.length = 0;
  collectGarbage({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  const before = residentBytes();
  t.equal(native.trimMemory(), true);
  const given = before - residentBytes();
  t.ok(given > (4096 * block) / 2, `${given} bytes, with ${kept.length} blocks in use`);
});
