/** The bench's command line (bench/arguments.ts). */
import { existsSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { type Choice, type Command, readCommand } from '../../../bench/arguments.ts';

const choice: Choice = {
  systems: ['none', 'a', 'b'],
  loads: ['x', 'y'],
  quickSystems: ['none', 'a'],
  quickLoads: ['x'],
};
const read = (...words: string[]): Command => readCommand(words, choice);
const optionsOf = (...words: string[]) => {
  const command = read(...words);
  return command.kind === 'run' ? command.options : undefined;
};

t.test('without arguments everything is measured', async (t) => {
  t.same(optionsOf(), { quick: false, check: false, seconds: 3, repeats: 5 });
});

t.test('quick means few and brief, which other options still change', async (t) => {
  const quick = { quick: true, check: false, seconds: 1, repeats: 3 };
  t.same(optionsOf('--quick'), { ...quick, only: new Set(['none', 'a']), load: new Set(['x']) });
  t.same(optionsOf('--quick', '--only', 'b', '--load', 'y', '--seconds', '2'), {
    ...quick,
    ...{ seconds: 2, only: new Set(['b']), load: new Set(['y']) },
  });
});

t.test('keys come with commas or one by one', async (t) => {
  t.same(optionsOf('--only', 'a,b', '--only=none')?.only, new Set(['a', 'b', 'none']));
});

t.test('what there is not is named with what there is', async (t) => {
  const wrong = (words: string[], message: RegExp) =>
    t.match(read(...words), { kind: 'wrong', message }, words.join(' '));
  wrong(['--only', 'a,c'], /--only: c is not one of none, a, b/);
  wrong(['--load', 'z'], /--load: z is not one of x, y/);
  wrong(['--load', ''], /--load: nothing is not one of/);
  wrong(['--fast'], /'--fast'/);
  wrong(['macro'], /'macro'/);
  for (const word of ['0', '61', '1.5', 'ten', '-1', '']) wrong([`--seconds=${word}`], /whole number from 1 to 60/);
  wrong(['--repeats', '51'], /whole number from 1 to 50/);
});

t.test('files that cannot be written are found before the run, folders are made', async (t) => {
  const folder = t.testdir({ file: '' });
  t.match(read('--json', path.join(folder, 'no/where')), { kind: 'wrong', message: /--json .*cannot write into/ });
  t.match(read('--svg', path.join(folder, 'file')), { kind: 'wrong', message: /--svg/ });
  const charts = path.join(folder, 'charts/new');
  t.equal(optionsOf('--svg', charts)?.svg, charts);
  t.ok(existsSync(charts));
});

t.test('help and the list win over all else', async (t) => {
  t.same(read('--quick', '--help'), { kind: 'help' });
  t.same(read('--list'), { kind: 'list' });
});
