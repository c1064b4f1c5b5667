/** However the demo ends, no process is left and the host's network is as it was. As root, as an ordinary user too. */
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { processesOf } from '../../support/host-state.ts';
import {
  asUser,
  canMakeNamespaces,
  type DemoOptions,
  type DemoRun,
  demoHostState,
  firstUser,
  secondUser,
  startDemo,
  type User,
  untilSaid,
  users,
} from './demo-run.ts';

interface Ending {
  readonly name: string;
  readonly options: DemoOptions;
  /** It ends once the demo has said this. */
  readonly after: string;
  readonly end: (run: DemoRun) => void;
  readonly expected: { readonly code?: number; readonly signal?: NodeJS.Signals };
}

const building = 'starting the control plane';
const telling = '● sleep';

const endings: readonly Ending[] = [
  {
    name: 'Ctrl-C while the mesh is built',
    options: { user: firstUser },
    after: building,
    end: interrupt,
    expected: { code: 130 },
  },
  {
    name: 'a terminal that is closed',
    options: { user: firstUser },
    after: telling,
    end: ({ child }) => child.kill('SIGHUP'),
    // unshare, which does not block this signal, may be the first to end by it.
    expected: {},
  },
  {
    name: 'a reader that has seen enough',
    options: { user: secondUser },
    after: building,
    end: ({ child }) => child.stdout?.destroy(),
    expected: { code: 141 },
  },
  ...users.map((user): Ending => {
    const name = `kill -9, as ${user.name}`;
    return { name, options: { user }, after: telling, end: killHard, expected: { signal: 'SIGKILL' } };
  }),
  {
    name: 'kill -9 of npm above it',
    // npm's cache and logs go where an ordinary user may write.
    options: { user: firstUser, below: ['npm', 'exec', '--offline', '-c'] },
    after: building,
    end: killHard,
    expected: { signal: 'SIGKILL' },
  },
];

t.setTimeout(240_000);
t.jobs = 2;
if (await canMakeNamespaces()) {
  for (const ending of endings) t.test(`after ${ending.name}, nothing is left`, (t) => checkEnding(t, ending));
  for (const user of users) {
    t.test(`a kept mesh is looked into by the commands it prints, as ${user.name}`, (t) => lookInto(t, user));
  }
}

async function checkEnding(t: Test, { options, after, end, expected }: Ending): Promise<void> {
  const before = demoHostState();
  const run = startDemo(t, [], options);
  await untilSaid(run, after);
  t.ok(processesOf(run.token).length > 2, 'the mesh has processes');
  end(run);
  const ended = await within('the end', run.ended, 10_000);
  t.match(ended, expected);
  t.not(ended.code, 0, 'the end is no success');
  await eventually('no process of the demo', () => processesOf(run.token).length === 0);
  t.same(demoHostState(), before);
  t.notMatch(run.output(), /\bat .*\.ts:\d+/, 'no stack is shown');
}

/** The demo prints shell functions to paste and commands that use them. */
async function lookInto(t: Test, user: User): Promise<void> {
  const before = demoHostState();
  const run = startDemo(t, ['--keep'], { user });
  await untilSaid(run, '# a shell in that pod');
  const functions = run.output().match(/^ {2}(lab|on)\(\) .*$/gm) ?? [];
  const command = (about: string) => new RegExp(`^ {2}(.*?) +# ${about}`, 'm').exec(run.output())?.[1] ?? 'false';
  const shell = (line: string) => inShell(t, user, [...functions, line].join('\n'));
  t.match(await shell(command('the page')), /Reviews/);
  t.match(await shell(command('denied by the policy')), /^HTTP\/1.1 403/);
  await shell(command('allows DELETE'));
  await eventually('the proxies follow the folder', async () =>
    (await shell(command('denied by the policy'))).startsWith('HTTP/1.1 2'),
  );
  interrupt(run);
  t.match(await within('the end', run.ended, 10_000), { code: 130 });
  await eventually('no process of the demo', () => processesOf(run.token).length === 0);
  t.same(demoHostState(), before);
}

async function inShell(t: Test, user: User, script: string): Promise<string> {
  const [program = '', ...args] = asUser(user, ['bash', '-c', script]);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  return await within('the command', text(child.stdout), 20_000);
}

/** As a terminal does it, to the whole foreground group, and once more as npm does it. */
function interrupt({ child }: DemoRun): void {
  process.kill(-(child.pid ?? 0), 'SIGINT');
  child.kill('SIGINT');
}

function killHard({ child }: DemoRun): void {
  child.kill('SIGKILL');
}
