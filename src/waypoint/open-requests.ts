/**
 * HTTP requests that are forwarded and not over, judged again when the model changes (design rule 8): one that is no longer
 * allowed is ended. They form a list in the order they came, which needs no memory of its own.
 *
 * I1: a change is worked through in slices, so that no turn of the loop is long; one that comes meanwhile starts anew.
 * I2: who came after the change was judged by it already, and is not looked at.
 */
import type { Clock } from '../base/clock.ts';
import { inSlices } from '../base/slices.ts';

export interface Refusal {
  readonly status: number;
  readonly body: string;
  readonly details: string;
}

type Judgement = { readonly kind: 'go' } | ({ readonly kind: 'reply' } & Refusal);

export interface OpenRequest {
  /** Its place in the list, which is written here alone. */
  previous: OpenRequest | undefined;
  next: OpenRequest | undefined;
  openedAt: number;
  /** On the model of the moment. Total, and never rejects. Status 503: it cannot be said now. */
  judgeAgain(): Judgement | Promise<Judgement>;
  /** Ends it. */
  revoke(refusal: Refusal): void;
}

/** Until a question that there was no room for is put again. */
const againMs = 1_000;

export class OpenRequests {
  readonly #clock: Clock;
  #first: OpenRequest | undefined;
  #last: OpenRequest | undefined;
  #changes = 0;
  /** The next to be looked at. */
  #cursor: OpenRequest | undefined;
  #checking = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(request: OpenRequest): void {
    const last = this.#last;
    request.openedAt = this.#changes;
    request.previous = last;
    if (last === undefined) this.#first = request;
    else last.next = request;
    this.#last = request;
  }

  /** Of one that was added. */
  delete(request: OpenRequest): void {
    const { previous, next } = request;
    if (this.#cursor === request) this.#cursor = next;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    request.previous = undefined;
    request.next = undefined;
    request.openedAt = over;
  }

  recheck(): void {
    this.#changes++;
    this.#cursor = this.#first;
    if (this.#checking || this.#cursor === undefined) return;
    this.#checking = true;
    void inSlices(this.#steps(), { clock: this.#clock });
  }

  *#steps(): Generator<undefined> {
    for (;;) {
      const request = this.#cursor;
      if (request === undefined || request.openedAt >= this.#changes) break;
      this.#cursor = request.next;
      this.#judge(request);
      yield;
    }
    this.#cursor = undefined;
    // Before anything else can be said: `inSlices` itself is over only later.
    this.#checking = false;
  }

  #judge(request: OpenRequest): void {
    const answer = request.judgeAgain();
    if (answer instanceof Promise) void answer.then((settled) => this.#settle(request, settled));
    else this.#settle(request, answer);
  }

  #settle(request: OpenRequest, answer: Judgement): void {
    if (answer.kind === 'go' || request.openedAt === over) return;
    // That nobody can look at its token now says nothing against it.
    if (answer.status === 503) this.#clock.after(againMs, () => request.openedAt === over || this.#judge(request));
    else request.revoke(answer);
  }
}

/** Its `openedAt`. */
const over = Number.POSITIVE_INFINITY;
