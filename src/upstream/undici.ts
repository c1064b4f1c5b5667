/** What is used of undici, without the rest: its index also loads fetch, WebSocket, caches and mocks: 88 modules more. */
import type undici from 'undici';
import errorClasses from 'undici/lib/core/errors.js';
import ClientClass from 'undici/lib/dispatcher/client.js';
import PoolClass from 'undici/lib/dispatcher/pool.js';

export const Client = ClientClass as typeof undici.Client;
export const Pool = PoolClass as typeof undici.Pool;
export const errors = errorClasses as typeof undici.errors;
