/** One POST to a collector: the status, or why there was none. Never rejects; what the collector says is not kept. */
import type { Agent } from 'node:http';
import { errorText } from '../../base/errors.ts';
import { HttpAgent, HttpsAgent, requestHttp, requestHttps } from '../../base/node-http.ts';

export interface PostTarget {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

export type PostOutcome =
  | { readonly kind: 'answered'; readonly status: number }
  | { readonly kind: 'failed'; readonly reason: string };

export class Poster {
  readonly #target: PostTarget;
  readonly #agent: Agent;

  constructor(target: PostTarget) {
    this.#target = target;
    const one = { keepAlive: true, maxSockets: 1 };
    this.#agent = target.url.protocol === 'https:' ? new HttpsAgent(one) : new HttpAgent(one);
  }

  post(body: string): Promise<PostOutcome> {
    const { url, headers, timeoutMs } = this.#target;
    return new Promise((resolve) => {
      const send = url.protocol === 'https:' ? requestHttps : requestHttp;
      const fail = (error: unknown) => resolve({ kind: 'failed', reason: errorText(error) });
      try {
        const sent = send(url, {
          method: 'POST',
          agent: this.#agent,
          signal: AbortSignal.timeout(timeoutMs),
          headers: { ...headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
        });
        sent.on('error', fail);
        sent.on('response', (response) => {
          response.on('error', fail);
          response.on('end', () => resolve({ kind: 'answered', status: response.statusCode ?? 0 }));
          response.resume();
        });
        sent.end(body);
      } catch (error) {
        fail(error);
      }
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
