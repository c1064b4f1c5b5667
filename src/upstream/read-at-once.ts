/**
 * undici takes what a socket has read by `read`, in answer to 'readable', which Readable tells a tick later, past a list of its own.
 * Here it is told in the call that brings the bytes, and handed them: a tick, a list and three calls fewer for each answer.
 *
 * I1: bytes keep their order: where undici left some, because it has paused, all others are Readable's until it has taken them.
 */
import { ownCopy, type PlainSocket } from '../net/plain-socket.ts';

/** Until somebody else takes what the socket lends. */
export function readAtOnce(socket: PlainSocket): void {
  const read = socket.read.bind(socket);
  let ready: Buffer | undefined;
  socket.read = (size?: number) => {
    if (ready === undefined || size !== undefined) return read(size);
    const taken = ready;
    ready = undefined;
    return taken;
  };
  socket.lendTo((lent) => {
    const bytes = ownCopy(lent);
    if (socket.readableLength > 0) return socket.push(bytes);
    ready = bytes;
    socket.emit('readable');
    if (ready === undefined) return true;
    ready = undefined;
    return socket.push(bytes);
  });
}
