/** Timers for dates: a sleeping machine or a corrected clock moves the date, so it is looked at again every minute. */
import type { Clock, Timer } from '../base/clock.ts';

const stepMs = 60_000;

/** Calls back once, within a minute of the wall clock reaching `wallMs`, on time when the clock runs evenly. */
export function atWallTime(clock: Clock, wallMs: number, callback: () => void): Timer {
  let timer: Timer | undefined;
  const arm = () => {
    const leftMs = wallMs - clock.wallMs();
    timer = leftMs <= 0 ? undefined : clock.after(Math.min(leftMs, stepMs), step);
    return timer;
  };
  const step = () => {
    if (arm() === undefined) callback();
  };
  if (arm() === undefined) timer = clock.after(0, callback);
  return { cancel: () => timer?.cancel() };
}
