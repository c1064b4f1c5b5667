/**
 * Forwards one exchange: tries endpoints until one answers or the retry policy, the deadline or the body forbid another
 * try, and streams the answer back. Every try gets its endpoint from the caller, who authorizes it anew.
 *
 * I1: the result is told exactly once, when the exchange is over. I2: a response once started is never retried; when it
 * breaks, the client sees it break. I3: a slow client slows the upstream and the other way round.
 */
import type { Duplex, Readable } from 'node:stream';
import type { SocketAddress } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { AmbitError, errorText } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import type { Exchange } from '../http/exchange.ts';
import { type HeaderList, headerValue, noHeaders, withoutHeaders } from '../http/header-list.ts';
import { stripHopByHop } from '../http/hop-by-hop.ts';
import { BodyTooLong } from '../http/limit-body.ts';
import { isGrpc, localReply } from '../http/local-reply.ts';
import { acceptedHeaders, openingHeaders } from '../http/websocket.ts';
import { DuplexEnd } from '../net/duplex-end.ts';
import { join } from '../net/join.ts';
import {
  mayRepeat,
  mayResendBody,
  retryDelayMs,
  shouldRetry,
  statusResult,
  type TryResult,
  wasUnsent,
} from '../route/retry.ts';
import type { RetryPolicy } from '../route/retry-policy.ts';
import type { BodyObserver } from './body-observer.ts';
import type { Circuit } from './circuit.ts';
import type { UpstreamEndpoint, UpstreamProtocol } from './endpoint.ts';
import type { RunningTry, TryHandler, UpstreamPools, UpstreamRequest } from './pools.ts';
import { ReplayBody } from './replay-body.ts';
import { sendWatched, type TryWatch } from './try-watch.ts';

/** Longest request body kept for a retry. */
const maxReplayBytes = 64 * 1024;

/** Interim responses to one request; what sends more means no good. */
const maxInterim = 32;

export type EndpointAnswer =
  | {
      readonly kind: 'endpoint';
      readonly endpoint: UpstreamEndpoint;
      readonly protocol: UpstreamProtocol;
      readonly watch?: TryWatch | undefined;
    }
  /** Answered with this; no further try. */
  | {
      readonly kind: 'refused';
      readonly status: number;
      readonly body: string;
      readonly flags: string;
      readonly details: string;
      /** Chosen, but not to be used: for the log. */
      readonly endpoint: UpstreamEndpoint | undefined;
    };

export interface ForwardPlan {
  readonly exchange: Exchange;
  readonly path: string;
  readonly authority: string;
  readonly headers: HeaderList;
  /** The client's, or one with the same bytes. */
  readonly body: Readable | undefined;
  readonly retry: RetryPolicy;
  /** For the whole exchange; undefined: none. */
  readonly timeoutMs: number | undefined;
  /** What a gRPC client is told when that is over; undefined: what stands for 504. */
  readonly timeoutGrpcStatus?: number | undefined;
  /** `tried`: uids of the workloads that failed so far. */
  readonly nextEndpoint: (tried: ReadonlySet<string>) => EndpointAnswer;
  readonly responseHeaders: (headers: HeaderList, status: number) => HeaderList;
  /** What the destination may have under way; undefined: nobody counts. */
  readonly circuit?: Circuit | undefined;
  /** Of answers that no endpoint gave. */
  readonly replyHeaders?: (status: number) => HeaderList;
  /** Sees the body as it is read for the first time. */
  readonly bodyObserver?: BodyObserver | undefined;
  /** Sees the chunks of the response's body. */
  readonly responseObserver?: ((chunk: Buffer) => void) | undefined;
}

