/** Runs of the demo as a user starts it, from outside any lab: as root and as an ordinary user when we are root. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import t, { type Test } from 'tap';
import { findUnshare } from '../../../src/lab/unshare.ts';
import { eventually, within } from '../../support/eventually.ts';
import { hostState } from '../../support/host-state.ts';
import { programFile } from '../../support/program-files.ts';

export const demoScript = programFile('demo');
const ordinaryUser = 12345;
const runDeadlineMs = 100_000;

/** Whose demo it is; `uid` undefined: ours. */
export interface User {
  readonly name: string;
  readonly uid: number | undefined;
}

export const users: readonly User[] =
  process.getuid?.() === 0
    ? [
        { name: 'root', uid: undefined },
        { name: 'an ordinary user', uid: ordinaryUser },
      ]
    : [{ name: 'an ordinary user', uid: undefined }];

export const [firstUser, secondUser] = [users[0], users.at(-1)] as [User, User];

export interface DemoRun {
  readonly child: ChildProcess;
  /** In the environment of every process of the run. */
  readonly token: string;
  readonly output: () => string;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

export interface DemoOptions {
  readonly user?: User;
  /** Runs it in a shell below this command. */
  readonly below?: readonly string[];
}

/** True where namespaces can be made; otherwise registers one skipped test that says why. */
export async function canMakeNamespaces(): Promise<boolean> {
  const way = await findUnshare();
  if (way.kind === 'available') return true;
  t.test('the demo', { skip: `${way.cause}; ${way.remedy}` }, async () => {});
  return false;
}

/** Killed with the test, should it still run. */
export function startDemo(t: Pick<Test, 'teardown'>, args: readonly string[], options: DemoOptions = {}): DemoRun {
  const { user = firstUser, below = [] } = options;
  const token = randomUUID();
  const node = [process.execPath, '--disable-sigusr1', demoScript, ...args];
  const argv = below.length === 0 ? node : [...below, node.join(' ')];
  const [command = '', ...rest] = asUser(user, argv);
  const child = spawn(command, rest, {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, AMBIT_TEST_TOKEN: token, npm_config_logs_max: '0', npm_config_update_notifier: 'false' },
  });
  t.teardown(() => child.kill('SIGKILL'));
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      text += chunk;
    });
  }
  const ended: DemoRun['ended'] = new Promise((resolve) =>
    child.on('close', (code, signal) => resolve({ code, signal })),
  );
  return { child, token, output: () => text, ended };
}

/** Runs the demo to its own end. */
export async function runDemo(
  t: Pick<Test, 'teardown'>,
  args: readonly string[],
  options?: DemoOptions,
): Promise<{ readonly code: number | null; readonly output: string }> {
  const run = startDemo(t, args, options);
  const { code } = await within(`the demo ${args.join(' ')}`, run.ended, runDeadlineMs);
  return { code, output: run.output() };
}

export async function untilSaid(run: DemoRun, text: string): Promise<void> {
  await eventually(`the demo says ${text}`, () => run.output().includes(text), runDeadlineMs);
}

export function asUser({ uid }: User, argv: readonly string[]): readonly string[] {
  return uid === undefined ? argv : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', ...argv];
}

/** Names of the checks that failed, in order. */
export function failedChecks(output: string): readonly string[] {
  const told = output.split(/^\d+ of \d+ checks failed/m)[1] ?? '';
  return [...told.matchAll(/^ {2}✗ (.*)$/gm)].map(([, name = '']) => name);
}

/** What a demo could have changed on the host. */
export function demoHostState(): Record<string, string> {
  return hostState({ labs: ['find', '/dev/shm', '-maxdepth', '1', '-name', 'lab-*'] });
}
