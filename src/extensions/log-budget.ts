/** What an extension says, as lines of the proxy's log: so many and no more, since its requests decide how often it speaks. */
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import { TokenBucket } from '../base/token-bucket.ts';
import type { LogLine } from './protocol.ts';

const linesPerSecond = 10;
const linesAtOnce = 100;

export class LogBudget {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #extension: string;
  readonly #bucket: TokenBucket;
  #dropped = 0;

  constructor(clock: Clock, logger: Logger, extension: string) {
    this.#clock = clock;
    this.#logger = logger;
    this.#extension = extension;
    this.#bucket = new TokenBucket(linesPerSecond, linesAtOnce, clock.nowMs());
  }

  write({ level, text }: LogLine): void {
    if (!this.#logger.enabled(level)) return;
    if (!this.#bucket.take(this.#clock.nowMs())) {
      this.#dropped++;
      return;
    }
    const dropped = this.#dropped === 0 ? undefined : this.#dropped;
    this.#dropped = 0;
    this.#logger[level](text, { extension: this.#extension, dropped });
  }
}
