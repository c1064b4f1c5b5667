/**
 * Which test files run together: in one process, side by side, or with the machine to themselves.
 *
 * I1: every file is in exactly one job.
 */

/** One process of tests. */
export interface Job {
  /** Relative to the repository's root; several share the process (`together.ts`). */
  readonly files: readonly string[];
}

/** What one round does: first the jobs that share the machine, then the others one by one. */
export interface Round {
  readonly sharing: readonly Job[];
  readonly alone: readonly Job[];
}

/** These look at the host's state, measure, or keep to times. The bounds of the others leave room for neighbours. */
const alone = /^test\/(interop|bench|netns\/(bench\/loads|demo|lab\/cleanup|path\/members|soak)\b)/;

/** Small files share a process, but for these, which measure their own or change it for good: a signal, a limit, the heap. */
const together = /^test\/unit\//;
const apart = /^test\/unit\/(native\/|bench-micro\/|(app\/memory|base\/garbage|identity\/key-secrecy)\.test)/;

/** Enough that little is loaded twice, few enough that the last process does not keep everybody waiting. */
const filesOfOne = 24;

export function planRound(files: readonly string[]): Round {
  const sharing = files.filter((file) => !alone.test(file));
  const small = sharing.filter((file) => together.test(file) && !apart.test(file));
  const others = sharing.filter((file) => !small.includes(file));
  return {
    sharing: [...others.map(single), ...shares(small)],
    alone: files.filter((file) => alone.test(file)).map(single),
  };
}

const single = (file: string): Job => ({ files: [file] });

/** Neighbours stay together, since they import the same. */
function shares(files: readonly string[]): readonly Job[] {
  const count = Math.ceil(files.length / filesOfOne);
  const from = (index: number) => Math.round((files.length * index) / count);
  return Array.from({ length: count }, (_, index) => ({ files: files.slice(from(index), from(index + 1)) }));
}
