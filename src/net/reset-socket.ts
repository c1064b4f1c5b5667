/**
 * Closes a TCP socket by RST. libuv refuses that in the turn in which the FIN leaves (EINVAL), and Node then forgets the
 * handle without closing it: no 'close', and the descriptor is lost. Such a socket is reset a turn later.
 */
import type { Socket } from 'node:net';

/** Harmless on a socket that is closed. 'close' follows in any case. */
export function resetSocket(socket: Socket): void {
  const finLeaves = socket.writableEnded && !socket.writableFinished && socket.writableLength === 0;
  // Without 'finish' the FIN could not leave, and the socket was destroyed for that.
  if (finLeaves && !socket.destroyed) socket.once('finish', () => socket.resetAndDestroy());
  else socket.resetAndDestroy();
}
