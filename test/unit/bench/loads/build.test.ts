/** The program of the loads: built once for what it is built from, strict about what it is told. */
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { buildTcpload } from '../../../../bench/loads/build.ts';

t.test('what is there is not built again, and no half of it is left beside it', async (t) => {
  const folder = t.testdir();
  const program = await buildTcpload(folder);
  const { mtimeMs } = statSync(program);
  t.equal(await buildTcpload(folder), program);
  t.equal(statSync(program).mtimeMs, mtimeMs);
  t.same(readdirSync(folder), [path.basename(program)]);
});

t.test('a compiler that is not there is named', async (t) => {
  const folder = t.testdir();
  const before = process.env.CC;
  t.teardown(() => {
    if (before === undefined) delete process.env.CC;
    else process.env.CC = before;
  });
  process.env.CC = path.join(folder, 'no-compiler');
  await t.rejects(buildTcpload(folder), { code: 'LAB_COMMAND_FAILED', message: /no-compiler/ });
});

t.test('it refuses what it cannot do', async (t) => {
  const program = await buildTcpload();
  const said = (...words: string[]) => {
    const { status, stderr } = spawnSync(program, words, { encoding: 'utf8', timeout: 5000 });
    return { status, stderr };
  };
  for (const words of [
    [],
    ['echo', '127.0.0.1'],
    ['gallop', '127.0.0.1', '80'],
    ['rate', 'localhost', '80'],
    ['rate', '127.0.0.1', '80', '--rate=0'],
    ['rate', '127.0.0.1', '80', '--seconds=1e9'],
    ['idle', '127.0.0.1', '80', '--connections=x'],
    ['idle', '127.0.0.1', '80', '--colour=red'],
  ]) {
    t.match(said(...words), { status: 2, stderr: /usage: tcpload/ }, words.join(' '));
  }
  t.match(said('rate', '127.0.0.1', '80', '--rate=1000000', '--seconds=60'), {
    status: 1,
    stderr: /more requests than there is room for/,
  });
});
