/**
 * Who is told what becomes of a try to an endpoint: balancers count what is under way, outlier detection the errors. It
 * stands between the pools and who sends, so that neither has to think of it.
 *
 * I1: `end` comes exactly once after `begin`, however the try ends.
 */
import type { Duplex } from 'node:stream';
import { type HeaderList, headerValue } from '../http/header-list.ts';
import { isGrpc } from '../http/local-reply.ts';
import { httpStatusOfGrpc } from '../route/fault.ts';
import type { OutlierEvent } from './balance/outlier.ts';
import type { UpstreamEndpoint, UpstreamProtocol } from './endpoint.ts';
import type { RunningTry, TryHandler, UpstreamPools, UpstreamRequest } from './pools.ts';

export interface TryWatch {
  begin(): void;
  observe(event: OutlierEvent): void;
  end(): void;
  /** Whether answers are looked at. */
  readonly observing: boolean;
}

/** As `pools.send`. Only the caller knows that a try took too long: it tells the watch itself. */
export function sendWatched(
  pools: UpstreamPools,
  watch: TryWatch | undefined,
  endpoint: UpstreamEndpoint,
  protocol: UpstreamProtocol,
  request: UpstreamRequest,
  handler: TryHandler,
): RunningTry {
  if (watch === undefined) return pools.send(endpoint, protocol, request, handler);
  const watched = new WatchedTry(handler, watch);
  const running = pools.send(endpoint, protocol, request, watched);
  return {
    abort(reason) {
      watched.over();
      running.abort(reason);
    },
    resume: () => running.resume(),
  };
}

class WatchedTry implements TryHandler {
  readonly #handler: TryHandler;
  readonly #watch: TryWatch;
  /** Of a gRPC answer whose status comes in its trailers. */
  #status: number | undefined;
  #over = false;

  constructor(handler: TryHandler, watch: TryWatch) {
    this.#handler = handler;
    this.#watch = watch;
    watch.begin();
  }

  over(): void {
    if (this.#over) return;
    this.#over = true;
    this.#watch.end();
  }

  inform(status: number, headers: HeaderList): void {
    this.#handler.inform(status, headers);
  }

  head(status: number, headers: HeaderList): void {
    if (this.#watch.observing) this.#observeHead(status, headers);
    this.#handler.head(status, headers);
  }

  data(chunk: Buffer): boolean {
    return this.#handler.data(chunk);
  }

  end(trailers: HeaderList): void {
    if (this.#status !== undefined) {
      const status = grpcStatus(trailers);
      this.#watch.observe({ kind: 'status', status: status ?? this.#status });
    }
    this.over();
    this.#handler.end(trailers);
  }

  upgraded(headers: HeaderList, stream: Duplex): void {
    this.#watch.observe({ kind: 'status', status: 101 });
    stream.once('close', () => this.over());
    this.#handler.upgraded(headers, stream);
  }

  failed(result: Parameters<TryHandler['failed']>[0], error: Error): void {
    // A stream that the peer never looked at says that it drains, one that had been idle and was closed
    // nothing, and a limit of ours nothing at all of it.
    const { kind } = result;
    const harmless = kind === 'refused-stream' || kind === 'overflow' || (kind === 'reset' && result.stale === true);
    if (!harmless) this.#watch.observe({ kind });
    this.over();
    this.#handler.failed(result, error);
  }

  #observeHead(status: number, headers: HeaderList): void {
    if (status === 200 && isGrpc(headers)) {
      const told = grpcStatus(headers);
      if (told === undefined) this.#status = status;
      else this.#watch.observe({ kind: 'status', status: told });
      return;
    }
    this.#watch.observe({ kind: 'status', status });
  }
}

/** The HTTP status that stands for it. */
function grpcStatus(headers: HeaderList): number | undefined {
  const text = headerValue(headers, 'grpc-status');
  return text === undefined || !/^\d{1,2}$/.test(text) ? undefined : httpStatusOfGrpc(Number(text));
}
