/**
 * What a session in the pool can be asked and told. http2-wrapper keeps its count and its wish to close as properties of
 * the session under symbols of its own, which are read and set here alone.
 */
import type { ClientHttp2Session } from 'node:http2';
import { Agent } from 'http2-wrapper';

/** http2-wrapper's symbols, which its types leave out. */
const { kGracefullyClosing, kCurrentStreamCount } = Agent as unknown as {
  readonly kGracefullyClosing: symbol;
  readonly kCurrentStreamCount: symbol;
};

/** Live ones, as the Agent counts them. */
export function streamCount(session: ClientHttp2Session): number {
  return Reflect.get(session, kCurrentStreamCount) as number;
}

/** For one more stream, now. */
export function hasRoom(session: ClientHttp2Session): boolean {
  if (session.closed || session.destroyed || Reflect.get(session, kGracefullyClosing)) return false;
  return streamCount(session) < (session.remoteSettings.maxConcurrentStreams ?? 0);
}

/** No new streams; ends by itself with its last one. */
export function retire(session: ClientHttp2Session): void {
  Reflect.set(session, kGracefullyClosing, true);
  if (streamCount(session) === 0 && !session.closed && !session.destroyed) session.close();
}

/**
 * Shows the Agent a stream limit of ours below the peer's. A peer that allows none is shown as one that allows one: the
 * stream then waits for its deadline, instead of the Agent opening session after session. A retired session is shown as
 * full: whenever a stream of it ended the Agent would give it to those who wait for its successor.
 */
export function limitStreams(session: ClientHttp2Session, most: number): void {
  const prototype = Object.getPrototypeOf(session) as ClientHttp2Session;
  const read = () => Reflect.get(prototype, 'remoteSettings', session) as ClientHttp2Session['remoteSettings'];
  let real: ClientHttp2Session['remoteSettings'] | undefined;
  let shown: ClientHttp2Session['remoteSettings'];
  let full: ClientHttp2Session['remoteSettings'];
  Object.defineProperty(session, 'remoteSettings', {
    // Asked several times for each stream; Node keeps one object for as long as the settings stay.
    get: () => {
      const settings = read();
      if (settings !== real) {
        const allowed = settings.maxConcurrentStreams ?? most;
        shown = { ...settings, maxConcurrentStreams: Math.max(1, Math.min(most, allowed)) };
        full = { ...settings, maxConcurrentStreams: 0 };
        real = settings;
      }
      return Reflect.get(session, kGracefullyClosing) ? full : shown;
    },
  });
}
