/**
 * One query to one upstream server, over UDP or TCP. Never rejects.
 *
 * I1: only a message from that server, to the port the query left from, with its id and its question is an answer. Every
 *     query has a socket, and so a random port, of its own; what does not fit is not listened to.
 * I2: a socket lives no longer than its query, and a query no longer than its deadline.
 */
import type { Socket } from 'node:dgram';
import { canonicalIp, formatSocketAddress, type SocketAddress } from '../base/address.ts';
import type { Cancellation } from '../base/cancellation.ts';
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import { closeDatagrams, connectDatagrams, type DatagramProfile } from '../net/datagrams.ts';
import { dial } from '../net/socket-factory.ts';
import { answers } from './answer.ts';
import { framed, MessageFrames } from './frames.ts';

/** Sent again after so long: a datagram may be lost. */
const repeatAfterMs = [1000, 3000];
/** So many wrong answers are no accident: somebody guesses ids. */
const mostWrongAnswers = 8;

export interface ExchangeContext {
  readonly sockets: DatagramProfile;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly cancellation: Cancellation;
}

export type Exchange =
  | { readonly kind: 'answered'; readonly answer: Uint8Array }
  /** `suspicious`: wrong answers came; ask in a way that cannot be guessed at. */
  | { readonly kind: 'failed'; readonly reason: string; readonly suspicious: boolean };

export function exchangeUdp(query: Uint8Array, server: SocketAddress, context: ExchangeContext): Promise<Exchange> {
  const { clock, sockets, timeoutMs, cancellation } = context;
  return new Promise((resolve) => {
    let socket: Socket | undefined;
    let over = false;
    let wrong = 0;
    const settle = (exchange: Exchange) => {
      if (over) return;
      over = true;
      for (const timer of timers) timer.cancel();
      cancellation.off(onCancel);
      if (socket !== undefined) closeDatagrams(socket);
      resolve(exchange);
    };
    const fail = (reason: string, suspicious = false) =>
      settle({ kind: 'failed', reason: `${formatSocketAddress(server)}: ${reason}`, suspicious });
    const onCancel = () => fail('given up');
    const send = () => socket?.send(query, (error) => error && fail(errorText(error)));
    const timers = [
      ...repeatAfterMs.map((afterMs) => clock.after(afterMs, send)),
      clock.after(timeoutMs, () => fail(`no answer in ${timeoutMs} ms`)),
    ];
    if (cancellation.cancelled) onCancel();
    else cancellation.on(onCancel);
    connectDatagrams(server, sockets).then(
      (connected) => {
        socket = connected;
        if (over) {
          closeDatagrams(connected);
          return;
        }
        // The port is closed, or there is no way there: the kernel has heard.
        connected.on('error', (error) => fail(errorText(error)));
        connected.on('message', (message, from) => {
          const isFromServer = from.port === server.port && canonicalIp(from.address) === server.ip;
          if (isFromServer && answers(query, message)) settle({ kind: 'answered', answer: message });
          else if (++wrong === mostWrongAnswers) fail(`${wrong} wrong answers`, true);
        });
        send();
      },
      (error: unknown) => fail(errorText(error)),
    );
  });
}

export async function exchangeTcp(
  query: Uint8Array,
  server: SocketAddress,
  context: ExchangeContext,
): Promise<Exchange> {
  const { clock, sockets, timeoutMs, cancellation } = context;
  const startedMs = clock.nowMs();
  const where = formatSocketAddress(server);
  const failed = (reason: string): Exchange => ({ kind: 'failed', reason: `${where}: ${reason}`, suspicious: false });
  const profile = { ...sockets, source: undefined, transparent: false, connectTimeoutMs: timeoutMs };
  const dialled = await dial(server, profile, clock, cancellation);
  if (dialled.kind === 'failed') return failed(errorText(dialled.error));
  const { socket } = dialled;
  return await new Promise((resolve) => {
    const frames = new MessageFrames();
    const settle = (exchange: Exchange) => {
      timer.cancel();
      cancellation.off(onCancel);
      socket.destroy();
      resolve(exchange);
    };
    const onCancel = () => settle(failed('given up'));
    const leftMs = Math.max(0, timeoutMs - (clock.nowMs() - startedMs));
    const timer = clock.after(leftMs, () => settle(failed(`no answer in ${timeoutMs} ms`)));
    if (cancellation.cancelled) {
      onCancel();
      return;
    }
    cancellation.on(onCancel);
    socket.on('error', (error) => settle(failed(errorText(error))));
    socket.on('end', () => settle(failed('it closed the connection')));
    const take = (answer: Uint8Array) =>
      settle(answers(query, answer) ? { kind: 'answered', answer } : failed('it answered something else'));
    socket.on('data', (chunk: Buffer) => void frames.push(chunk, take));
    socket.write(framed(query));
  });
}
