/** `x-request-id` of requests that come without one: a random UUID, as everywhere in the field. */
import { randomUUID } from 'node:crypto';

export function newRequestId(): string {
  return randomUUID();
}
