/** What a job's end and its output say together. Pure. */
import type { Job } from './jobs.ts';
import { type Counts, countsOf, failuresOf } from './tap-text.ts';

export type JobEnd =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'killed'; readonly signal: string }
  | { readonly kind: 'late'; readonly seconds: number }
  | { readonly kind: 'unstarted'; readonly cause: string };

export interface Verdict {
  readonly counts: Counts;
  /** Each with its details; empty when all is well. */
  readonly failures: readonly string[];
}

const none: Counts = { passed: 0, failed: 0, skipped: 0 };
const lastLines = 15;

/** Any end but exit code 0 after the closing count is a failure, even when no test is told as failed. */
export function judge({ files }: Job, end: JobEnd, text: string): Verdict {
  const told = countsOf(text);
  const counts = told ?? none;
  const exitCode = end.kind === 'exited' ? end.code : undefined;
  if (told !== undefined && told.failed === 0 && exitCode === 0) return { counts, failures: [] };
  const [only] = files.length === 1 ? files : [];
  const failures = failuresOf(text).map((failure) => (only === undefined ? failure : `${only} › ${failure}`));
  // Tap itself ends with 1 after a failed test.
  if (told !== undefined && told.failed > 0 && exitCode === 1 && failures.length > 0) return { counts, failures };
  const last = text.trimEnd().split('\n').slice(-lastLines).join('\n');
  return {
    counts: { ...counts, failed: counts.failed + 1 },
    failures: [...failures, `${files.join(' ')} › ${textOf(end, told !== undefined)}\n${last}`],
  };
}

function textOf(end: JobEnd, counted: boolean): string {
  if (end.kind === 'unstarted') return `it cannot be started: ${end.cause}`;
  if (end.kind === 'late') return `it did not end within ${end.seconds} s`;
  if (end.kind === 'killed') return `it was ended by ${end.signal}`;
  return counted ? `it ended with exit code ${end.code}` : `it ended with exit code ${end.code} before its tests had`;
}
