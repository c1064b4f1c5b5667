/**
 * One CONNECT as a server: checks the request, asks for the verdict, carries it out.
 *
 * I1: whatever the verdict's author does wrong ends this stream alone, with 500 or a reset.
 * I2: a verdict that comes after the client has left is carried out for nobody: no upstream is dialled.
 */
import type { IncomingHttpHeaders, ServerHttp2Stream, ServerStreamResponseOptions } from 'node:http2';
import type { SocketAddress } from '../base/address.ts';
import { Cancellation } from '../base/cancellation.ts';
import { AmbitError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { Openers } from './capture.ts';
import { firstValue } from './connect-client.ts';
import { type Downstream, RunningJoin } from './running-join.ts';
import type { ConnectRequest, ConnectVerdict, JoinObserver, ServeOptions, TunnelHeaders } from './seam.ts';
import { TunnelEnd } from './tunnel-end.ts';
import { TunnelStream } from './tunnel-stream.ts';

/** What all streams of one session share. */
export interface ServerSessionFacts {
  readonly peerIdentity: SpiffeId;
  readonly localIdentity: SpiffeId;
  readonly peer: SocketAddress;
  readonly local: SocketAddress;
}

/** Call it in the tick of the session's 'stream' event. Total. */
export function serveStream(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  raw: readonly string[],
  facts: ServerSessionFacts,
  options: Pick<ServeOptions, 'onConnect'>,
  openers: Openers,
  logger: Logger,
): void {
  const end = new TunnelEnd(stream, 'downstream');
  const authority = headers[':authority'];
  if (headers[':method'] !== 'CONNECT' || authority === undefined || authority === '') {
    respond(stream, 400, [], true);
    return;
  }
  const gone = new Cancellation();
  stream.once('close', () => gone.cancel());
  const request: ConnectRequest = {
    ...facts,
    authority,
    header: (name) => firstValue(raw, name),
    gone,
  };
  void decide(request, options.onConnect, logger).then((verdict) => {
    try {
      carryOut(verdict, stream, end, gone, openers, logger);
    } catch (error) {
      logger.error('a CONNECT verdict failed', { authority, error: errorText(error) });
      end.cancel();
    }
  });
}

async function decide(
  request: ConnectRequest,
  onConnect: ServeOptions['onConnect'],
  logger: Logger,
): Promise<ConnectVerdict> {
  try {
    return await onConnect(request);
  } catch (error) {
    logger.error('the CONNECT handler threw', { authority: request.authority, error: errorText(error) });
    return { kind: 'refuse', status: 500, headers: [] };
  }
}

function carryOut(
  verdict: ConnectVerdict,
  stream: ServerHttp2Stream,
  end: TunnelEnd,
  gone: Cancellation,
  openers: Openers,
  logger: Logger,
): void {
  switch (verdict.kind) {
    case 'refuse':
      respond(stream, verdict.status, verdict.headers, true);
      return;
    case 'bytes': {
      if (!respond(stream, 200, verdict.headers, false)) {
        end.cancel();
        return;
      }
      const bytes = new TunnelStream(end);
      try {
        verdict.receive(bytes);
      } catch (error) {
        bytes.destroy();
        throw error;
      }
      return;
    }
    case 'dial':
      runJoin(verdict, stream, end, gone, logger).run((cancellation) =>
        openers.dial(verdict.destination, verdict.socket, verdict.preface, cancellation),
      );
      return;
    case 'tunnel':
      runJoin(verdict, stream, end, gone, logger).run((cancellation) => openers.tunnel(verdict.request, cancellation));
      return;
  }
}

function runJoin(
  verdict: {
    readonly headers: TunnelHeaders;
    readonly observer: JoinObserver;
    readonly joined?: (join: RunningJoin) => void;
  },
  stream: ServerHttp2Stream,
  end: TunnelEnd,
  gone: Cancellation,
  logger: Logger,
): RunningJoin {
  const downstream: Downstream = {
    end,
    gone,
    accept: () => respond(stream, 200, verdict.headers, false),
    reject: (status) => respond(stream, status >= 400 && status <= 599 ? status : 503, [], true),
  };
  const running = new RunningJoin(downstream, verdict.observer, logger);
  try {
    verdict.joined?.(running);
  } catch (error) {
    running.stop(new AmbitError('the registry failed', { code: 'HBONE_HANDLER', origin: 'local', cause: error }));
  }
  return running;
}

/** False: the stream has gone. A final answer ends our direction; Node then stops the client's. */
function respond(stream: ServerHttp2Stream, status: number, headers: TunnelHeaders, final: boolean): boolean {
  if (stream.closed || stream.destroyed || stream.headersSent) return false;
  const list = [':status', String(status), ...headers.flat()];
  // Node's types leave `sendDate` out.
  const options: ServerStreamResponseOptions & { sendDate: false } = { sendDate: false };
  stream.respond(list, final ? { ...options, endStream: true } : { ...options, waitForTrailers: true });
  return true;
}
