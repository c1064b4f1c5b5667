/** Calls from one sample program to another, with the headers that a mesh's tracing and routing need passed on. */
import { request } from 'node:http';
import { json as parseJson } from 'node:stream/consumers';
import type { AppRequest } from './server.ts';

const timeoutMs = 10_000;

/** Bookinfo's list: request and trace ids, the end user, and the caller's credentials. */
const forwarded = [
  'x-request-id',
  'x-ot-span-context',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-flags',
  'b3',
  'traceparent',
  'tracestate',
  'end-user',
  'user-agent',
  'cookie',
  'authorization',
];

export type UpstreamAnswer =
  | { readonly kind: 'answer'; readonly status: number; readonly pod: string; readonly value: unknown }
  | { readonly kind: 'failed'; readonly reason: string };

/** GET with a fresh connection. Never rejects: a program shows what it could not fetch. */
export function fetchJson(host: string, path: string, cause: AppRequest): Promise<UpstreamAnswer> {
  return new Promise((resolve) => {
    const failed = (error: Error) => resolve({ kind: 'failed', reason: error.message });
    const headers: Record<string, string> = { host: host, connection: 'close' };
    for (const name of forwarded) {
      const value = cause.headers[name];
      if (typeof value === 'string') headers[name] = value;
    }
    const sent = request(`http://${host}${path}`, { headers, agent: false, timeout: timeoutMs });
    sent.on('timeout', () => sent.destroy(new Error(`no answer from ${host} within ${timeoutMs} ms`)));
    sent.on('error', failed);
    sent.on('response', (response) => {
      const status = response.statusCode ?? 0;
      const pod = String(response.headers['x-app-pod'] ?? '');
      parseJson(response).then((value) => resolve({ kind: 'answer', status, pod, value }), failed);
    });
    sent.end();
  });
}
