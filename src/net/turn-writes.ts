/**
 * One `writev` a turn of the event loop for what comes in many pieces: a TLS read of 64 KiB arrives as four records, and
 * each would be a system call of its own. What is corked in a turn is written in its check phase, right after the reads.
 */
import type { Socket } from 'node:net';

/** Smaller pieces come alone and go at once. */
const leastBytes = 8 * 1024;

const corked = new Set<Socket>();

/** As `socket.write`. */
export function writeInTurn(socket: Socket, chunk: Uint8Array): boolean {
  if (chunk.length >= leastBytes && !corked.has(socket)) {
    if (corked.size === 0) setImmediate(writeAll);
    corked.add(socket);
    socket.cork();
  }
  return socket.write(chunk);
}

function writeAll(): void {
  const sockets = [...corked];
  corked.clear();
  for (const socket of sockets) socket.uncork();
}
