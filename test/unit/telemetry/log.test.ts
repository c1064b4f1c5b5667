import { openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { createAccessLog } from '../../../src/telemetry/access-log.ts';
import { LogLevels } from '../../../src/telemetry/levels.ts';
import { createLogger, type LogOptions, openLogOutput } from '../../../src/telemetry/log.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function recording(format: 'plain' | 'json' = 'plain') {
  const lines: string[] = [];
  const levels = new LogLevels();
  const clock = { ...systemClock, wallMs: () => Date.UTC(2026, 0, 5, 10, 20, 30, 123) };
  const options: LogOptions = { levels, format, clock, sink: { write: (line) => lines.push(line) } };
  return { lines, levels, options };
}

t.test('a plain line has ztunnel’s columns', async (t) => {
  const { lines, options } = recording();
  createLogger(options)
    .topic('hbone')
    .info('session opened', { 'peer.addr': '10.0.0.1:15008', id: 'spiffe://a', n: 3, no: undefined });
  t.same(lines, [
    '2026-01-05T10:20:30.123000Z\tinfo\thbone\tsession opened\tpeer.addr=10.0.0.1:15008 id="spiffe://a" n=3\n',
  ]);
});

t.test('a JSON line has level, time, scope and message first', async (t) => {
  const { lines, options } = recording('json');
  createLogger(options, 'xds').warn('stream ended', { error: 'x"y' });
  t.equal(
    lines[0],
    '{"level":"warn","time":"2026-01-05T10:20:30.123000Z","scope":"xds","message":"stream ended","error":"x\\"y"}\n',
  );
});

t.test('text from peers cannot break a line or steer a terminal', async (t) => {
  for (const format of ['plain', 'json'] as const) {
    const { lines, options } = recording(format);
    createLogger(options).info('path', { path: '/a\r\ninfo\taccess\u001b[2J\u009b31m\u2028"', key: 'a=b c' });
    t.equal(lines.length, 1);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none may be left
    t.notMatch(lines[0]?.slice(0, -1).replaceAll('\t', ''), /[\u0000-\u001f\u007f-\u009f\u2028]/);
  }
});

t.test('levels change at run time, by topic, and nonsense changes nothing', async (t) => {
  const { lines, levels, options } = recording();
  const log = createLogger(options).topic('hbone');
  log.debug('no');
  levels.set('info,hbone=debug', false);
  t.ok(log.enabled('debug'));
  log.debug('yes');
  t.throws(() => levels.set('hbone=trace,loud', false), { code: 'TELEMETRY_LOG_LEVEL' });
  t.equal(levels.current(), 'info,hbone=debug');
  levels.set('hbone:off', false);
  log.error('no');
  levels.set('warn', true);
  t.equal(levels.current(), 'warn');
  log.warn('again');
  t.same(
    lines.map((line) => line.split('\t')[3]?.trim()),
    ['yes', 'again'],
  );
});

t.test('an access line is info when it went well and error when it did not', async (t) => {
  const { lines, levels, options } = recording();
  const access = createAccessLog(options);
  t.equal(access.verbose, false);
  access.write('opened', [['src.addr', '10.0.0.1:1']]);
  access.write('complete', [
    ['src.addr', '10.0.0.1:1'],
    ['error', undefined],
  ]);
  access.write('complete', [['error', 'http status: 503']]);
  access.write('denied', [['error', 'no']]);
  levels.set('access=debug', false);
  access.write('opened', []);
  levels.set('access=off', false);
  access.write('complete', []);
  t.same(
    lines.map((line) => line.split('\t').slice(1, 4).join(' ').trim()),
    [
      'info access connection complete',
      'error access connection complete',
      'warn access connection failed',
      'debug access connection opened',
    ],
  );
});

t.test('what many lines repeat stands before the rest, in both forms', async (t) => {
  for (const format of ['plain', 'json'] as const) {
    const { lines, options } = recording(format);
    const access = createAccessLog(options);
    const repeated = [
      ['stage', 'a b'],
      ['absent', undefined],
    ] as const;
    for (const path of ['/1', '/2']) access.write('complete', [['path', path]], repeated, []);
    access.write('complete', [], repeated);
    access.write('complete', [], []);
    const end = format === 'plain' ? '\n' : '}\n';
    const start = lines[3]?.slice(0, -end.length);
    const texts =
      format === 'plain'
        ? ['\tstage="a b" path="/1"', '\tstage="a b" path="/2"', '\tstage="a b"']
        : [',"stage":"a b","path":"/1"', ',"stage":"a b","path":"/2"', ',"stage":"a b"'];
    t.same(
      lines.slice(0, 3),
      texts.map((text) => `${start}${text}${end}`),
    );
  }
});

t.test('lines that come together are written together, soon, and all at the end', async (t) => {
  const file = path.join(t.testdir(), 'log');
  const clock = new FakeClock();
  const output = openLogOutput(openSync(file, 'a'), clock);
  const written = () => readFileSync(file, 'utf8');
  output.write('one\n');
  output.write('two\n');
  clock.advance(9);
  t.equal(written(), '');
  clock.advance(1);
  await eventually('the lines to be written', () => written() === 'one\ntwo\n');
  output.write('three\n');
  output.flush();
  t.equal(written(), 'one\ntwo\nthree\n');
});

t.test('much to say does not wait, and comes out whole and in order, long lines too', async (t) => {
  const file = path.join(t.testdir(), 'log');
  const clock = new FakeClock();
  const output = openLogOutput(openSync(file, 'a'), clock);
  const lines = Array.from({ length: 100 }, (_, i) => `${i} ${'é'.repeat(i === 50 ? 100_000 : 1000)}\n`);
  for (const line of lines) output.write(line);
  const written = () => readFileSync(file, 'utf8');
  await eventually('most of it to be written', () => written().startsWith(lines.slice(0, 51).join('')));
  clock.advance(10);
  await eventually('all of it to be written', () => written() === lines.join(''));
  t.equal(clock.pending, 0);
});

t.test(
  'values that JSON knows no text for, and keys that must be escaped, leave a line that can be read',
  async (t) => {
    const { lines, options } = recording('json');
    createLogger(options).info('odd', { 'a"b': 'é', n: Number.NaN, yes: true });
    t.match(JSON.parse(lines[0] ?? ''), { 'a"b': 'é', n: null, yes: true });
  },
);

t.test('lines that have no room are lost, and it is told', async (t) => {
  let lost = 0;
  const output = openLogOutput(openSync('/dev/null', 'w'), systemClock, () => lost++);
  output.write(`${'x'.repeat(17 * 1024 * 1024)}\n`);
  t.equal(lost, 1);
  output.write('there is room again\n');
  output.flush();
  t.equal(lost, 1);
});
