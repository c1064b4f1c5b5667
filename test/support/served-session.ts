/** A session of ours as a server on a socket of the test's own, whose client has sent its greeting. */
import { setImmediate as turn } from 'node:timers/promises';
import type { ServedStream } from '../../src/hbone/http2/engine.ts';
import { serveSession } from '../../src/hbone/http2/session.ts';
import { defaultRelayOptions } from '../../src/hbone/options.ts';
import { FakeClock } from './fake-clock.ts';
import { HeldSocket } from './held-socket.ts';
import { greeting } from './http2-frames.ts';

/** `holds`: nothing that is written is taken before the test says so. */
export async function served(onStream: (stream: ServedStream) => void, holds = true) {
  const socket = new HeldSocket();
  socket.holds = holds;
  const clock = new FakeClock();
  const told: string[] = [];
  const session = serveSession(
    socket.asTls,
    { relay: defaultRelayOptions, maxStreams: 200, clock },
    {
      stream: onStream,
      failed: (error) => told.push(String(error)),
      closed: () => told.push('closed'),
    },
  );
  socket.resume();
  await turn();
  socket.comes(greeting);
  return { socket, clock, told, session };
}
