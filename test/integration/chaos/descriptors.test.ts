/** A listener whose process is out of descriptors: what stands goes on, what comes waits, nothing spins, nothing is lost. */
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import t from 'tap';
import { eventually } from '../../support/eventually.ts';
import { tcpClient } from '../../support/relay-world.ts';

const canLimit = spawnSync('prlimit', ['--version']).status === 0;
const options = canLimit ? {} : { skip: 'prlimit is not installed (util-linux)' };

t.test('a connection for which there is no descriptor waits, and is served when there is one', options, async (t) => {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'echo-program.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const { pid = 0 } = child;
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const port = await eventually('it listens', () => /port (\d+)/.exec(output)?.[1], 20_000);
  const dial = async () => {
    const socket = await tcpClient(t, { ip: '127.0.0.1', port: Number(port) });
    socket.resume().write('hello');
    return socket;
  };
  const first = await dial();
  await eventually('all is well', () => first.bytesRead === 5);
  const baseline = descriptors(pid);
  prlimit(pid, baseline);
  // The limit is on numbers: those that are free below it are used first.
  const all = await Promise.all(Array.from({ length: 20 }, dial));
  await eventually('it is out of descriptors', () => output.includes('EMFILE'));
  const before = cpuHundredths(pid);
  const told = output.length;
  await eventually('some pauses pass', () => output.length >= told + 4 * 'EMFILE\n'.length);
  const spent = cpuHundredths(pid) - before;
  t.ok(spent < 20, `${spent} hundredths of a second of CPU in four pauses`);
  const waiting = all.filter((socket) => !socket.destroyed && socket.bytesRead === 0).length;
  t.ok(waiting > 0, `${waiting} are in the kernel’s queue`);
  first.write('still');
  await eventually('what stands goes on', () => first.bytesRead === 10);
  prlimit(pid, baseline + 100);
  await eventually('all are served', () => all.every((socket) => socket.bytesRead === 5));
  for (const socket of all) socket.end();
  await eventually('descriptors as before', () => descriptors(pid) === baseline);
});

function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Only the soft limit, so that it can be raised again without privilege. */
function prlimit(pid: number, most: number): void {
  const { status, stderr } = spawnSync('prlimit', [`--nofile=${most}:`, '--pid', String(pid)], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
}

/** Of user and system. */
function cpuHundredths(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
}
