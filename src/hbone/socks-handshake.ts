/**
 * The first words of a SOCKS5 client on an accepted socket, up to its request; and what it is told in the end.
 *
 * I1: the client is answered success only once the upstream stands, and otherwise with the reason there is for.
 * I2: bounded in bytes and time; bytes sent early are kept for the upstream, in order.
 */
import type { Socket } from 'node:net';
import type { SocketAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { type AmbitError, errorCode } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { resetSocket } from '../net/reset-socket.ts';
import {
  methodAccepted,
  noMethodAccepted,
  readSocksGreeting,
  readSocksRequest,
  type SocksReply,
  socksReplies,
  writeSocksReply,
} from '../net/socks5.ts';

const handshakeTimeoutMs = 5000;
/** For the client to take our last word. */
const lastWordMs = 1000;

export interface SocksRequested {
  /** The address is that of no host while there is a name. */
  readonly destination: SocketAddress;
  readonly hostname: string | undefined;
}

/** What a client that asked is told. One of the two, once. */
export interface SocksAnswer {
  /** Bytes may flow. False: it has gone. */
  accept(): boolean;
  reject(reply: SocksReply): void;
}

/** Calls back with the request, or ends the socket. The socket has an 'error' listener already. */
export function greetSocks(
  socket: Socket,
  clock: Clock,
  logger: Logger,
  onRequest: (requested: SocksRequested, answer: SocksAnswer) => void,
): void {
  let received = Buffer.alloc(0);
  let greeted = false;
  const timer = clock.after(handshakeTimeoutMs, () => resetSocket(socket));
  const stop = () => {
    timer.cancel();
    socket.off('data', onData);
    socket.off('close', stop);
    socket.off('end', onEnd);
    socket.pause();
  };
  const giveUp = (reason: string, lastWord: Uint8Array | undefined) => {
    stop();
    logger.debug('no SOCKS request', { reason });
    if (lastWord === undefined) resetSocket(socket);
    else endWith(socket, lastWord, clock);
  };
  const onEnd = () => giveUp('the client has finished', undefined);
  const onData = (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    if (!greeted) {
      const greeting = readSocksGreeting(received);
      if (greeting.kind === 'more') return;
      if (greeting.kind === 'unacceptable') return giveUp('it wants authentication', noMethodAccepted);
      if (greeting.kind === 'invalid') return giveUp(greeting.reason, undefined);
      greeted = true;
      received = received.subarray(greeting.bytes);
      socket.write(methodAccepted);
    }
    const request = readSocksRequest(received);
    if (request.kind === 'more') return;
    if (request.kind === 'invalid') return giveUp(request.reason, undefined);
    if (request.kind === 'refused') return giveUp(request.reason, writeSocksReply(request.reply));
    stop();
    const early = received.subarray(request.bytes);
    if (early.length > 0) socket.unshift(early);
    const { host, port } = request;
    const hostname = 'ip' in host ? undefined : host.hostname;
    const destination = { ip: 'ip' in host ? host.ip : '0.0.0.0', port };
    onRequest({ destination, hostname }, answerOf(socket, clock));
  };
  socket.on('close', stop);
  socket.on('end', onEnd);
  socket.on('data', onData);
}

/** The nearest word RFC 1928 has for why there is no connection. */
export function socksReplyFor(status: number, error: AmbitError | undefined): SocksReply {
  if (status === 401 || status === 403) return socksReplies.notAllowed;
  switch (error?.code) {
    case 'NET_CONNECT_REFUSED':
      return socksReplies.connectionRefused;
    case 'NET_CONNECT_TIMEOUT':
    case 'HBONE_CONNECT_TIMEOUT':
      return socksReplies.hostUnreachable;
    case 'NET_CONNECT_FAILED':
      return errorCode(error.cause) === 'ENETUNREACH' ? socksReplies.networkUnreachable : socksReplies.hostUnreachable;
    default:
      return socksReplies.failed;
  }
}

function answerOf(socket: Socket, clock: Clock): SocksAnswer {
  return {
    accept() {
      if (socket.destroyed) return false;
      socket.write(writeSocksReply(socksReplies.succeeded));
      socket.resume();
      return true;
    },
    reject: (reply) => endWith(socket, writeSocksReply(reply), clock),
  };
}

/** A reset would overtake what was written. */
function endWith(socket: Socket, lastWord: Uint8Array, clock: Clock): void {
  if (socket.destroyed) return;
  const timer = clock.after(lastWordMs, () => resetSocket(socket));
  socket.once('close', () => timer.cancel());
  socket.on('end', () => socket.destroy());
  socket.end(lastWord);
  // What it still sends is not for us; its FIN is.
  socket.resume();
}
