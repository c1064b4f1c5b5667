// Counting this process's open descriptors, to show that nothing leaks.
// The count includes the one that reads the folder, so only differences mean something.
import { readdirSync } from 'node:fs';

export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

/** How many descriptors `rounds` runs of `work` leave open, after one run that lets lazy ones appear. */
export async function descriptorsLeftOpen(rounds: number, work: () => void | Promise<void>): Promise<number> {
  await work();
  const before = openDescriptors();
  for (let round = 0; round < rounds; round++) await work();
  return openDescriptors() - before;
}
