/** Waiting for a condition that real sockets make true, bounded and without fixed sleeps. */
import { setTimeout as delay } from 'node:timers/promises';

/** How long what must come may take on a busy machine. Waiting is no measurement: one that passes is as quick as ever. */
export const patienceMs = 20_000;

/**
 * Polls until `probe` returns something other than undefined or false, and returns that. Rejects after `timeoutMs`,
 * naming `what`.
 */
export async function eventually<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = patienceMs,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for: ${what}`);
    await delay(2);
  }
}

/** The promise's value, or a rejection naming `what` after `timeoutMs`. */
export async function within<T>(what: string, promise: Promise<T>, timeoutMs = patienceMs): Promise<T> {
  let handle: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    handle = setTimeout(() => reject(new Error(`waited ${timeoutMs} ms in vain for: ${what}`)), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(handle);
  }
}
