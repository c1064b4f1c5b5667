/** Resident memory as a part of what the process may have: of its control group's limit, if it has one. */
import process from 'node:process';

/** 0 without a limit. */
export function memoryShare(): number {
  const allowed = process.constrainedMemory();
  // Without a limit the kernel says a number no machine has.
  return allowed > 0 && allowed < 2 ** 50 ? process.memoryUsage.rss() / allowed : 0;
}