export interface ForwardResult {
  /** 0: the client left before any status was sent. */
  readonly status: number;
  /** Envoy's response flags, `-` for none. */
  readonly flags: string;
  /** Envoy's response code details. */
  readonly details: string;
  readonly endpoint: UpstreamEndpoint | undefined;
  readonly link: { readonly local: SocketAddress; readonly peer: SocketAddress } | undefined;
  readonly tries: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly grpcStatus: string | undefined;
  /** What went wrong upstream, for the log. */
  readonly failure: string | undefined;
  /** As the client got them; undefined: it got none. Of an answer of our own, what was added to it. */
  readonly responseHeaders?: HeaderList | undefined;
  readonly responseTrailers?: HeaderList | undefined;
  /** When the head of that answer came. */
  readonly responseStartedMs?: number | undefined;
  readonly upstreamProtocol?: UpstreamProtocol | undefined;
}

export interface ForwardDependencies {
  readonly pools: UpstreamPools;
  readonly clock: Clock;
  readonly random: Random;
}

/** One that is under way. */
export interface RunningForward {
  /**
   * It is not allowed any more: this is the answer, or, where another one has begun, the exchange breaks off, and the log
   * says so with the flag `RBAC`. Without effect when it is over.
   */
  revoke(refusal: { readonly status: number; readonly body: string; readonly details: string }): void;
}

/** `done` comes once, when the exchange is over. */
export function forward(
  plan: ForwardPlan,
  dependencies: ForwardDependencies,
  done: (result: ForwardResult) => void,
): RunningForward {
  const forwarding = new Forwarding(plan, dependencies, done);
  forwarding.start();
  return forwarding;
}

class Forwarding implements TryHandler, RunningForward {
  readonly #plan: ForwardPlan;
  readonly #exchange: Exchange;
  readonly #deps: ForwardDependencies;
  readonly #done: (result: ForwardResult) => void;
  readonly #body: ReplayBody | undefined;
  #tried: Set<string> | undefined;
  #refusedEndpoint: UpstreamEndpoint | undefined;
  #current: Extract<EndpointAnswer, { kind: 'endpoint' }> | undefined;
  #try: RunningTry | undefined;
  #generation = 0;
  #tries = 0;
  #deadline: Timer | undefined;
  #tryTimer: Timer | undefined;
  #waiting: Timer | undefined;
  /** Head held back: gRPC errors come as a head alone, and must leave as one. */
  #held: { readonly status: number; readonly headers: HeaderList } | undefined;
  #started = false;
  #responseHeaders: HeaderList | undefined;
  #responseTrailers: HeaderList | undefined;
  #responseStartedMs: number | undefined;
  #status = 0;
  #flags: string[] = [];
  #details = 'via_upstream';
  #grpcStatus: string | undefined;
  /** Headers of the last try. */
  #sent: HeaderList = noHeaders;
  #responseBytes = 0;
  #informed = 0;
  #upgradedBytes = 0;
  #upgraded: ReturnType<typeof join> | undefined;
  #failure: string | undefined;
  /** Counted as under way. */
  #entered = false;
  #retrying = false;
  #over = false;

  constructor(plan: ForwardPlan, dependencies: ForwardDependencies, done: (result: ForwardResult) => void) {
    this.#plan = plan;
    this.#exchange = plan.exchange;
    this.#deps = dependencies;
    this.#done = done;
    const { body } = plan;
    const keep = mayResendBody(plan.retry) ? maxReplayBytes : 0;
    this.#body =
      body === undefined ? undefined : new ReplayBody(body, keep, plan.bodyObserver, () => plan.exchange.expectBody());
  }

  start(): void {
    this.#exchange.onDrain(() => this.#try?.resume());
    this.#exchange.onClosed((complete) => this.#closed(complete));
    const { timeoutMs } = this.#plan;
    if (timeoutMs !== undefined) this.#deadline = this.#deps.clock.after(timeoutMs, () => this.#timedOut());
    if (this.#plan.circuit?.enterRequest() === false) {
      this.#overflowed();
      return;
    }
    this.#entered = true;
    this.#attempt();
  }

