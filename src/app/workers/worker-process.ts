/**
 * One worker as its supervisor sees it: a process of the same program with a channel over which connections are handed to it.
 *
 * I1: its end is told once, however it came; by then nothing more is handed to it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHandOverChannel, handOver } from '../../net/hand-over.ts';
import { nativeSockets } from '../../net/native-sockets.ts';
import { type FromWorkerProcess, handOverDescriptor, type ToWorkerProcess } from './messages.ts';

export interface WorkerOptions {
  readonly number: number;
  /** Words that start the program. */
  readonly command: readonly [string, ...string[]];
  readonly environment: NodeJS.ProcessEnv;
  readonly onReady: (worker: WorkerProcess) => void;
  readonly onViews: (views: Extract<FromWorkerProcess, { kind: 'ready' }>['views']) => void;
  readonly onEnd: (worker: WorkerProcess, how: string) => void;
}

export class WorkerProcess {
  readonly number: number;
  readonly #child: ChildProcess;
  readonly #channel: number;
  #ready = false;
  #leaving = false;
  #ended = false;
  #handed = 0;
  #closed = 0;
  #tunnels = 0;
  #pending: readonly string[] = ['start'];
  #lastMetrics: string | undefined;

  /** Starts at once. Throws SystemError when there are no descriptors for it. */
  constructor(options: WorkerOptions) {
    const { number, command, environment, onReady, onViews, onEnd } = options;
    this.number = number;
    const channel = createHandOverChannel();
    this.#channel = channel.near;
    const [program, ...words] = command;
    const stdio: ('ignore' | 'inherit' | 'ipc' | number)[] = ['ignore', 'inherit', 'inherit', 'ipc'];
    stdio[handOverDescriptor] = channel.far;
    try {
      // In a session of its own: what a terminal sends, the supervisor decides on.
      this.#child = spawn(program, words, { env: environment, stdio, detached: true });
    } finally {
      nativeSockets().closeFd(channel.far);
    }
    this.#child.on('message', (message) => {
      const told = message as FromWorkerProcess;
      switch (told.kind) {
        case 'ready':
          this.#ready = true;
          this.#pending = [];
          onViews(told.views);
          onReady(this);
          return;
        case 'pending':
          this.#pending = told.pending;
          return;
        case 'load':
          this.#closed = told.closed;
          this.#tunnels = told.tunnels;
          return;
        case 'last-metrics':
          this.#lastMetrics = told.text;
      }
    });
    const end = (how: string) => {
      if (this.#ended) return;
      this.#ended = true;
      nativeSockets().closeFd(this.#channel);
      onEnd(this, how);
    };
    this.#child.once('error', (error) => end(error.message));
    this.#child.once('exit', (code, signal) => end(signal === null ? `exit code ${code}` : signal));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get taking(): boolean {
    return this.#ready && !this.#leaving && !this.#ended;
  }

  get leaving(): boolean {
    return this.#leaving;
  }

  get connections(): number {
    return this.#handed - this.#closed;
  }

  get tunnels(): number {
    return this.#tunnels;
  }

  get pending(): readonly string[] {
    return this.#pending;
  }

  /** What it had counted when it ended in order. */
  get lastMetrics(): string | undefined {
    return this.#lastMetrics;
  }

  /** `sent`: the connection is no longer the caller's. */
  handOver(connection: number, listener: number): 'sent' | 'full' | 'gone' {
    if (this.#ended) return 'gone';
    const outcome = handOver(this.#channel, connection, listener);
    if (outcome === 'sent') this.#handed++;
    return outcome;
  }

  tell(message: ToWorkerProcess): void {
    // What cannot be told to one that is ending need not be.
    if (this.#child.connected) this.#child.send(message, () => {});
  }

  /** It serves to the end what it has, and takes nothing new. */
  leave(): void {
    if (this.#leaving || this.#ended) return;
    this.#leaving = true;
    this.#child.kill('SIGTERM');
  }

  kill(): void {
    if (!this.#ended) this.#child.kill('SIGKILL');
  }
}
