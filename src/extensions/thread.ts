/**
 * One worker thread with one extension in it, seen from the proxy: questions go in, answers come out, and the thread is ended
 * when it can no longer be relied on.
 *
 * I1: each question is answered exactly once, by the thread, its deadline, or the thread's end; `cancel` withdraws it.
 * I2: a thread that says nothing for a while after a deadline has passed is stuck, and is ended. I3: so is one whose memory
 *     outside the JavaScript heap grows beyond its limit (the heap itself is limited by V8).
 * I4: the questions and bytes inside are bounded; beyond that a question is answered at once with `busy`.
 */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Clock, Timer } from '../base/clock.ts';
import { errorCode, errorText } from '../base/errors.ts';
import { ownFile } from '../base/own-files.ts';
import { type HookName, hookNames } from './extension.ts';
import type { FromWorker, LogLine, Question, ToWorker, WorkerStart } from './protocol.ts';

export type FailureReason = 'threw' | 'invalid' | 'deadline' | 'busy' | 'too-long' | 'ended' | 'unavailable';

/** As it came from the thread: not checked. */
export type ThreadAnswer =
  | { readonly kind: 'answer'; readonly answer: unknown }
  | { readonly kind: 'failed'; readonly reason: FailureReason; readonly text: string };

export type ThreadEnd = 'crashed' | 'memory' | 'stuck' | 'unusable' | 'closed';

export interface ThreadOptions {
  readonly start: WorkerStart;
  readonly deadlineMs: number;
  readonly memoryBytes: number;
  readonly clock: Clock;
  /** It can be asked from now on. */
  readonly onReady: (hooks: ReadonlySet<HookName>, files: readonly string[]) => void;
  /** Once; every question has been answered. `files`: what it had loaded until then. */
  readonly onEnd: (end: ThreadEnd, text: string, files: readonly string[]) => void;
  readonly onLog: (line: LogLine) => void;
}

/** Questions that the thread has not answered, those given up included. */
const maxUnanswered = 4096;
/** Given up and never answered: whoever waits for ever will not be done with them. */
const maxAbandoned = 2048;
const maxBytesInside = 64 * 1024 * 1024;
const startDeadlineMs = 10_000;
/** After a missed deadline, until the thread must have said anything. */
const stuckMs = 1000;
const memoryLookMs = 1000;
const mebibyte = 1024 * 1024;

interface Pending {
  readonly done: (answer: ThreadAnswer) => void;
  readonly dueMs: number;
  readonly bytes: number;
}

export class ExtensionThread {
  readonly #options: ThreadOptions;
  readonly #worker: Worker;
  /** In the order they were asked, and so of their deadlines. */
  readonly #pending = new Map<number, Pending>();
  /** Given up, but still inside: their bytes. */
  readonly #abandoned = new Map<number, number>();
  #outgoing: ToWorker[] = [];
  #handedOver: ArrayBuffer[] = [];
  #lastCall = 0;
  #bytesInside = 0;
  #deadline: Timer | undefined;
  #stuck: Timer | undefined;
  #memoryLook: Timer | undefined;
  #startTimer: Timer | undefined;
  #baseBytes: number | undefined;
  #end: { readonly end: ThreadEnd; readonly text: string } | undefined;
  #files: readonly string[] = [];

