/**
 * One CONNECT as a server: checks the request, asks for the verdict, carries it out.
 *
 * I1: whatever the verdict's author does wrong ends this stream alone, with 500 or a reset.
 * I2: a verdict that comes after the client has left is carried out for nobody: no upstream is dialled.
 */
import type { SocketAddress } from '../base/address.ts';
import { Cancellation } from '../base/cancellation.ts';
import { AmbitError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { Openers } from './capture.ts';
import type { ServedStream } from './http2/engine.ts';
import { type Downstream, RunningJoin } from './running-join.ts';
import type { ConnectRequest, ConnectVerdict, JoinObserver, ServeOptions, TunnelHeaders } from './seam.ts';
import { TunnelStream } from './tunnel-stream.ts';

/** What all streams of one session share. */
export interface ServerSessionFacts {
  readonly peerIdentity: SpiffeId;
  readonly localIdentity: SpiffeId;
  readonly peer: SocketAddress;
  readonly local: SocketAddress;
}

/** Call it in the tick in which the stream came. Total. `over` is called once, when the stream is. */
export function serveStream(
  stream: ServedStream,
  over: () => void,
  facts: ServerSessionFacts,
  options: Pick<ServeOptions, 'onConnect'>,
  openers: Openers,
  logger: Logger,
): void {
  const { end, headers } = stream;
  const gone = new Cancellation();
  stream.onOver(() => {
    over();
    gone.cancel();
  });
  const authority = firstValue(headers, ':authority');
  if (firstValue(headers, ':method') !== 'CONNECT' || authority === undefined || authority === '') {
    stream.respond(400, [], true);
    return;
  }
  const request: ConnectRequest = {
    ...facts,
    authority,
    header: (name) => firstValue(headers, name),
    gone,
  };
  void decide(request, options.onConnect, logger).then((verdict) => {
    try {
      carryOut(verdict, stream, gone, openers, logger);
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
  stream: ServedStream,
  gone: Cancellation,
  openers: Openers,
  logger: Logger,
): void {
  switch (verdict.kind) {
    case 'refuse':
      stream.respond(verdict.status, verdict.headers, true);
      return;
    case 'bytes': {
      if (!stream.respond(200, verdict.headers, false)) {
        stream.end.cancel();
        return;
      }
      const bytes = new TunnelStream(stream.end);
      try {
        verdict.receive(bytes);
      } catch (error) {
        bytes.destroy();
        throw error;
      }
      return;
    }
    case 'dial':
      runJoin(verdict, stream, gone, logger).run((cancellation) =>
        openers.dial(verdict.destination, verdict.socket, verdict.preface, cancellation),
      );
      return;
    case 'tunnel':
      runJoin(verdict, stream, gone, logger).run((cancellation) => openers.tunnel(verdict.request, cancellation));
      return;
  }
}

function runJoin(
  verdict: {
    readonly headers: TunnelHeaders;
    readonly observer: JoinObserver;
    readonly joined?: (join: RunningJoin) => void;
  },
  stream: ServedStream,
  gone: Cancellation,
  logger: Logger,
): RunningJoin {
  const downstream: Downstream = {
    end: stream.end,
    gone,
    accept: () => {
      try {
        return stream.respond(200, verdict.headers, false);
      } catch (error) {
        logger.error('a CONNECT answer could not be sent', { error: errorText(error) });
        stream.end.cancel();
        return false;
      }
    },
    reject: (status) => stream.respond(status >= 400 && status <= 599 ? status : 503, [], true),
  };
  const running = new RunningJoin(downstream, verdict.observer, logger);
  try {
    verdict.joined?.(running);
  } catch (error) {
    running.stop(new AmbitError('the registry failed', { code: 'HBONE_HANDLER', origin: 'local', cause: error }));
  }
  return running;
}

/** First value of a header in a flat list; `name` in lower case, as HTTP/2 has it. */
function firstValue(list: readonly string[], name: string): string | undefined {
  for (let i = 0; i + 1 < list.length; i += 2) if (list[i] === name) return list[i + 1];
  return undefined;
}
