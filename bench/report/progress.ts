/** What the bench is doing now, which of how many, and about how long still: one line that changes, or a line for each. */
import type { Clock } from '../../src/base/clock.ts';
import type { Step } from '../measure.ts';

export interface Progress {
  /** Before and between turns. Text of several lines is no step but news, and stays. */
  readonly say: (text: string) => void;
  readonly turn: (step: Step) => void;
  /** Takes the changing line away. */
  readonly end: () => void;
}

export interface ProgressOutput {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const clear = '\r\x1b[K';

export function createProgress(output: ProgressOutput, clock: Clock): Progress {
  const changes = output.isTTY === true;
  let firstTurnMs: number | undefined;
  const say = (text: string) => {
    const room = (output.columns ?? 120) - 1;
    if (!changes) output.write(`${text}\n`);
    else output.write(text.includes('\n') ? `${clear}${text.trimEnd()}\n` : `${clear}${text.slice(0, room)}`);
  };
  return {
    say: (text) => say(`… ${text}`),
    turn: ({ load, system, repeat, turn, turns }) => {
      firstTurnMs ??= clock.nowMs();
      const done = turn - 1;
      const leftMs = done === 0 ? undefined : ((clock.nowMs() - firstTurnMs) / done) * (turns - done);
      const place = `[${String(turn).padStart(String(turns).length)}/${turns}]`;
      const what = `${load.name}: ${system.name}, ${repeat === 0 ? 'warm-up' : `repeat ${repeat}`}`;
      say(`${place} ${what}${leftMs === undefined ? '' : ` · about ${duration(leftMs)} left`}`);
    },
    end: () => {
      if (changes) output.write(clear);
    },
  };
}

function duration(milliseconds: number): string {
  const seconds = Math.ceil(milliseconds / 1000);
  return seconds < 100 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`;
}