  #attempt(): void {
    this.#waiting = undefined;
    const answer = this.#plan.nextEndpoint(this.#tried ?? nobody);
    if (answer.kind === 'refused') {
      this.#current = undefined;
      this.#refusedEndpoint = answer.endpoint;
      this.#reply(answer.status, answer.body, answer.flags, answer.details);
      return;
    }
    this.#current = answer;
    this.#tries++;
    const generation = ++this.#generation;
    const { request } = this.#exchange;
    const { headers } = this.#plan;
    const to = answer.protocol === 'h2c' ? '2' : '1.1';
    const translated = request.upgrade !== undefined && (request.version === '2') !== (to === '2');
    this.#sent = translated ? openingHeaders(headers, to) : headers;
    const upstream: UpstreamRequest = {
      method: request.method,
      path: this.#plan.path,
      authority: this.#plan.authority,
      headers: this.#sent,
      body: this.#body?.open(),
      upgrade: request.upgrade,
    };
    const perTry = this.#plan.retry.perTryTimeoutMs;
    if (perTry !== undefined) {
      this.#tryTimer = this.#deps.clock.after(perTry, () => {
        if (generation === this.#generation)
          this.#tryFailed({ kind: 'per-try-timeout' }, 'no answer within the time of one try');
      });
    }
    this.#try = sendWatched(this.#deps.pools, answer.watch, answer.endpoint, answer.protocol, upstream, this);
  }

  revoke({ status, body, details }: Parameters<RunningForward['revoke']>[0]): void {
    if (this.#over) return;
    this.#stop('it is not allowed any more');
    if (!this.#started || this.#held !== undefined) {
      this.#held = undefined;
      this.#reply(status, body, '-', details);
      return;
    }
    this.#flag('RBAC');
    this.#details = details;
    const upgraded = this.#upgraded;
    if (upgraded === undefined) this.#exchange.reset();
    else upgraded.stop(new AmbitError(details, { code: 'WAYPOINT_DENIED', origin: 'local', flag: 'DENY' }));
  }

  inform(status: number, headers: HeaderList): void {
    if (this.#started) return;
    if (++this.#informed > maxInterim) {
      this.#try?.abort('interim responses without end');
      this.failed({ kind: 'reset' }, new Error(`more than ${maxInterim} interim responses`));
      return;
    }
    this.#exchange.inform(status, stripHopByHop(headers));
  }

  head(status: number, headers: HeaderList): void {
    const result = statusResult(status, headers);
    if (this.#wantsRetry(result)) {
      if (this.#enterRetry(result)) {
        this.#again(`status ${status}`);
        return;
      }
      this.#flag('UO');
    } else if (this.#retriesDone() > 0 && isRetriedStatus(this.#plan.retry, result)) this.#flag('URX');
    this.#tryTimer?.cancel();
    const clean = this.#plan.responseHeaders(stripHopByHop(headers), status);
    this.#responseHeaders = clean;
    this.#responseStartedMs = this.#deps.clock.nowMs();
    this.#status = status;
    this.#grpcStatus = headerValue(headers, 'grpc-status');
    this.#started = true;
    if (this.#grpcStatus !== undefined) this.#held = { status, headers: clean };
    else this.#exchange.start(status, clean, false);
  }

  data(chunk: Buffer): boolean {
    this.#release(false);
    this.#responseBytes += chunk.length;
    this.#plan.responseObserver?.(chunk);
    return this.#exchange.write(chunk);
  }

  end(trailers: HeaderList): void {
    this.#try = undefined;
    this.#grpcStatus = headerValue(trailers, 'grpc-status') ?? this.#grpcStatus;
    this.#release(trailers.length === 0);
    this.#responseTrailers = stripHopByHop(trailers);
    this.#exchange.end(this.#responseTrailers);
    this.#body?.discard();
  }

  upgraded(headers: HeaderList, stream: Duplex): void {
    this.#tryTimer?.cancel();
    const from = this.#current?.protocol === 'h2c' ? '2' : '1.1';
    const { version, headers: received } = this.#exchange.request;
    const translated = (version === '2') !== (from === '2');
    const accepted = translated ? acceptedHeaders(headers, from, { sent: this.#sent, received }) : headers;
    if (accepted === undefined) {
      stream.destroy();
      this.#tryFailed({ kind: 'reset' }, 'a WebSocket was accepted without its key');
      return;
    }
    this.#deadline?.cancel();
    this.#status = 101;
    this.#started = true;
    const clean = withoutHeaders(
      this.#plan.responseHeaders(stripHopByHop(accepted), 101),
      (name) => name === 'content-length',
    );
    this.#responseHeaders = clean;
    this.#responseStartedMs = this.#deps.clock.nowMs();
    const client = this.#exchange.switchProtocols(clean);
    const counts = { toUpstream: 0, toDownstream: 0 };
    const { clock } = this.#deps;
    const ends = [new DuplexEnd(client, 'downstream', clock), new DuplexEnd(stream, 'upstream', clock)] as const;
    this.#upgraded = join(...ends, counts, () => {
      this.#upgradedBytes = counts.toUpstream;
      this.#responseBytes = counts.toDownstream;
      this.#finish();
    });
  }

  failed(result: TryResult, error: Error): void {
    if (this.#started) {
      this.#flag('UC');
      this.#details = 'upstream_reset_after_response_started';
      this.#failure = errorText(error);
      this.#exchange.reset();
      return;
    }
    this.#tryFailed(result, errorText(error));
  }

  #tryFailed(result: TryResult, failure: string): void {
    if (result.kind === 'per-try-timeout') this.#current?.watch?.observe({ kind: 'timeout' });
    if (this.#over) return;
    if (this.#body?.brokenBy instanceof BodyTooLong) {
      this.#end(failure);
      this.#reply(413, 'Payload Too Large', '-', 'request_body_size_limit');
      return;
    }
    if (result.kind === 'overflow') {
      this.#end(failure);
      this.#overflowed();
      return;
    }
    const wanted = this.#wantsRetry(result);
    if (wanted && this.#enterRetry(result)) {
      this.#again(failure);
      return;
    }
    this.#end(failure);
    if (wanted) this.#flag('UO');
    const { attempts } = this.#plan.retry;
    if (attempts > 0 && this.#retriesDone() >= attempts) this.#flag('URX');
    if (result.kind === 'per-try-timeout') {
      this.#reply(504, 'upstream request timeout', 'UT', 'upstream_per_try_timeout');
      return;
    }
    const connecting = result.kind === 'connect-failure';
    const reason = connecting ? 'connection failure' : 'connection termination';
    const body = `upstream connect error or disconnect/reset before headers. reset reason: ${reason}`;
    const details = `upstream_reset_before_response_started{${reason.replace(' ', '_')}}`;
    this.#reply(503, body, connecting ? 'UF' : 'UC', details);
  }

  /** The try is over; what comes of it is told to nobody any more. */
  #end(failure: string): void {
    this.#tryTimer?.cancel();
    this.#generation++;
    this.#try?.abort('another try follows');
    this.#try = undefined;
    this.#failure = failure;
  }

  /** Another try after a while; counted as one from now on. */
  #again(failure: string): void {
    this.#end(failure);
    const { retry } = this.#plan;
    const uid = this.#current?.endpoint.workload.uid;
    if (uid !== undefined) {
      this.#tried ??= new Set();
      this.#tried.add(uid);
    }
    const delayMs = retryDelayMs(retry, this.#retriesDone(), this.#deps.random);
    this.#waiting = this.#deps.clock.after(delayMs, () => this.#attempt());
  }

  #wantsRetry(result: TryResult): boolean {
    if (this.#started || this.#over) return false;
    if (this.#body?.resendable === false) return false;
    const { retry, headers } = this.#plan;
    const done = this.#retriesDone();
    // What even a request that may be repeated would not be tried again for: nearly every answer.
    if (!shouldRetry(retry, done, result)) return false;
    const { request } = this.#exchange;
    const repeatable = request.upgrade === undefined && mayRepeat(request.method, headers);
    return shouldRetry(retry, done, result, repeatable);
  }

  /** False: there are as many retries as may be. */
  #enterRetry(result: TryResult): boolean {
    const { circuit } = this.#plan;
    if (circuit === undefined) return true;
    this.#leaveRetry();
    this.#retrying = circuit.enterRetry(wasUnsent(result));
    return this.#retrying;
  }

  #leaveRetry(): void {
    if (this.#retrying) this.#plan.circuit?.leaveRetry();
    this.#retrying = false;
  }

  #overflowed(): void {
    const body = 'upstream connect error or disconnect/reset before headers. reset reason: overflow';
    this.#reply(503, body, 'UO', 'upstream_reset_before_response_started{overflow}', overloaded);
  }

  #retriesDone(): number {
    return Math.max(0, this.#tries - 1);
  }

  #timedOut(): void {
    this.#flag('UT');
    this.#details = 'response_timeout';
    if (this.#try !== undefined && !this.#started) this.#current?.watch?.observe({ kind: 'timeout' });
    this.#stop('the request took too long');
    if (this.#started) this.#exchange.reset();
    else this.#reply(504, 'upstream request timeout', 'UT', 'response_timeout');
  }

  #release(last: boolean): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    this.#exchange.start(held.status, held.headers, last);
  }

  #reply(status: number, body: string, flags: string, details: string, headers: HeaderList = noHeaders): void {
    this.#flag(flags);
    this.#details = details;
    this.#started = true;
    this.#status = status;
    this.#responseBytes = body.length;
    const own = this.#plan.replyHeaders?.(status) ?? noHeaders;
    this.#responseHeaders = headers.length === 0 ? own : [...own, ...headers];
    this.#grpcStatus = localReply(this.#exchange, status, body, this.#responseHeaders);
    if (isGrpc(this.#exchange.request.headers)) this.#status = 200;
    this.#body?.discard();
  }

  #flag(flag: string): void {
    if (flag !== '-' && !this.#flags.includes(flag)) this.#flags.push(flag);
  }

  #stop(reason: string): void {
    this.#waiting?.cancel();
    this.#tryTimer?.cancel();
    this.#try?.abort(reason);
    this.#try = undefined;
  }

  #closed(complete: boolean): void {
    if (this.#status === 101) return;
    if (!complete && this.#flags.length === 0) {
      this.#flag('DC');
      this.#details = 'downstream_remote_disconnect';
    }
    this.#finish();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#deadline?.cancel();
    this.#leaveRetry();
    if (this.#entered) this.#plan.circuit?.leaveRequest();
    this.#entered = false;
    this.#stop('the client has left');
    this.#body?.discard();
    const current = this.#current;
    this.#done({
      status: this.#status,
      flags: this.#flags.length === 0 ? '-' : this.#flags.join(','),
      details: this.#details,
      endpoint: current?.endpoint ?? this.#refusedEndpoint,
      link: current === undefined ? undefined : this.#deps.pools.lastLink(current.endpoint, current.protocol),
      tries: this.#tries,
      requestBytes: (this.#body?.receivedBytes ?? 0) + this.#upgradedBytes,
      responseBytes: this.#responseBytes,
      grpcStatus: this.#grpcStatus,
      failure: this.#failure,
      responseHeaders: this.#responseHeaders,
      responseTrailers: this.#responseTrailers,
      responseStartedMs: this.#responseStartedMs,
      upstreamProtocol: current?.protocol,
    });
  }
}

const nobody: ReadonlySet<string> = new Set();

/** Envoy's: the destination has as much under way as it may. */
const overloaded: HeaderList = ['x-envoy-overloaded', 'true'];

function isRetriedStatus(policy: RetryPolicy, result: TryResult): boolean {
  return shouldRetry(policy, 0, result);
}
