// Free pages of the C allocator go back to the system, also those between blocks that are in use.
import { readFileSync } from 'node:fs';
import * as native from 'node-tproxy-native';
import t from 'tap';
import { leaveHoles, noHoles } from '../../support/allocator-holes.ts';

const residentBytes = () => Number(readFileSync('/proc/self/statm', 'latin1').split(' ')[1]) * 4096;
t.test('what a burst of buffers left is given back', { skip: noHoles }, async (t) => {
  const { burstBytes, kept } = leaveHoles();
  const before = residentBytes();
  t.equal(native.trimMemory(), true);
  const given = before - residentBytes();
  t.ok(given > burstBytes / 2, `${given} bytes, with ${kept.length} blocks in use`);
});
