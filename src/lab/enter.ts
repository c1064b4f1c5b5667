/**
 * Runs the current program again inside namespaces of its own: user (for an ordinary user), mount, net and pid.
 *
 * I1: the host's network namespace is never touched: everything a lab does happens after `enterLab` returned `inside`.
 * I2: nothing is left behind. The inner program is process 1 of its pid namespace, so all its children die with it;
 * it dies with `unshare` (--kill-child), which dies with the launcher (--pdeathsig), even by -9; the pipe on descriptor 3
 * covers the moment before those are armed. The launcher ends when npm above it is gone.
 */
import { spawn } from 'node:child_process';
import { Socket } from 'node:net';
import { constants } from 'node:os';
import { ancestorChain, watchAncestors } from './ancestors.ts';
import { systemPath } from './command.ts';
import { findUnshare } from './unshare.ts';

/** `unavailable` is only ever seen outside; cause and remedy are one line each. */
export type LabEntry =
  | { readonly kind: 'inside' }
  | { readonly kind: 'unavailable'; readonly cause: string; readonly remedy: string };

export interface EnterOptions {
  /** Script and arguments to run inside; the current program's unless given. */
  readonly argv?: readonly string[];
  /** The program installs its own handlers for SIGINT, SIGTERM and SIGHUP; otherwise each ends it at once, with 128 + number. */
  readonly handlesSignals?: boolean;
}

const insideMark = 'inside';
const lifelineFd = 3;
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** npm passes on a Ctrl-C that the terminal has already delivered to us: one press must not count as two. */
const sameSignalMs = 250;

/** Whether this process is the inner one. The mark alone could come from anybody's environment. */
export function isInsideLab(): boolean {
  return process.env.AMBIT_LAB === insideMark && process.pid === 1;
}

/**
 * Inside: returns at once. Outside: never returns when namespaces can be made; the process ends as the inner one did
 * (exit code or signal), and SIGINT, SIGTERM and SIGHUP are passed on. Otherwise returns `unavailable`.
 * Call it before anything else that has effects, since the program starts again from its first line.
 */
export async function enterLab(options: EnterOptions = {}): Promise<LabEntry> {
  if (isInsideLab()) {
    armLifeline();
    if (options.handlesSignals !== true) armSignals();
    return { kind: 'inside' };
  }
  const way = await findUnshare();
  if (way.kind === 'unavailable') return way;
  return relay(way.flags, options.argv ?? process.argv.slice(1));
}

/** A process 1 ignores signals it has no handler for: the kernel's default action is not for it. */
function armSignals(): void {
  for (const signal of signals) process.on(signal, () => process.exit(128 + constants.signals[signal]));
}

function armLifeline(): void {
  const lifeline = new Socket({ fd: lifelineFd, readable: true, writable: false });
  lifeline.on('error', () => process.exit(1));
  lifeline.on('close', () => process.exit(1));
  lifeline.resume();
  lifeline.unref();
}

function relay(flags: readonly string[], argv: readonly string[]): Promise<never> {
  const program = [process.execPath, ...process.execArgv, ...argv];
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'unshare', ...flags, ...program], {
    // Its own session: Ctrl-C comes here only, and is passed on once.
    detached: true,
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
    env: { ...process.env, PATH: systemPath(process.env.PATH), AMBIT_LAB: insideMark },
  });
  const { pid } = child;
  // The whole group is signalled because unshare itself blocks these signals while it waits.
  const signalInner = (signal: NodeJS.Signals) => {
    if (pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    process.kill(-pid, signal);
  };
  for (const signal of signals) {
    let last = -Infinity;
    process.on(signal, () => {
      if (performance.now() - last > sameSignalMs) signalInner(signal);
      last = performance.now();
    });
  }
  watchAncestors(ancestorChain(process.pid), () => signalInner('SIGKILL'));
  return new Promise(() => {
    child.on('error', (error) => {
      process.stderr.write(`cannot enter the lab: ${error.message}\n`);
      process.exit(1);
    });
    child.on('exit', (code, signal) => {
      if (signal === null) process.exit(code ?? 1);
      for (const name of signals) process.removeAllListeners(name);
      process.kill(process.pid, signal);
    });
  });
}
