/** What V8's collector is told takes effect. */
import { Buffer } from 'node:buffer';
import { execFileSync } from 'node:child_process';
import process from 'node:process';
import { getHeapSpaceStatistics } from 'node:v8';
import t from 'tap';
import { collectGarbage, cutBuffersFromSmallSlabs, holdYoungGeneration } from '../../../src/base/garbage.ts';

const youngBytes = () => getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')?.space_size ?? 0;

/** Makes V8 want a larger young generation: nearly all of what is made stays alive. The most it was. */
function survive(): number {
  const kept: object[] = [];
  let most = 0;
  for (let i = 0; i < 600_000; i++) {
    kept.push({ i });
    if (i % 10_000 === 0) most = Math.max(most, youngBytes());
  }
  return kept.length > 0 ? most : 0;
}

t.test('the young generation stays small while it is held, and grows again after', async (t) => {
  collectGarbage({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  const release = holdYoungGeneration();
  // A collection that waits for a processor lets more pile up: of several rounds the quietest, then the fullest.
  const held = Math.min(survive(), survive(), survive());
  release();
  const free = Math.max(survive(), survive(), survive());
  t.ok(free >= 2 * held, `held ${held}, free ${free}`);
});

t.test('short buffers share slabs of 8 KiB', async (t) => {
  const { poolSize } = Buffer;
  t.teardown(() => {
    Buffer.poolSize = poolSize;
  });
  cutBuffersFromSmallSlabs();
  // What is left of a larger slab is used up first.
  const slabs = Array.from({ length: 2 + poolSize / 1024 }, () => Buffer.from('x'.repeat(1024)).buffer);
  const [last, before] = slabs.reverse();
  t.equal(last, before);
  t.ok(last && last.byteLength < 9 * 1024, `${last?.byteLength} bytes`);
});

t.test('objects of which none was alive when the seventh was made keep their shape', async (t) => {
  const garbage = new URL('../../../src/base/garbage.ts', import.meta.url).href;
  const fields = Array.from({ length: 20 }, (_, i) => `#f${i} = ${i};`).join('');
  const program = (before: string) => `
    import { keepShapes } from '${garbage}';
    ${before}
    class Many { ${fields} }
    (() => { for (let i = 0; i < 6; i++) new Many(); })();
    setImmediate(() => {
      gc();
      const several = [new Many(), new Many(), new Many()];
      console.log(%HasFastProperties(several[2]));
    });`;
  const flags = ['--allow-natives-syntax', '--expose-gc', '--input-type=module'];
  const run = (before: string) =>
    execFileSync(process.execPath, [...flags, '--eval', program(before)], { encoding: 'utf8' }).trim();
  t.equal(run('keepShapes();'), 'true');
  t.equal(run(''), 'false', 'V8 still makes dictionaries of them');
});
