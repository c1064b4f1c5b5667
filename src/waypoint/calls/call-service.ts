/**
 * Calls that a waypoint makes itself, to services of the mesh: whom to ask about a request. Endpoints are chosen, reached
 * and authenticated as for any request; through their tunnels where they have one.
 *
 * I1: a call ends within its deadline, with a value. I2: an answer is bounded; a longer one is a failure. I3: another
 * endpoint is tried only where nothing was sent.
 */
import { Readable } from 'node:stream';
import type { Cancellation } from '../../base/cancellation.ts';
import { errorText } from '../../base/errors.ts';
import { type HeaderList, noHeaders } from '../../http/header-list.ts';
import type { Service } from '../../mesh/model.ts';
import { serviceByHostname } from '../../mesh/named-service.ts';
import type { ServiceTarget } from '../../route/mesh-config.ts';
import type { UpstreamProtocol } from '../../upstream/endpoint.ts';
import type { RunningTry, TryHandler } from '../../upstream/pools.ts';
import { sendWatched, type TryWatch } from '../../upstream/try-watch.ts';
import type { Tunnel, WaypointServices } from '../context.ts';
import { chooseEndpoint, destinationPolicy, upstreamProtocol } from '../endpoints.ts';
import { profiled } from '../profiled-endpoint.ts';

const maxTries = 3;

export interface ServiceCall {
  readonly target: ServiceTarget;
  /** Undefined: as the port of the service says, HTTP/1.1 where it says nothing. */
  readonly protocol: UpstreamProtocol | undefined;
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly authority: string;
  /** Without Host; with `content-length` where there is a body. */
  readonly headers: HeaderList;
  readonly body: Buffer | undefined;
  /** For everything, connecting as well. */
  readonly timeoutMs: number;
  readonly maxAnswerBytes: number;
}

export type CallOutcome =
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers: HeaderList;
      readonly body: Buffer;
      readonly trailers: HeaderList;
    }
  | { readonly kind: 'failed'; readonly reason: string };

/** On whose behalf: endpoints may be chosen by it. `gone` ends the call. */
export interface Caller {
  readonly services: WaypointServices;
  readonly tunnel: Tunnel;
  readonly gone: Cancellation | undefined;
}

/** Never rejects. */
export function callService(caller: Caller, call: ServiceCall): Promise<CallOutcome> {
  if (caller.gone?.cancelled === true) return Promise.resolve({ kind: 'failed', reason: 'the client has left' });
  const service = targetService(caller.services, call.target);
  if (service === undefined) {
    return Promise.resolve({ kind: 'failed', reason: `no service is called ${call.target.hostname}` });
  }
  return new Promise((resolve) => new RunningCall(caller, call, service, resolve).start());
}

/** The service that is meant, of those known now. */
export function targetService({ mesh, own }: WaypointServices, target: ServiceTarget): Service | undefined {
  const { hostname, namespace } = target;
  if (namespace !== undefined) return mesh.service(`${namespace}/${hostname}`);
  return serviceByHostname(mesh, hostname, own()?.namespace ?? '');
}

class RunningCall implements TryHandler {
  readonly #caller: Caller;
  readonly #call: ServiceCall;
  readonly #service: Service;
  readonly #done: (outcome: CallOutcome) => void;
  readonly #tried = new Set<string>();
  readonly #chunks: Buffer[] = [];
  readonly #cancel = () => this.#finish({ kind: 'failed', reason: 'the client has left' });
  #deadline: { cancel(): void } | undefined;
  #try: RunningTry | undefined;
  #watch: TryWatch | undefined;
  #bytes = 0;
  #head: { readonly status: number; readonly headers: HeaderList } | undefined;
  #over = false;

  constructor(caller: Caller, call: ServiceCall, service: Service, done: (outcome: CallOutcome) => void) {
    this.#caller = caller;
    this.#call = call;
    this.#service = service;
    this.#done = done;
  }

  start(): void {
    const { timeoutMs } = this.#call;
    this.#deadline = this.#caller.services.clock.after(timeoutMs, () => {
      this.#watch?.observe({ kind: 'timeout' });
      this.#finish({ kind: 'failed', reason: `no answer within ${timeoutMs} ms` });
    });
    this.#caller.gone?.on(this.#cancel);
    this.#send();
  }

  #send(): void {
    const { services, tunnel } = this.#caller;
    const { target, method, path, authority, headers, body } = this.#call;
    const model = services.model();
    const [service, port] = [this.#service, target.port];
    if (destinationPolicy(services, { model, service, port, subset: undefined })?.tls?.mode === 'invalid') {
      this.#finish({ kind: 'failed', reason: 'the TLS settings of its DestinationRule are invalid' });
      return;
    }
    const choice = chooseEndpoint(services, tunnel, service, port, this.#tried, { model });
    if (choice.kind !== 'endpoint') {
      this.#finish({ kind: 'failed', reason: `no endpoint: ${choice.kind === 'none' ? choice.reason : choice.kind}` });
      return;
    }
    this.#tried.add(choice.endpoint.workload.uid);
    const upstream = services.upstreams.of(model, services.own()?.namespace ?? '', service, port, undefined);
    const endpoint = profiled(choice.endpoint, upstream?.profile, tunnel);
    const protocol = this.#call.protocol ?? upstreamProtocol(service, port, '1.1', upstream?.pool);
    this.#watch = choice.watch;
    const stream = body === undefined ? undefined : Readable.from([body], { objectMode: false });
    const request = { method, path, authority, headers, body: stream, upgrade: undefined };
    const running = sendWatched(services.pools, choice.watch, endpoint, protocol, request, this);
    if (this.#over) running.abort('the call is over');
    else this.#try = running;
  }

  inform(): void {}

  head(status: number, headers: HeaderList): void {
    this.#head = { status, headers };
  }

  data(chunk: Buffer): boolean {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#call.maxAnswerBytes) {
      this.#finish({ kind: 'failed', reason: `the answer is longer than ${this.#call.maxAnswerBytes} bytes` });
    } else this.#chunks.push(chunk);
    return true;
  }

  end(trailers: HeaderList): void {
    const { status, headers } = this.#head ?? { status: 0, headers: noHeaders };
    this.#finish({ kind: 'answer', status, headers, body: Buffer.concat(this.#chunks), trailers });
  }

  upgraded(_headers: HeaderList, stream: { destroy(): unknown }): void {
    stream.destroy();
    this.#finish({ kind: 'failed', reason: 'the answer is an upgrade that nobody asked for' });
  }

  failed(result: { readonly kind: string }, error: Error): void {
    if (this.#over) return;
    const unsent = result.kind === 'connect-failure' || result.kind === 'refused-stream';
    if (unsent && this.#tried.size < maxTries) this.#send();
    else this.#finish({ kind: 'failed', reason: errorText(error) });
  }

  #finish(outcome: CallOutcome): void {
    if (this.#over) return;
    this.#over = true;
    this.#deadline?.cancel();
    this.#caller.gone?.off(this.#cancel);
    if (outcome.kind === 'failed') this.#try?.abort(outcome.reason);
    this.#done(outcome);
  }
}
