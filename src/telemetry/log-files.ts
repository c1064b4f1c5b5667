/**
 * Files that access logs are written to, opened when the first line comes. Standard output is the program's own, so that lines of
 * both do not mix within a line.
 *
 * I1: traffic never waits for a file: what its 16 MiB cannot hold is lost, and counted; so is what goes to a file that
 *     cannot be opened, and what would be one file too many.
 */
import { open } from 'node:fs';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Counter, MetricsRegistry } from '../base/metrics.ts';
import { gatherLines, type LogOutput, lineStream } from './log.ts';

export interface LogFilesOptions {
  /** Standard output. */
  readonly output: LogOutput;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
}

const mostFiles = 16;
/** Characters, until a file is open. */
const mostWaiting = 1024 * 1024;
const mostBufferedBytes = 16 * 1024 * 1024;
const standard: Readonly<Record<string, number>> = {
  '/dev/stdout': 1,
  '/proc/self/fd/1': 1,
  '/dev/stderr': 2,
  '/proc/self/fd/2': 2,
};

export class LogFiles {
  readonly #options: LogFilesOptions;
  readonly #outputs = new Map<string, LogOutput | undefined>();
  readonly #lost: Counter;

  constructor(options: LogFilesOptions) {
    this.#options = options;
    const help = 'Access log lines, or batches of them, that a file did not take.';
    this.#lost = options.metrics.counter('ambit_access_log_lost_total', help);
  }

  /** A whole line with its end. */
  write(path: string, line: string): void {
    const output = this.#outputs.has(path) ? this.#outputs.get(path) : this.#open(path);
    if (output === undefined) this.#lost.value++;
    else output.write(line);
  }

  /** Writes what is buffered, synchronously: at the end of the process. Never throws. */
  flush(): void {
    for (const output of this.#outputs.values()) output?.flush();
  }

  #open(path: string): LogOutput | undefined {
    const { output: own } = this.#options;
    const fd = Object.hasOwn(standard, path) ? standard[path] : undefined;
    const full = this.#outputs.size >= mostFiles;
    const output = fd === 1 ? own : full ? undefined : fd === undefined ? this.#openFile(path) : this.#writeTo(fd);
    if (output !== undefined) this.#outputs.set(path, output);
    return output;
  }

  /** Opened by us: the stream below cannot be written to once its own opening has failed. Until then lines wait. */
  #openFile(path: string): LogOutput {
    let waiting = '';
    const opening: LogOutput = {
      write: (line) => {
        if (waiting.length + line.length > mostWaiting) this.#lost.value++;
        else waiting += line;
      },
      flush: () => {},
    };
    open(path, 'a', (error, fd) => {
      if (error !== null) {
        this.#outputs.set(path, undefined);
        this.#lost.value++;
        const { logger } = this.#options;
        logger.error('an access log cannot be written; its lines are lost', { path, error: error.message });
        return;
      }
      const output = this.#writeTo(fd);
      this.#outputs.set(path, output);
      if (waiting !== '') output.write(waiting);
    });
    return opening;
  }

  #writeTo(fd: number): LogOutput {
    const lost = () => this.#lost.value++;
    // A disk that is full: what is not written stays in the stream, up to its bound.
    const stream = lineStream(fd, { maxLength: mostBufferedBytes, onLost: lost, onError: lost });
    return gatherLines(stream, this.#options.clock);
  }
}
