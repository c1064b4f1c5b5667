/**
 * Nothing of a lab is left behind, however its run ends, and the host's network namespace is the same before and after.
 * Runs outside; each case is a lab of its own in a child process. As root, every case is run as an ordinary user too.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { findUnshare } from '../../../src/lab/unshare.ts';
import { eventually, within } from '../../support/eventually.ts';
import { hostState, processesOf } from '../../support/host-state.ts';

const program = path.join(import.meta.dirname, 'lab-program.ts');
const ordinaryUser = 12345;
/** What a lab could have changed beside the network's own objects. */
const forwarding = {
  forwarding: ['cat', '/proc/sys/net/ipv4/ip_forward', '/proc/sys/net/ipv4/conf/all/rp_filter'],
};

interface Run {
  readonly child: ChildProcess;
  readonly token: string;
  readonly output: () => string;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

interface Case {
  readonly name: string;
  readonly mode: 'end' | 'wait' | 'handle';
  /** Runs the program below npm. */
  readonly npm?: true;
  readonly finish: (run: Run) => void;
  readonly expected: { readonly code?: number; readonly signal?: string };
}

const cases: readonly Case[] = [
  { name: 'a normal end', mode: 'end', finish: () => {}, expected: { code: 0 } },
  { name: 'Ctrl-C', mode: 'wait', finish: interrupt, expected: { code: 130 } },
  { name: 'a Ctrl-C the program handles itself', mode: 'handle', finish: interrupt, expected: { code: 3 } },
  { name: 'SIGTERM', mode: 'wait', finish: ({ child }) => child.kill('SIGTERM'), expected: { code: 143 } },
  { name: 'kill -9 of the launcher', mode: 'wait', finish: killHard, expected: { signal: 'SIGKILL' } },
  // How unshare itself ends then differs between its versions.
  { name: 'kill -9 of the inner program', mode: 'wait', finish: killInner, expected: {} },
  { name: 'kill -9 of npm above it', mode: 'wait', npm: true, finish: killHard, expected: { signal: 'SIGKILL' } },
];

t.setTimeout(240_000);
t.jobs = 2;
const way = await findUnshare();
if (way.kind === 'unavailable') t.test('labs', { skip: `${way.cause}; ${way.remedy}` }, async () => {});
else {
  for (const uid of process.getuid?.() === 0 ? [0, ordinaryUser] : [undefined]) {
    for (const item of cases) {
      const user = uid === 0 ? 'as root' : 'as an ordinary user';
      t.test(`after ${item.name}, ${user}, nothing is left`, (t) => check(t, item, uid));
    }
  }
}

async function check(t: Test, item: Case, uid: number | undefined): Promise<void> {
  const before = hostState(forwarding);
  const run = start(item, uid);
  t.teardown(() => run.child.kill('SIGKILL'));
  await eventually('the lab stands', () => run.output().includes('ready\n'), 20_000);
  if (item.mode !== 'end') t.ok(processesOf(run.token).length > 2, 'the lab has processes');
  item.finish(run);
  const end = await within('the end', run.ended, 10_000);
  t.match(end, item.expected);
  if (item.mode !== 'end') t.not(end.code, 0, 'the end is no success');
  await eventually('no process of the lab', () => processesOf(run.token).length === 0);
  t.same(hostState(forwarding), before);
  t.notMatch(run.output(), 'interrupted', 'Ctrl-C reaches the supervisor only');
  t.notMatch(run.output(), 'interrupt 2', 'and once');
}

function start(item: Case, uid: number | undefined): Run {
  const token = randomUUID();
  const node = [process.execPath, program, item.mode];
  // npm's cache and logs go where the ordinary user may write.
  const argv = item.npm === true ? ['npm', 'exec', '--offline', '-c', node.join(' ')] : node;
  const as = ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', ...argv];
  const [command = '', ...args] = uid === undefined ? argv : as;
  const child = spawn(command, args, {
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, AMBIT_TEST_TOKEN: token, npm_config_logs_max: '0', npm_config_update_notifier: 'false' },
  });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  const ended: Run['ended'] = new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal })));
  return { child, token, output: () => text, ended };
}

/** As a terminal does it, to the whole foreground group, and once more as npm does it. */
function interrupt({ child }: Run): void {
  process.kill(-(child.pid ?? 0), 'SIGINT');
  child.kill('SIGINT');
}

function killHard({ child }: Run): void {
  child.kill('SIGKILL');
}

/** The inner program is the one that is process 1 of its own pid namespace. */
function killInner({ token }: Run): void {
  const inner = processesOf(token).find((pid) => /^NSpid:.*\t1$/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')));
  if (inner === undefined) throw new Error('no inner program');
  process.kill(inner, 'SIGKILL');
}
