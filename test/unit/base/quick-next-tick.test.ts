import { execFileSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import t from 'tap';

const file = path.resolve(import.meta.dirname, '../../../src/base/quick-next-tick.ts');

/** Nanoseconds of a call before and after collections; in a program of its own, since the harm is for ever. */
const program = `
  import { keepNextTickQuick } from ${JSON.stringify(file)};
  keepNextTickQuick();
  const nothing = () => {};
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const best = async () => {
    let least = Infinity;
    for (let round = 0; round < 20; round++) {
      const { user, system } = process.cpuUsage();
      for (let i = 0; i < 20000; i++) process.nextTick(nothing, i);
      const used = process.cpuUsage({ user, system });
      least = Math.min(least, (used.user + used.system) / 20);
      await turn();
    }
    return least;
  };
  const before = await best();
  for (let i = 0; i < 8; i++) {
    await turn();
    globalThis.gc();
  }
  process.stdout.write(JSON.stringify({ before, after: await best() }));
`;

t.test('process.nextTick is as quick after collections as before', async (t) => {
  const flags = ['--expose-gc', '--input-type=module-typescript', '--eval', program];
  const { before, after } = JSON.parse(execFileSync(process.execPath, flags, { encoding: 'utf8' }));
  t.ok(after < before * 4, `${before} ns, then ${after} ns`);
});