  /** Starts at once. */
  constructor(options: ThreadOptions) {
    this.#options = options;
    const { start, memoryBytes, clock } = options;
    const entry = ownFile('src/extensions/worker/main');
    const heap = Math.max(8, Math.floor(memoryBytes / mebibyte));
    const young = Math.min(4, Math.ceil(heap / 8));
    // Ours too, which its entry is made of; package.json, as a source or built, says that they are modules.
    const own = path.resolve(entry, '../../..');
    const packages = ['../package.json', '../../package.json'].map((file) => path.resolve(own, file));
    const readable = [fileURLToPath(start.folderUrl), `${own}/`, ...packages];
    this.#worker = new Worker(entry, {
      name: `extension ${start.name}`.slice(0, 60),
      workerData: start,
      // Nothing of the proxy's environment, arguments or options, and no way to files, network, programs or addons.
      env: {},
      argv: [],
      execArgv: ['--permission', '--no-warnings', ...readable.map((file) => `--allow-fs-read=${file}`)],
      stdin: false,
      stdout: true,
      stderr: true,
      resourceLimits: {
        maxOldGenerationSizeMb: heap - young,
        maxYoungGenerationSizeMb: young,
        stackSizeMb: 2,
      },
    });
    this.#worker.unref();
    this.#worker.on('message', (messages: unknown) => this.#received(messages));
    this.#worker.on('messageerror', () => this.#stop('crashed', 'it said what cannot be read'));
    this.#worker.on('error', (error: unknown) => {
      const end = errorCode(error) === 'ERR_WORKER_OUT_OF_MEMORY' ? 'memory' : 'crashed';
      this.#stop(end, end === 'memory' ? `more than ${heap} MiB of heap` : errorText(error));
    });
    this.#worker.on('exit', (code) => this.#stop('crashed', `its thread ended with ${code}`));
    for (const output of [this.#worker.stdout, this.#worker.stderr]) {
      output.on('error', ignore).on('data', (chunk: Buffer) => {
        const text = chunk.toString('utf8', 0, 1024).trim();
        if (text !== '') options.onLog({ level: 'info', text });
      });
    }
    this.#startTimer = clock.after(startDeadlineMs, () =>
      this.#stop('stuck', `it was not ready within ${startDeadlineMs / 1000} s`),
    );
  }

  /** `bytes` in it are handed over: they must be the caller's own. The number withdraws it. */
  ask(exchange: number, question: Question, done: (answer: ThreadAnswer) => void): number {
    const call = ++this.#lastCall;
    if (this.#end !== undefined) {
      done({ kind: 'failed', reason: 'ended', text: this.#end.text });
      return call;
    }
    const bytes = 'bytes' in question.content ? question.content.bytes : undefined;
    const size = bytes?.length ?? 0;
    const unanswered = this.#pending.size + this.#abandoned.size;
    if (unanswered >= maxUnanswered || this.#bytesInside + size > maxBytesInside) {
      done({ kind: 'failed', reason: 'busy', text: 'too many calls under way' });
      return call;
    }
    this.#bytesInside += size;
    const { clock, deadlineMs } = this.#options;
    this.#pending.set(call, { done, dueMs: clock.nowMs() + deadlineMs, bytes: size });
    this.#deadline ??= clock.after(deadlineMs, () => this.#overdue());
    this.#send({ kind: 'ask', call, exchange, question }, bytes);
    return call;
  }

  /** `done` is not called any more. */
  cancel(call: number): void {
    const pending = this.#pending.get(call);
    if (pending === undefined) return;
    this.#pending.delete(call);
    this.#abandoned.set(call, pending.bytes);
  }

  /** Nothing more will be asked about the exchange. */
  over(exchange: number): void {
    if (this.#end === undefined) this.#send({ kind: 'over', exchange });
  }

  /** Ends the thread; what is under way is answered with `ended`. */
  close(): void {
    this.#stop('closed', 'the extension was closed');
  }

  #send(message: ToWorker, bytes?: Uint8Array): void {
    if (this.#outgoing.push(message) === 1) queueMicrotask(() => this.#flush());
    if (bytes !== undefined && bytes.buffer instanceof ArrayBuffer) this.#handedOver.push(bytes.buffer);
  }

  #flush(): void {
    const messages = this.#outgoing;
    const bytes = this.#handedOver;
    this.#outgoing = [];
    this.#handedOver = [];
    if (this.#end === undefined) this.#worker.postMessage(messages, bytes);
  }

  #received(messages: unknown): void {
    this.#stuck?.cancel();
    this.#stuck = undefined;
    if (this.#end !== undefined || !Array.isArray(messages)) return;
    for (const message of messages as readonly FromWorker[]) this.#take(message);
  }

  #take(message: FromWorker): void {
    switch (message.kind) {
      case 'answer':
        this.#answer(message.call, { kind: 'answer', answer: message.answer });
        return;
      case 'threw': {
        const reason = message.invalid ? 'invalid' : 'threw';
        this.#answer(message.call, { kind: 'failed', reason, text: String(message.text) });
        return;
      }
      case 'log':
        this.#options.onLog({ level: levelOf(message.level), text: String(message.text).slice(0, 1024) });
        return;
      case 'ready':
        this.#ready(message.hooks, message.files);
        return;
      case 'unusable':
        this.#files = message.files;
        this.#stop('unusable', String(message.text));
        return;
      case 'pong':
    }
  }

  #ready(hooks: readonly HookName[], files: readonly string[]): void {
    if (this.#startTimer === undefined) return;
    this.#startTimer.cancel();
    this.#startTimer = undefined;
    this.#files = files;
    this.#lookAtMemory();
    this.#options.onReady(new Set(hookNames.filter((name) => hooks.includes(name))), files);
  }

  #answer(call: number, answer: ThreadAnswer): void {
    const pending = this.#pending.get(call);
    if (pending === undefined) {
      this.#bytesInside -= this.#abandoned.get(call) ?? 0;
      this.#abandoned.delete(call);
      return;
    }
    this.#pending.delete(call);
    this.#bytesInside -= pending.bytes;
    pending.done(answer);
  }

  #overdue(): void {
    this.#deadline = undefined;
    const { clock, deadlineMs } = this.#options;
    const nowMs = clock.nowMs();
    const late: Pending[] = [];
    for (const [call, pending] of this.#pending) {
      if (pending.dueMs > nowMs) {
        this.#deadline = clock.after(pending.dueMs - nowMs, () => this.#overdue());
        break;
      }
      this.#pending.delete(call);
      this.#abandoned.set(call, pending.bytes);
      late.push(pending);
    }
    if (this.#abandoned.size > maxAbandoned) this.#stop('stuck', 'very many of its calls were never answered');
    else if (late.length > 0) this.#askForLife();
    for (const { done } of late) {
      done({ kind: 'failed', reason: 'deadline', text: `no answer within ${deadlineMs} ms` });
    }
  }

  #askForLife(): void {
    if (this.#stuck !== undefined || this.#end !== undefined) return;
    this.#send({ kind: 'ping' });
    this.#stuck = this.#options.clock.after(stuckMs, () =>
      this.#stop('stuck', `it did not let go of its thread for ${stuckMs} ms after a deadline`),
    );
  }

  #lookAtMemory(): void {
    const { clock, memoryBytes } = this.#options;
    this.#worker.getHeapStatistics().then(
      ({ external_memory: bytes }) => {
        if (this.#end !== undefined) return;
        // What Node itself holds in a new thread is not the extension's.
        this.#baseBytes ??= bytes;
        if (bytes - this.#baseBytes > memoryBytes)
          this.#stop('memory', `more than ${Math.floor(memoryBytes / mebibyte)} MiB outside the heap`);
        else this.#memoryLook = clock.after(memoryLookMs, () => this.#lookAtMemory());
      },
      // It has just ended: `exit` tells.
      ignore,
    );
  }

  #stop(end: ThreadEnd, text: string): void {
    if (this.#end !== undefined) return;
    this.#end = { end, text };
    for (const timer of [this.#deadline, this.#stuck, this.#memoryLook, this.#startTimer]) timer?.cancel();
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    this.#abandoned.clear();
    void this.#worker.terminate();
    for (const { done } of pending) done({ kind: 'failed', reason: 'ended', text });
    this.#options.onEnd(end, text, this.#files);
  }
}

function levelOf(level: unknown): LogLine['level'] {
  return level === 'debug' || level === 'warn' || level === 'error' ? level : 'info';
}

function ignore(): void {}
