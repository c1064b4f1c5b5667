/**
 * How many descriptors this process has, and how many it may still use: a bound for everything that opens sockets for
 * others. Counted where sockets are made, since asking the kernel costs as much as there are descriptors.
 *
 * I1: the reserve is never used by connections, so that admin, xDS, the CA and the node agent go on when all else is taken.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** A listener, its share of the namespace it stands in, and of what else serves there (DNS). */
const perListener = 3;

/** A process has one table of descriptors, so there is one count. */
const count = { sockets: 0, listeners: 0 };

const onClose = () => {
  count.sockets--;
};

/** Counts a socket, of TCP or UDP, until it is closed. */
export function countSocket(socket: { once(event: 'close', listener: () => void): unknown }): void {
  count.sockets++;
  socket.once('close', onClose);
}

/** The same for what emits nothing: until the returned function is called, once. */
export function countDescriptor(): () => void {
  count.sockets++;
  return onClose;
}

/** Counts a listener until the returned function is called; calling that again does nothing. */
export function countListener(): () => void {
  count.listeners++;
  let counted = true;
  return () => {
    if (counted) count.listeners--;
    counted = false;
  };
}

export interface DescriptorLimits {
  /** RLIMIT_NOFILE, soft, which Node raises to the hard limit at its start. */
  readonly limit: number;
  /** Kept from connections. */
  readonly reserve: number;
  /** Open at the start: program, logs, event loop. */
  readonly base: number;
}

/** Of this process now. `atMost`: a lower limit of the operator's choice. */
export function descriptorLimits(atMost = Number.POSITIVE_INFINITY): DescriptorLimits {
  const limit = Math.min(atMost, softLimit());
  // A handshake of the control plane's, a scrape and a dump take few; a tenth of a small limit is still some.
  return { limit, reserve: Math.max(32, Math.min(1024, Math.ceil(limit / 10))), base: openNow() };
}

/** What is in use, of what connections may use. */
export function descriptorUse({ limit, reserve, base }: DescriptorLimits): { used: number; available: number } {
  return { used: count.sockets, available: Math.max(0, limit - reserve - base - perListener * count.listeners) };
}

function softLimit(): number {
  const line = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return line === undefined || line === 'unlimited' ? Number.POSITIVE_INFINITY : Number(line);
}

function openNow(): number {
  return readdirSync('/proc/self/fd').length;
}
