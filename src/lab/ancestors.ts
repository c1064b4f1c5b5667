/**
 * Notices that the program which started us is gone, even when it was killed with -9 and could not tell us.
 *
 * Killing npm leaves its children alive, adopted by somebody else: so every link of the chain from this process up to
 * npm is remembered, and a link whose parent has changed ends the watch.
 */
import { readFileSync } from 'node:fs';

/** A process and the parent it had when the chain was read. */
export interface AncestorLink {
  readonly pid: number;
  readonly parent: number;
}

/** What /proc says of a process; undefined when there is none. */
export type ReadProcess = (pid: number) => { readonly parent: number; readonly command: string } | undefined;

const longestChain = 32;

/** Links from `pid` up to the nearest npm; only the first link when there is no npm above. */
export function ancestorChain(pid: number, read: ReadProcess = readProcess): readonly AncestorLink[] {
  const links: AncestorLink[] = [];
  for (let current = pid; links.length < longestChain; ) {
    const process = read(current);
    if (process === undefined || process.parent <= 1) break;
    links.push({ pid: current, parent: process.parent });
    if (read(process.parent)?.command.startsWith('npm') === true) return links;
    current = process.parent;
  }
  return links.slice(0, 1);
}

/** Whether every process of the chain still has the parent it had. */
export function chainHolds(links: readonly AncestorLink[], read: ReadProcess = readProcess): boolean {
  return links.every((link) => read(link.pid)?.parent === link.parent);
}

/** Calls back once when the chain breaks, looking four times a second. Does not keep the process alive. */
export function watchAncestors(links: readonly AncestorLink[], onBroken: () => void): () => void {
  const timer = setInterval(() => {
    if (chainHolds(links)) return;
    clearInterval(timer);
    onBroken();
  }, 250);
  timer.unref();
  return () => clearInterval(timer);
}

/** Reads /proc/PID/stat, whose second field is the command in parentheses and may itself hold any character. */
function readProcess(pid: number): { parent: number; command: string } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined; // Gone: the caller's question is exactly whether it is.
  }
  const end = text.lastIndexOf(')');
  const parent = Number(text.slice(end + 2).split(' ')[1]);
  return { parent, command: text.slice(text.indexOf('(') + 1, end) };
}
