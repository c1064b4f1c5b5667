/**
 * Child processes of the set-up: each ends with us, however we end, and nothing is left half done in silence.
 * A terminal's Ctrl-C reaches children by itself; every other signal is passed on.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';

/** A cause the user can mend; shown without a stack. */
export class SetupError extends Error {
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

export function say(text) {
  process.stderr.write(`ambit: ${text}\n`);
}

let stoppedBy;
const children = new Set();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    stoppedBy = signal;
    if (signal !== 'SIGINT') for (const child of children) child.kill(signal);
  });
}
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

/** Runs a step to its end; `purpose` completes "cannot …" when it fails. `quiet` drops its standard output. */
export async function run(command, args, { env, cwd, quiet = false }, purpose) {
  const { code, signal, error } = await finish(command, args, {
    env,
    cwd,
    stdio: ['ignore', quiet ? 'ignore' : 'inherit', 'inherit'],
  });
  checkStopped();
  if (error) throw new SetupError(`cannot ${purpose}: ${error.message}`);
  if (signal) throw new SetupError(`cannot ${purpose}: ended by ${signal}`);
  if (code !== 0) throw new SetupError(`cannot ${purpose}: exit code ${code}, see above`);
}

/** Runs the script in our place: its exit code is ours. */
export async function runScript(node, script, args, env) {
  const flags = ['--disable-sigusr1', '--disable-warning=ExperimentalWarning'];
  const { code, signal, error } = await finish(node, [...flags, script, ...args], { env, stdio: 'inherit' });
  if (error) throw new SetupError(`cannot start ${script}: ${error.message}`);
  return code ?? exitCodeOf(signal);
}

/** Does the work while nobody else on this machine does: the lock is the kernel's, held by a child that ends with us. */
export async function locked(file, work) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const holder = spawn('flock', [file, 'sh', '-c', 'echo; cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
  children.add(holder);
  holder.stdin.on('error', () => {});
  const notice = setTimeout(() => say('waiting for another set-up to end'), 1000);
  try {
    await Promise.race([once(holder.stdout, 'data'), once(holder, 'exit')]);
    checkStopped();
    if (holder.exitCode !== null) throw new SetupError(`cannot lock ${file}, see above`);
    clearTimeout(notice);
    return await work();
  } finally {
    clearTimeout(notice);
    children.delete(holder);
    holder.stdin.end();
  }
}

async function finish(command, args, options) {
  checkStopped();
  // Whatever kills us, even with -9, ends the child as well: the kernel sees to it.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', command, ...args], options);
  children.add(child);
  try {
    return await new Promise((resolve) => {
      child.on('error', (error) => resolve({ error }));
      child.on('exit', (code, signal) => resolve({ code, signal }));
    });
  } finally {
    children.delete(child);
  }
}

function checkStopped() {
  if (stoppedBy !== undefined) throw new SetupError(`ended by ${stoppedBy}`, exitCodeOf(stoppedBy));
}

function exitCodeOf(signal) {
  return 128 + os.constants.signals[signal];
}

/**
 * npm runs us by way of a shell that would outlive it. When npm is killed so that it can tell nobody, we leave as well,
 * and our children with us.
 */
export function endWithNpm() {
  if (process.env.npm_lifecycle_event === undefined) return;
  const ancestors = [process.ppid];
  try {
    if (!/^(npm|pnpm|yarn)|npm-cli/.test(fs.readFileSync(`/proc/${process.ppid}/cmdline`, 'utf8'))) {
      const stat = fs.readFileSync(`/proc/${process.ppid}/stat`, 'utf8');
      ancestors.push(Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    }
  } catch {
    // No /proc to ask: the direct parent alone is watched.
  }
  setInterval(() => {
    if (process.ppid !== ancestors[0] || !ancestors.every(isAlive)) process.exit(exitCodeOf('SIGKILL'));
  }, 200).unref();
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
