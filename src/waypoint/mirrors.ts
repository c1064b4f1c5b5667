/**
 * Mirrored requests: copies that go to other pods, whose answers nobody waits for. Endpoints, identities and policies of
 * the pods are those of any request. Nothing here can slow or break the request that is copied: a mirror that is slow,
 * too many, or not to be reached is given up and counted.
 *
 * I1: every mirror that was drawn is counted once, with its outcome. I2: all of them together hold a bounded memory.
 */
import type { Clock } from '../base/clock.ts';
import type { Counter, MetricsRegistry } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import type { Mirror, RouteBackend } from '../route/model.ts';
import type { BodyObserver } from '../upstream/body-observer.ts';
import type { EndpointAnswer } from '../upstream/forward.ts';
import { MirrorBody, type MirrorBudget } from '../upstream/mirror-body.ts';
import type { RunningTry, TryHandler, UpstreamPools, UpstreamRequest } from '../upstream/pools.ts';
import { sendWatched } from '../upstream/try-watch.ts';

export interface MirrorLimits {
  /** Mirrors under way: few enough that one pool of connections has room for the requests themselves. */
  readonly maxActive: number;
  /** Of one body that a mirror has not taken yet. */
  readonly maxBodyBytes: number;
  readonly maxTotalBytes: number;
  /** Of an answer that is read for the sake of its connection. */
  readonly maxAnswerBytes: number;
  readonly maxMs: number;
}

export const mirrorLimits: MirrorLimits = {
  maxActive: 256,
  maxBodyBytes: 1024 * 1024,
  maxTotalBytes: 32 * 1024 * 1024,
  maxAnswerBytes: 1024 * 1024,
  maxMs: 60_000,
};

export const mirrorOutcomes = ['answered', 'failed', 'slow', 'denied', 'unreachable', 'limit'] as const;
export type MirrorOutcome = (typeof mirrorOutcomes)[number];

export interface MirroredRequest extends Omit<UpstreamRequest, 'body' | 'upgrade'> {
  readonly hasBody: boolean;
  /** The route's; undefined: only the limit of all mirrors. */
  readonly timeoutMs: number | undefined;
  /** An endpoint that the policies of its pod admit. */
  readonly choose: (backend: RouteBackend) => EndpointAnswer;
}

/** The mirrors of one request. */
export interface Mirroring {
  /** Sends them; not before the request itself may go. */
  begin(): void;
  /** To be shown the body of the request. */
  readonly body: BodyObserver;
}

export class Mirrors {
  readonly #pools: UpstreamPools;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #limits: MirrorLimits;
  readonly #budget: MirrorBudget;
  readonly #counters: Readonly<Record<MirrorOutcome, Counter>>;
  #active = 0;

  constructor(
    dependencies: {
      readonly pools: UpstreamPools;
      readonly clock: Clock;
      readonly random: Random;
      readonly metrics: MetricsRegistry;
    },
    limits: MirrorLimits = mirrorLimits,
  ) {
    const { metrics } = dependencies;
    this.#pools = dependencies.pools;
    this.#clock = dependencies.clock;
    this.#random = dependencies.random;
    this.#limits = limits;
    this.#budget = { bytes: 0, maxBytes: limits.maxTotalBytes };
    const help = 'Mirrored requests that are over, by outcome.';
    const counter = (outcome: MirrorOutcome) =>
      [outcome, metrics.counter('ambit_mirrored_requests_total', help, { outcome })] as const;
    this.#counters = Object.fromEntries(mirrorOutcomes.map(counter)) as Record<MirrorOutcome, Counter>;
  }

  /** Draws which mirrors get the request; undefined when none does. */
  draw(mirrors: readonly Mirror[], request: MirroredRequest): Mirroring | undefined {
    const drawn = mirrors.filter(({ backend, share }) => backend.service !== undefined && this.#random.next() < share);
    if (drawn.length === 0) return undefined;
    const bodies: BodyObserver[] = [];
    return {
      begin: () => {
        for (const { backend } of drawn) {
          const body = this.#send(backend, request);
          if (body !== undefined) bodies.push(body);
        }
      },
      body: {
        take: (chunk) => each(bodies, (body) => body.take(chunk)),
        end: () => each(bodies, (body) => body.end()),
        fail: (error) => each(bodies, (body) => body.fail(error)),
      },
    };
  }

  #send(backend: RouteBackend, request: MirroredRequest): MirrorBody | undefined {
    if (this.#active >= this.#limits.maxActive) {
      this.#counters.limit.value++;
      return undefined;
    }
    const answer = request.choose(backend);
    if (answer.kind === 'refused') {
      this.#counters[answer.status === 403 ? 'denied' : 'unreachable'].value++;
      return undefined;
    }
    const timeoutMs = Math.min(request.timeoutMs ?? this.#limits.maxMs, this.#limits.maxMs);
    const slow = () => mirror.finish('slow');
    const body = request.hasBody ? new MirrorBody(this.#budget, this.#limits.maxBodyBytes, slow) : undefined;
    const timer = this.#clock.after(timeoutMs, slow);
    const mirror = new RunningMirror(this.#limits.maxAnswerBytes, (outcome) => {
      timer.cancel();
      body?.close();
      this.#active--;
      this.#counters[outcome].value++;
    });
    this.#active++;
    const { method, path, authority, headers } = request;
    const copy = { method, path, authority, headers, body: body?.stream, upgrade: undefined };
    mirror.running(sendWatched(this.#pools, answer.watch, answer.endpoint, answer.protocol, copy, mirror));
    return body;
  }
}

function each(bodies: readonly BodyObserver[], tell: (body: BodyObserver) => void): void {
  for (const body of bodies) tell(body);
}

class RunningMirror implements TryHandler {
  readonly #maxAnswerBytes: number;
  readonly #over: (outcome: MirrorOutcome) => void;
  #try: RunningTry | undefined;
  #answerBytes = 0;
  #finished = false;

  constructor(maxAnswerBytes: number, over: (outcome: MirrorOutcome) => void) {
    this.#maxAnswerBytes = maxAnswerBytes;
    this.#over = over;
  }

  running(started: RunningTry): void {
    this.#try = started;
    if (this.#finished) started.abort('the mirror is over');
  }

  finish(outcome: MirrorOutcome): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#over(outcome);
    this.#try?.abort('the mirror is over');
  }

  inform(): void {}

  head(): void {}

  data(chunk: Buffer): boolean {
    this.#answerBytes += chunk.length;
    if (this.#answerBytes > this.#maxAnswerBytes) this.finish('answered');
    return true;
  }

  end(): void {
    this.finish('answered');
  }

  upgraded(_headers: unknown, stream: { destroy(): unknown }): void {
    stream.destroy();
    this.finish('failed');
  }

  failed(): void {
    this.finish('failed');
  }
}
