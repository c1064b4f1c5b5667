/** The kernel's accounting as the bench reads it (bench/usage.ts). */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import t, { type Test } from 'tap';
import { findAccounting, readUsage, resetPeaks, stolenSeconds } from '../../../bench/usage.ts';
import { usageOf } from './records.ts';

interface FakeProcess {
  readonly parent: number;
  readonly ticks: number;
  readonly threadNs: readonly number[];
  readonly rssKb: number;
}

/** A folder like /proc. */
function procOf(t: Test, processes: Readonly<Record<number, FakeProcess>>): string {
  const proc = t.testdir();
  for (const [pid, { parent, ticks, threadNs, rssKb }] of Object.entries(processes)) {
    const folder = path.join(proc, pid);
    mkdirSync(path.join(folder, 'task'), { recursive: true });
    const zeros = '0 '.repeat(9);
    writeFileSync(path.join(folder, 'stat'), `${pid} (a (b) c) S ${parent} ${zeros}${ticks - 1} 1 0 0`);
    writeFileSync(path.join(folder, 'status'), `Name:\tx\nVmHWM:\t${2 * rssKb} kB\nVmRSS:\t${rssKb} kB\n`);
    for (const [thread, ns] of threadNs.entries()) {
      mkdirSync(path.join(folder, 'task', String(thread)));
      writeFileSync(path.join(folder, 'task', String(thread), 'schedstat'), `${ns} 5 6\n`);
    }
  }
  return proc;
}

t.test('CPU is what all threads of the program and its children took', async (t) => {
  const proc = procOf(t, {
    10: { parent: 1, ticks: 100, threadNs: [1_000_000_001, 500_000_000], rssKb: 100 },
    11: { parent: 10, ticks: 20, threadNs: [250_000_000], rssKb: 10 },
    12: { parent: 11, ticks: 1, threadNs: [10_000_000], rssKb: 1 },
    20: { parent: 1, ticks: 900, threadNs: [9e9], rssKb: 1000 },
  });
  const [usage] = readUsage([{ name: 'p', pid: 10 }], proc);
  t.same(usage, { name: 'p', cpuSeconds: 1.760000001, rssBytes: 111 * 1024, peakRssBytes: 222 * 1024 });
});

t.test('what an ended thread took is not lost: the ticks of the whole program stand', async (t) => {
  const proc = procOf(t, { 10: { parent: 1, ticks: 300, threadNs: [1_000_000_000], rssKb: 1 } });
  t.equal(readUsage([{ name: 'p', pid: 10 }], proc)[0]?.cpuSeconds, 3);
});

t.test('peaks of a program and its children are reset, and one that is gone is an error', async (t) => {
  const child = { ticks: 1, threadNs: [], rssKb: 1 };
  const proc = procOf(t, { 10: { ...child, parent: 1 }, 11: { ...child, parent: 10 } });
  resetPeaks([{ name: 'p', pid: 10 }], proc);
  t.same(
    [10, 11].map((pid) => readFileSync(path.join(proc, String(pid), 'clear_refs'), 'utf8')),
    ['5', '5'],
  );
  rmSync(path.join(proc, '10'), { recursive: true });
  t.throws(() => readUsage([{ name: 'p', pid: 10 }], proc), { code: 'ENOENT' });
});

t.test('this machine tells its own figures', async (t) => {
  const own = { name: 'self', pid: process.pid };
  const read = () => readUsage([own])[0] ?? usageOf();
  const before = read();
  let after = before;
  // Ends only when work shows.
  while (after.cpuSeconds < before.cpuSeconds + 0.01) after = read();
  t.ok(after.cpuSeconds > before.cpuSeconds);
  t.ok(before.rssBytes > 10e6 && before.rssBytes <= before.peakRssBytes);
  t.match(findAccounting().cpu, /ns|ms/);
});

t.test('what other guests had is told for each processor, and is nothing where the kernel does not say', async (t) => {
  const proc = t.testdir({
    stat: 'cpu  100 2 30 400 5 0 6 700 0 0\ncpu0 50 1 15 200 2 0 3 300 0 0\ncpu1 50 1 15 200 3 0 3 400 0 0\nctxt 1\n',
  });
  t.equal(stolenSeconds(proc), 3.5);
  writeFileSync(path.join(proc, 'stat'), 'cpu  100 2 30 400\n');
  t.equal(stolenSeconds(proc), 0);
});
