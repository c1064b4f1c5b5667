/**
 * The quick bench as anyone runs it, with `--check`: no errors, no target missed by far, every system measured under every
 * load. It takes a minute or two, so at a terminal it tells how far it is.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import t, { type Test } from 'tap';
import type { RunRecord } from '../../bench/report/record.ts';
import { findUnshare } from '../../src/lab/unshare.ts';

const script = path.resolve(import.meta.dirname, '../../bench/run.ts');
const limitMs = 180_000;
const way = await findUnshare();

t.setTimeout(limitMs + 20_000);

t.test('the quick bench passes its own check', { skip: way.kind === 'unavailable' && way.remedy }, async (t) => {
  const json = path.join(t.testdir(), 'bench.json');
  const startedMs = performance.now();
  const { code, output } = await runBench(t, ['--quick', '--check', '--json', json]);
  t.equal(code, 0, complaints(output));
  t.ok(performance.now() - startedMs < limitMs, 'in less than three minutes');
  if (!existsSync(json)) return;
  const record = JSON.parse(readFileSync(json, 'utf8')) as RunRecord;
  t.same(record.systems.map(({ key }) => key).sort(), expectedSystems(record), 'every system that is not missing');
  t.ok(record.loads.length >= 4, 'several loads');
  for (const load of record.loads) {
    const turns = record.measurements.filter((each) => each.load === load.key);
    t.ok(turns.length > 0 && turns.length % record.repeats === 0, `${load.key} was measured in every repeat`);
  }
  for (const { name, reason } of record.missing) t.test(`${name} is measured`, { skip: reason }, async () => {});
});

/** What it says is wrong with the run, or else its last words. */
function complaints(output: string): string {
  const lines = output.trimEnd().split('\n');
  const told = lines.filter((line) => line.startsWith('bench: '));
  return (told.length > 0 ? told : lines.slice(-15)).join('; ');
}

function expectedSystems({ missing }: RunRecord): string[] {
  const absent = new Set(missing.map(({ key }) => key));
  const all = ['envoy-pair', 'envoy-waypoint', 'none', 'waypoint', 'ztunnel-pair'];
  return all.filter((key) => !absent.has(key));
}

/** Killed with the test, should it still run then; the lab takes everything else with it. */
async function runBench(t: Test, words: readonly string[]): Promise<{ code: number | null; output: string }> {
  // Whatever Node is told here would be told to every proxy, and be measured with it.
  const { NODE_OPTIONS: _, ...env } = process.env;
  const child = spawn(process.execPath, [script, ...words], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => child.kill('SIGKILL'));
  const tell = terminal(t);
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    tell(text);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

/** Tap keeps what a test says until its end, so progress goes to the terminal itself, if there is one. */
function terminal(t: Test): (text: string) => void {
  try {
    const descriptor = openSync('/dev/tty', 'w');
    t.teardown(() => closeSync(descriptor));
    return (text) => writeSync(descriptor, text);
  } catch {
    // No terminal: a log needs no progress.
    return () => {};
  }
}
