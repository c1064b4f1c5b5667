/** What is used of undici, without the rest: its index also loads fetch, WebSocket, caches and mocks: 88 modules more. */
import type undici from 'undici';
import errorClasses from 'undici/lib/core/errors.js';
import RequestClass from 'undici/lib/core/request.js';
import ClientClass from 'undici/lib/dispatcher/client.js';
import PoolClass from 'undici/lib/dispatcher/pool.js';

export const Client = ClientClass as typeof undici.Client;
export const Pool = PoolClass as typeof undici.Pool;
export const errors = errorClasses as typeof undici.errors;

/** What undici makes of a request, as far as it is called here. */
interface RequestParts {
  onResponseStart: (this: object, status: number, headers: unknown, resume: () => void, statusText: string) => boolean;
}
export const Request = RequestClass as { readonly prototype: RequestParts };
