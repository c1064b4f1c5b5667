/**
 * A small request of the waypoint's own to a service of the mesh, over the same pools and tunnels as requests of clients:
 * the other end proves its identity, and gets ours. The answer is read as a whole.
 *
 * I1: it is over within `timeoutMs`, with at most `maxBytes` of a body held, whatever the other end does, and never rejects.
 * I2: another endpoint is tried only where nothing was sent.
 * I3: it counts against the limits of its destination as requests of clients do, and one more than may be is not sent.
 */
import { Readable } from 'node:stream';
import type { Cancellation } from '../base/cancellation.ts';
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import { type HeaderList, noHeaders } from '../http/header-list.ts';
import type { Circuit } from './circuit.ts';
import type { EndpointAnswer } from './forward.ts';
import type { RunningTry, TryHandler, UpstreamPools } from './pools.ts';
import { sendWatched, type TryWatch } from './try-watch.ts';

/** Where a try goes, or why nowhere. */
export type OwnTry =
  | (Extract<EndpointAnswer, { kind: 'endpoint' }> & {
      /** What the destination may have under way; undefined: nobody counts. */
      readonly circuit?: Circuit | undefined;
    })
  | { readonly kind: 'none'; readonly reason: string };

export interface OwnCall {
  /** `tried`: uids of the workloads that failed. */
  readonly nextTry: (tried: ReadonlySet<string>) => OwnTry;
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly authority: string;
  /** Without Host; with `content-length` where there is a body and the other end wants to know. */
  readonly headers: HeaderList;
  readonly body: Buffer | undefined;
  /** Connecting included, for all tries together. */
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

export type OwnCallOutcome =
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers: HeaderList;
      readonly trailers: HeaderList;
      readonly body: Buffer;
    }
  | { readonly kind: 'failed'; readonly reason: string };

export interface OwnCallDependencies {
  readonly pools: UpstreamPools;
  readonly clock: Clock;
}

const mostTries = 3;

/** `gone`: nobody waits for the answer any more. */
export function callOwn(
  call: OwnCall,
  dependencies: OwnCallDependencies,
  gone?: Cancellation,
): Promise<OwnCallOutcome> {
  if (gone?.cancelled === true) return Promise.resolve({ kind: 'failed', reason: left });
  return new Promise((resolve) => new RunningCall(call, dependencies, gone, resolve).start());
}

const overflowing = 'as many requests are under way as its DestinationRule allows';
const left = 'nobody waits for the answer any more';

class RunningCall implements TryHandler {
  readonly #call: OwnCall;
  readonly #dependencies: OwnCallDependencies;
  readonly #gone: Cancellation | undefined;
  readonly #done: (outcome: OwnCallOutcome) => void;
  readonly #tried = new Set<string>();
  /** Not the size of `tried`: an endpoint that is alone is chosen again. */
  #tries = 0;
  readonly #chunks: Buffer[] = [];
  readonly #cancel = () => this.#fail(left);
  #deadline: { cancel(): void } | undefined;
  #try: RunningTry | undefined;
  #watch: TryWatch | undefined;
  /** Counts it, from its first try on. */
  #circuit: Circuit | undefined;
  #retrying = false;
  #bytes = 0;
  #head: { readonly status: number; readonly headers: HeaderList } | undefined;
  #over = false;

  constructor(
    call: OwnCall,
    dependencies: OwnCallDependencies,
    gone: Cancellation | undefined,
    done: (outcome: OwnCallOutcome) => void,
  ) {
    this.#call = call;
    this.#dependencies = dependencies;
    this.#gone = gone;
    this.#done = done;
  }

  start(): void {
    const { timeoutMs } = this.#call;
    this.#deadline = this.#dependencies.clock.after(timeoutMs, () => {
      this.#watch?.observe({ kind: 'timeout' });
      this.#fail(`no answer within ${timeoutMs} ms`);
    });
    this.#gone?.on(this.#cancel);
    this.#send();
  }

  #send(): void {
    const { nextTry, method, path, authority, headers, body: bytes } = this.#call;
    const next = nextTry(this.#tried);
    if (next.kind === 'none') {
      this.#fail(next.reason);
      return;
    }
    const { endpoint, protocol, watch, circuit } = next;
    if (this.#tries === 0) {
      if (circuit?.enterRequest() === false) {
        this.#fail(overflowing);
        return;
      }
      this.#circuit = circuit;
    }
    this.#tried.add(endpoint.workload.uid);
    this.#tries++;
    this.#watch = watch;
    const hasBody = bytes !== undefined && bytes.length > 0;
    const body = hasBody ? Readable.from([bytes], { objectMode: false }) : undefined;
    const request = { method, path, authority, headers, body, upgrade: undefined };
    const running = sendWatched(this.#dependencies.pools, watch, endpoint, protocol, request, this);
    if (this.#over) running.abort('the call is over');
    else this.#try = running;
  }

  inform(): void {}

  head(status: number, headers: HeaderList): void {
    this.#head = { status, headers };
  }

  data(chunk: Buffer): boolean {
    this.#bytes += chunk.length;
    const { maxBytes } = this.#call;
    if (this.#bytes > maxBytes) this.#fail(`the answer is longer than ${maxBytes} bytes`);
    else this.#chunks.push(chunk);
    return true;
  }

  end(trailers: HeaderList): void {
    const { status, headers } = this.#head ?? { status: 0, headers: noHeaders };
    this.#finish({ kind: 'answer', status, headers, body: Buffer.concat(this.#chunks), trailers });
  }

  upgraded(_headers: HeaderList, stream: { destroy(): unknown }): void {
    stream.destroy();
    this.#fail('the answer is an upgrade that nobody asked for');
  }

  failed(result: { readonly kind: string }, error: Error): void {
    if (this.#over) return;
    const unsent = result.kind === 'connect-failure' || result.kind === 'refused-stream';
    if (unsent && this.#tries < mostTries && this.#enterRetry()) this.#send();
    else this.#fail(errorText(error));
  }

  /** False: there are as many retries as may be. */
  #enterRetry(): boolean {
    if (this.#circuit === undefined) return true;
    this.#leaveRetry();
    this.#retrying = this.#circuit.enterRetry(true);
    return this.#retrying;
  }

  #leaveRetry(): void {
    if (this.#retrying) this.#circuit?.leaveRetry();
    this.#retrying = false;
  }

  #fail(reason: string): void {
    this.#finish({ kind: 'failed', reason });
  }

  #finish(outcome: OwnCallOutcome): void {
    if (this.#over) return;
    this.#over = true;
    this.#deadline?.cancel();
    this.#gone?.off(this.#cancel);
    this.#leaveRetry();
    this.#circuit?.leaveRequest();
    if (outcome.kind === 'failed') this.#try?.abort(outcome.reason);
    this.#done(outcome);
  }
}
