/**
 * A reply of our own does not wait for the rest of a request that nobody reads. HTTP/1.1 ends the connection behind it; on
 * HTTP/2 the stream would stay, and with it a place among the requests under way, as long as the client likes.
 */
import type { Clock } from '../base/clock.ts';
import type { Exchange } from '../http/exchange.ts';

/** For the client to take the reply, and to end by itself. */
const lingerMs = 5_000;

/** Right after the reply. */
export function letGo(exchange: Exchange, clock: Clock): void {
  const { body, version } = exchange.request;
  if (body === undefined || version !== '2') return;
  const timer = clock.after(lingerMs, () => exchange.reset());
  exchange.onClosed(() => timer.cancel());
}
