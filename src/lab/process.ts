/**
 * A supervised program in a namespace of the lab: its own session, its output line by line, its end always known.
 *
 * I1: the program is gone when `exited` settles; `stop` always settles (SIGTERM, a deadline, SIGKILL to its whole group).
 * An end nobody asked for is reported once, to `onUnexpectedExit`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { join } from 'node:path';
import { finished } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';
import { LineCutter } from './lines.ts';
import { isListening } from './listening.ts';
import { inNamespace, type LabNamespace } from './namespace.ts';

const keptLines = 500;
const pollMs = 50;
const largestLog = 16 << 20;

export interface ProcessSpec {
  /** Shown before each line; also the log file's name. */
  readonly name: string;
  readonly argv: readonly [string, ...string[]];
  /** Added to the supervisor's environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Whether `stop` was called before. */
  readonly expected: boolean;
}

export interface ProcessDependencies {
  readonly clock: Clock;
  /** Where `NAME.log` is written. */
  readonly directory: string;
  onLine(name: string, line: string): void;
  onUnexpectedExit(process: LabProcess, exit: ProcessExit): void;
}

interface LineWaiter {
  readonly matches: (line: string) => boolean;
  readonly found: (line: string) => void;
}

export class LabProcess {
  readonly name: string;
  readonly namespace: LabNamespace;
  readonly logPath: string;
  /** Settles when the program has ended and its output has been read and logged. Never rejects. */
  readonly exited: Promise<ProcessExit>;
  readonly #child: ChildProcess;
  readonly #dependencies: ProcessDependencies;
  readonly #log: WriteStream;
  readonly #lines: string[] = [];
  readonly #waiters = new Set<LineWaiter>();
  #logBytes = 0;
  #stopping = false;
  #exit: ProcessExit | undefined;

  /** Starts the program at once. */
  constructor(namespace: LabNamespace, spec: ProcessSpec, dependencies: ProcessDependencies) {
    this.name = spec.name;
    this.namespace = namespace;
    this.#dependencies = dependencies;
    this.logPath = join(dependencies.directory, `${spec.name}.log`);
    this.#log = createWriteStream(this.logPath, { flags: 'a' });
    this.#log.on('error', () => this.#log.destroy()); // A full disk must not end the lab; the lines are still handed on.
    const [program, ...args] = inNamespace(namespace, spec.argv);
    this.#child = spawn(program, args, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...spec.env },
      ...(spec.cwd === undefined ? {} : { cwd: spec.cwd }),
    });
    this.exited = new Promise((resolve) => this.#watch(resolve));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#exit === undefined;
  }

  /** The last lines of output, oldest first. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  /** The first line, past or to come, that matches. Rejects with `LAB_NOT_READY` at the deadline or the program's end. */
  waitForLine(matches: (line: string) => boolean, deadlineMs = 15_000): Promise<string> {
    const past = this.#lines.find(matches);
    if (past !== undefined) return Promise.resolve(past);
    return new Promise((resolve, reject) => {
      const settle = (finish: () => void) => {
        this.#waiters.delete(waiter);
        timer.cancel();
        finish();
      };
      const waiter: LineWaiter = { matches, found: (line) => settle(() => resolve(line)) };
      const fail = (why: string) => settle(() => reject(this.#notReady(why)));
      const timer = this.#dependencies.clock.after(deadlineMs, () => fail(`no such line within ${deadlineMs} ms`));
      this.#waiters.add(waiter);
      void this.exited.then((exit) => fail(`it ended (${exitText(exit)})`));
    });
  }

  /**
   * Settles once somebody listens on the port, in the program's namespace or in another. Rejects as `waitForLine` does.
   */
  async waitForPort(port: number, options: { namespace?: LabNamespace; deadlineMs?: number } = {}): Promise<void> {
    const { namespace = this.namespace, deadlineMs = 15_000 } = options;
    const { clock } = this.#dependencies;
    const deadline = clock.nowMs() + deadlineMs;
    while (!(await isListening(namespace, port))) {
      if (this.#exit !== undefined) throw this.#notReady(`it ended (${exitText(this.#exit)})`);
      if (clock.nowMs() > deadline) throw this.#notReady(`nobody listens on ${port} within ${deadlineMs} ms`);
      await new Promise<void>((resolve) => clock.after(pollMs, resolve));
    }
  }

  /** Sends a signal to the program alone; nothing happens when it has ended. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** SIGTERM, then after `deadlineMs` SIGKILL to whatever is left of its group. Idempotent. */
  async stop(deadlineMs = 5000): Promise<ProcessExit> {
    this.#stopping = true;
    this.signal('SIGTERM');
    const timer = this.#dependencies.clock.after(deadlineMs, () => this.#killGroup());
    const exit = await this.exited;
    timer.cancel();
    return exit;
  }

  #watch(resolve: (exit: ProcessExit) => void): void {
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream === null) continue;
      const cutter = new LineCutter((line) => this.#take(line));
      stream.on('error', (error) => this.#take(`(output lost: ${error.message})`));
      stream.on('data', (chunk: Uint8Array) => cutter.push(chunk));
      stream.on('end', () => cutter.finish());
    }
    const settle = (code: number | null, signal: NodeJS.Signals | null) => {
      if (this.#exit !== undefined) return;
      const exit = { code, signal, expected: this.#stopping };
      this.#exit = exit;
      finished(this.#log, () => resolve(exit)); // Whole or broken: who waited for the end may read the file.
      this.#log.end();
      if (!this.#stopping) this.#dependencies.onUnexpectedExit(this, exit);
    };
    this.#child.on('error', (error) => {
      this.#take(`(cannot start: ${error.message})`);
      if (this.#child.pid === undefined) settle(127, null);
    });
    // A grandchild that kept the output open would put off 'close' for ever.
    this.#child.on('exit', () => this.#killGroup());
    this.#child.on('close', settle);
  }

  #take(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > keptLines) this.#lines.shift();
    this.#logBytes += line.length + 1;
    if (this.#logBytes < largestLog) this.#log.write(`${line}\n`);
    this.#dependencies.onLine(this.name, line);
    for (const waiter of this.#waiters) if (waiter.matches(line)) waiter.found(line);
  }

  #killGroup(): void {
    const { pid } = this.#child;
    // Once its end is known the number may be somebody else's.
    if (pid === undefined || this.#exit !== undefined) return;
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // ESRCH: nothing is left of the group, which is what was wanted.
    }
  }

  #notReady(why: string): AmbitError {
    const tail = this.#lines.slice(-20).join('\n');
    return new AmbitError(`${this.name} is not ready: ${why}\n${tail}`, { code: 'LAB_NOT_READY', origin: 'local' });
  }
}

export function exitText(exit: ProcessExit): string {
  return exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`;
}
