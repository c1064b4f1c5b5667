/** Loaded into a program by `--import`: on SIGUSR2 it prints the event-loop delay since the last time, milliseconds. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import process from 'node:process';

const histogram = monitorEventLoopDelay({ resolution: 1 });
histogram.enable();

process.on('SIGUSR2', () => {
  const ms = (nanoseconds) => Math.round(nanoseconds / 1e4) / 100;
  const delay = { p50: ms(histogram.percentile(50)), p99: ms(histogram.percentile(99)), max: ms(histogram.max) };
  histogram.reset();
  process.stdout.write(`loop-delay ${JSON.stringify(delay)}\n`);
});
