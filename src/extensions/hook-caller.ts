/**
 * Asks one extension's hooks about one exchange, and makes of whatever comes back one of three things: an answer that was
 * checked, nothing, or a refusal. Here, and nowhere else, the failure mode decides.
 *
 * I1: `done` is called exactly once for each question, never after `release`.
 */
import type { Clock } from '../base/clock.ts';
import { type ExtensionRecord, extensionName } from '../route/extension.ts';
import { type CheckedAnswer, checkAnswer } from './check-answer.ts';
import type { HookName } from './extension.ts';
import type { ExtensionMetrics, HookMetrics } from './metrics.ts';
import type { Question } from './protocol.ts';
import type { Lease } from './running.ts';
import type { FailureReason, ThreadAnswer } from './thread.ts';

export type HookOutcome =
  | { readonly kind: 'answer'; readonly answer: CheckedAnswer }
  /** It failed, and goes on as if it were not there. */
  | { readonly kind: 'ignored' }
  | { readonly kind: 'refused'; readonly details: string };

/** What of an extension does not change from one exchange to the next. */
export class HookCells {
  readonly record: ExtensionRecord;
  readonly name: string;
  readonly #metrics: ExtensionMetrics;
  readonly #hooks: Partial<Record<HookName, HookMetrics>> = {};

  constructor(record: ExtensionRecord, metrics: ExtensionMetrics) {
    this.record = record;
    this.name = extensionName(record);
    this.#metrics = metrics;
  }

  of(hook: HookName): HookMetrics {
    this.#hooks[hook] ??= this.#metrics.hook(this.name, hook);
    return this.#hooks[hook];
  }

  /** What becomes of a call that failed. */
  failed(hook: HookName, reason: FailureReason): HookOutcome {
    this.of(hook).results[reason].value++;
    if (this.record.failureMode === 'open') return { kind: 'ignored' };
    return { kind: 'refused', details: `extension_failed{${this.name}:${hook}:${reason}}` };
  }
}

export class HookCaller {
  readonly cells: HookCells;
  readonly #lease: Lease;
  readonly #clock: Clock;
  readonly #open = new Set<() => void>();
  #told = false;
  #released = false;

  /** Owns the lease. */
  constructor(cells: HookCells, lease: Lease, clock: Clock) {
    this.cells = cells;
    this.#lease = lease;
    this.#clock = clock;
  }

  get record(): ExtensionRecord {
    return this.cells.record;
  }

  /** The extension knows the facts of the exchange. */
  get told(): boolean {
    return this.#told;
  }

  has(hook: HookName): boolean {
    return this.#lease.hooks.has(hook);
  }

  /** `problem` says what is wrong with an answer beyond its form. */
  ask(
    question: Question,
    done: (outcome: HookOutcome) => void,
    problem: (answer: CheckedAnswer) => boolean = never,
  ): void {
    if (this.#released) return;
    const { hook } = question;
    this.#told = true;
    const startedMs = this.#clock.nowMs();
    let cancel: (() => void) | undefined;
    let answered = false;
    const settle = (answer: ThreadAnswer) => {
      answered = true;
      if (cancel !== undefined) this.#open.delete(cancel);
      if (this.#released) return;
      const cells = this.cells.of(hook);
      cells.seconds.observe((this.#clock.nowMs() - startedMs) / 1000);
      done(this.#outcome(hook, answer, problem));
    };
    cancel = this.#lease.ask(question, settle);
    if (!answered) this.#open.add(cancel);
  }

  /** The exchange is over: what is still asked is withdrawn. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    for (const cancel of this.#open) cancel();
    this.#open.clear();
    this.#lease.release();
  }

  #outcome(hook: HookName, answer: ThreadAnswer, problem: (answer: CheckedAnswer) => boolean): HookOutcome {
    if (answer.kind === 'failed') return this.cells.failed(hook, answer.reason);
    const checked = checkAnswer(hook, answer.answer);
    if (typeof checked === 'string' || problem(checked)) return this.cells.failed(hook, 'invalid');
    const { respond, close, headers, status, replace } = checked;
    const replied = respond !== undefined || close !== undefined;
    const changed = headers !== undefined || status !== undefined || replace !== undefined;
    this.cells.of(hook).results[replied ? 'replied' : changed ? 'changed' : 'unchanged'].value++;
    return { kind: 'answer', answer: checked };
  }
}

function never(): boolean {
  return false;
}
