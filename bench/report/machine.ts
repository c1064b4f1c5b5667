/** Where and from what a run was made: figures without it mean nothing. */
import { execFileSync } from 'node:child_process';
import { arch, availableParallelism, cpus, release, totalmem } from 'node:os';
import process from 'node:process';

export interface Machine {
  /** Abbreviated, with `+` when files differ from it; `unknown` outside a clone. */
  readonly commit: string;
  readonly cores: number;
  readonly cpu: string;
  readonly architecture: string;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly node: string;
}

export function describeMachine(): Machine {
  return {
    commit: readCommit(),
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    architecture: arch(),
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.versions.node,
  };
}

function readCommit(): string {
  // The clone may be another user's: inside the lab everybody is root.
  const git = (...words: string[]) =>
    execFileSync('git', ['-c', 'safe.directory=*', ...words], {
      cwd: import.meta.dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  try {
    return `${git('rev-parse', '--short=10', 'HEAD')}${git('status', '--porcelain', '--untracked-files=no') === '' ? '' : '+'}`;
  } catch {
    // No git, or an unpacked archive.
    return 'unknown';
  }
}
