/**
 * A small request of the waypoint's own to a service of the mesh, over the same pools and tunnels as requests of clients:
 * the other end proves its identity, and gets ours. The answer is read as a whole.
 *
 * I1: it is over within `timeoutMs`, with at most `maxBytes` of a body held, whatever the other end does. I2: never rejects.
 */
import { Readable } from 'node:stream';
import type { Cancellation } from '../base/cancellation.ts';
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { HeaderList } from '../http/header-list.ts';
import type { UpstreamEndpoint, UpstreamProtocol } from './endpoint.ts';
import type { RunningTry, UpstreamPools } from './pools.ts';

export interface OwnCall {
  /** The endpoint of each try; undefined: there is none (any more). `tried`: uids of the workloads that failed. */
  readonly nextEndpoint: (tried: ReadonlySet<string>) => UpstreamEndpoint | undefined;
  readonly protocol: UpstreamProtocol;
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly authority: string;
  readonly headers: HeaderList;
  readonly body: Buffer;
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

/** An endpoint that could not be connected to is passed over, so often at most. */
const mostTries = 3;

/** `gone`: nobody waits for the answer any more. */
export function callOwn(
  call: OwnCall,
  { pools, clock }: { readonly pools: UpstreamPools; readonly clock: Clock },
  gone?: Cancellation,
): Promise<OwnCallOutcome> {
  return new Promise((resolve) => {
    const tried = new Set<string>();
    let running: RunningTry | undefined;
    const settle = (outcome: OwnCallOutcome) => {
      timer.cancel();
      gone?.off(leave);
      const last = running;
      running = undefined;
      last?.abort('the call is over');
      resolve(outcome);
    };
    const fail = (reason: string) => settle({ kind: 'failed', reason });
    const leave = () => fail('nobody waits any more');
    const attempt = () => {
      const endpoint = call.nextEndpoint(tried);
      if (endpoint === undefined) {
        fail('no healthy endpoint');
        return;
      }
      let status = 0;
      let headers: HeaderList = [];
      const chunks: Buffer[] = [];
      let bytes = 0;
      let over = false;
      const { method, path, authority } = call;
      const body = call.body.length === 0 ? undefined : Readable.from([call.body]);
      const request = { method, path, authority, headers: call.headers, body, upgrade: undefined };
      running = pools.send(endpoint, call.protocol, request, {
        inform: () => {},
        head(code, list) {
          status = code;
          headers = list;
        },
        data(chunk) {
          if (over) return true;
          bytes += chunk.length;
          if (bytes <= call.maxBytes) chunks.push(chunk);
          else {
            over = true;
            fail(`an answer of more than ${call.maxBytes} bytes`);
          }
          return true;
        },
        end(trailers) {
          running = undefined;
          settle({ kind: 'answer', status, headers, trailers, body: Buffer.concat(chunks) });
        },
        upgraded(_headers, stream) {
          running = undefined;
          stream.destroy();
          fail('an upgrade that nobody asked for');
        },
        failed(result, error) {
          running = undefined;
          tried.add(endpoint.workload.uid);
          if (result.kind === 'connect-failure' && tried.size < mostTries) attempt();
          else fail(errorText(error));
        },
      });
    };
    const timer = clock.after(call.timeoutMs, () => fail(`no answer within ${call.timeoutMs} ms`));
    gone?.on(leave);
    attempt();
  });
}
