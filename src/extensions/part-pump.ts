/**
 * Shows a body to a hook part by part and gives on what comes back, in order, with a bounded number of bytes under way.
 *
 * I1: parts leave in the order in which they came, whoever answers first. I2: once `stop` was called, or it was refused or
 * replied, nothing leaves any more.
 */
import type { CheckedAnswer, LocalAnswer } from './check-answer.ts';
import type { HookOutcome } from './hook-caller.ts';

export interface PartSink {
  /** The hook is shown these bytes, which are its own. */
  ask(bytes: Uint8Array, last: boolean, done: (outcome: HookOutcome) => void): void;
  part(bytes: Uint8Array): void;
  end(): void;
  refused(details: string): void;
  respond(answer: LocalAnswer): void;
}

/** Of one body, inside the extension. */
const windowBytes = 256 * 1024;
export const maxPartBytes = 64 * 1024;

interface Part {
  readonly bytes: Uint8Array;
  readonly last: boolean;
  answer: CheckedAnswer | 'ignored' | undefined;
}

export class PartPump {
  readonly #sink: PartSink;
  #parts: Part[] = [];
  #inside = 0;
  #stopped = false;

  constructor(sink: PartSink) {
    this.#sink = sink;
  }

  /** The caller should wait until a part has left. */
  get full(): boolean {
    return this.#inside >= windowBytes;
  }

  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length && !this.#stopped; at += maxPartBytes) {
      this.#show(chunk.subarray(at, at + maxPartBytes), false);
    }
  }

  end(): void {
    if (!this.#stopped) this.#show(new Uint8Array(0), true);
  }

  stop(): void {
    this.#stopped = true;
    this.#parts = [];
    this.#inside = 0;
  }

  #show(bytes: Uint8Array, last: boolean): void {
    const part: Part = { bytes, last, answer: undefined };
    this.#parts.push(part);
    this.#inside += bytes.length;
    // A copy: what was received may share its memory with much else, and is needed again where the hook fails.
    this.#sink.ask(new Uint8Array(bytes), last, (outcome) => this.#answered(part, outcome));
  }

  #answered(part: Part, outcome: HookOutcome): void {
    if (this.#stopped) return;
    if (outcome.kind === 'refused') {
      this.stop();
      this.#sink.refused(outcome.details);
      return;
    }
    part.answer = outcome.kind === 'ignored' ? 'ignored' : outcome.answer;
    this.#leave();
  }

  #leave(): void {
    for (let part = this.#parts[0]; part?.answer !== undefined && !this.#stopped; part = this.#parts[0]) {
      this.#parts.shift();
      this.#inside -= part.bytes.length;
      const { answer } = part;
      if (answer !== 'ignored' && answer.respond !== undefined) {
        this.stop();
        this.#sink.respond(answer.respond);
        return;
      }
      const bytes = (answer === 'ignored' ? undefined : answer.replace) ?? part.bytes;
      if (bytes.length > 0) this.#sink.part(bytes);
      if (part.last && !this.#stopped) this.#sink.end();
    }
  }
}
