/** Cookies read in one way, for tokens, sessions and hashing. */
import t from 'tap';
import { cookieValues, unquoted } from '../../../src/http/cookies.ts';

const valuesOf = (...lines: string[]) => [
  ...cookieValues(
    lines.flatMap((line) => ['cookie', line]),
    'a',
  ),
];

t.test('values of a name, over all lines and in order', (t) => {
  t.same(valuesOf('a=1; b=2;a=3', 'a = 4 ;; c'), ['1', '3', '4']);
  t.same(valuesOf('aa=1; b=a=2; a; A=3'), []);
  t.same(valuesOf('a=; a="x y"'), ['', '"x y"'], 'as they are written');
  t.same([...cookieValues(['cookie', '=1; x'], '')], [], 'nothing has no name');
  t.end();
});

t.test('quotes around a value', (t) => {
  t.same(['"x"', '""', '"', 'x"', 'x'].map(unquoted), ['x', '', '"', 'x"', 'x']);
  t.end();
});

t.test('a line of separators costs what its length costs', (t) => {
  const cpuMs = (length: number) => {
    const before = process.cpuUsage();
    for (let i = 0; i < 5; i++) valuesOf(`${';'.repeat(length)}x=1`);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
  cpuMs(10_000);
  const [short, long] = [cpuMs(20_000), cpuMs(320_000)];
  t.ok(long < 100 * Math.max(short, 1), `${short} ms, ${long} ms for sixteen times as much`);
  t.end();
});
