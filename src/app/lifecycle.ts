/**
 * How every program of ours ends. The first SIGTERM or SIGINT (or `quit`) drains within a deadline, the second ends at
 * once. What escapes all handlers is logged with its stack; an exception ends the process after that, since shared state
 * may be broken (design rule 10).
 */
import process from 'node:process';
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { keepNextTickQuick } from '../base/quick-next-tick.ts';

export interface LifecycleOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly drainDeadlineMs: number;
  /** Stops accepting, lets what lives finish; called once. Its end, or the deadline, ends the process. */
  readonly drain: () => Promise<void>;
  /** Cuts what the drain's deadline finds still there, so that each says why in its access line. */
  readonly cut?: () => void;
  /** Writes what is buffered; called last, synchronously. */
  readonly flush: () => void;
  /** Ends the process; injected by tests. */
  readonly exit?: (code: number) => void;
}

export interface Lifecycle {
  /** Begins the graceful end, as SIGTERM does. */
  quit(reason: string): void;
  readonly draining: boolean;
}

export function startLifecycle(options: LifecycleOptions): Lifecycle {
  keepNextTickQuick();
  const { clock, logger, drainDeadlineMs, flush } = options;
  const exit = options.exit ?? ((code: number) => process.exit(code));
  let draining = false;
  const end = (code: number) => {
    flush();
    exit(code);
  };
  const quit = (reason: string) => {
    if (draining) {
      logger.warn('asked again to end: leaving at once', { reason });
      end(1);
      return;
    }
    draining = true;
    logger.info('draining', { reason, deadline: `${drainDeadlineMs}ms` });
    clock.after(drainDeadlineMs, () => {
      logger.warn('drain deadline reached, cutting what is left');
      options.cut?.();
      // Ends are told in the turn in which they happen, resets leave after it.
      setImmediate(() => end(0));
    });
    // The drain deadline's timer does not keep the process alive by itself.
    const alive = setInterval(() => {}, 1 << 30);
    options.drain().then(
      () => {
        clearInterval(alive);
        logger.info('drained');
        end(0);
      },
      (error: unknown) => {
        logger.error('drain failed', { error: errorText(error) });
        end(1);
      },
    );
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => quit(signal));
  process.on('uncaughtException', (error) => {
    logger.error('internal error, leaving', { error: errorText(error), stack: error.stack });
    end(1);
  });
  // A rejection belongs to one operation: it is told and counted, others go on.
  process.on('unhandledRejection', (reason) => {
    const stack = reason instanceof Error ? reason.stack : undefined;
    logger.error('internal error in one operation', { error: errorText(reason), stack });
  });
  return {
    quit,
    get draining() {
      return draining;
    },
  };
}
