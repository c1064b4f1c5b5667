/**
 * A worker's side: connections come from the supervisor, how it fares goes to it. A worker whose supervisor has gone leaves as
 * on SIGTERM, since nobody hands it anything any more.
 */
import process from 'node:process';
import type { View } from '../../admin/interfaces.ts';
import type { Clock } from '../../base/clock.ts';
import { HandOverReceiver } from '../../net/hand-over.ts';
import { type FromWorkerProcess, handOverDescriptor, type ToWorkerProcess } from './messages.ts';

export interface WorkerLinkHooks {
  readonly tunnels: () => number;
  readonly pending: () => readonly string[];
  readonly quit: (reason: string) => void;
  readonly drain: () => void;
  readonly levels: (directives: string | undefined, reset: boolean) => void;
}

const reportMs = 100;

export class WorkerLink {
  readonly #clock: Clock;
  readonly receiver: HandOverReceiver;
  #ready = false;
  #told = '';

  constructor(clock: Clock) {
    this.#clock = clock;
    this.receiver = new HandOverReceiver(handOverDescriptor, clock);
  }

  start(hooks: WorkerLinkHooks): void {
    process.on('disconnect', () => hooks.quit('the supervisor has gone'));
    process.on('message', (message) => {
      const told = message as ToWorkerProcess;
      if (told.kind === 'drain') hooks.drain();
      else hooks.levels(told.directives, told.reset);
    });
    // It lives for its listeners, not for this.
    process.channel?.unref();
    const report = () => {
      const { closed } = this.receiver;
      this.#tell(
        this.#ready
          ? { kind: 'load', closed, tunnels: hooks.tunnels() }
          : { kind: 'pending', pending: hooks.pending() },
      );
      this.#clock.after(reportMs, report);
    };
    report();
  }

  ready(views: readonly View[]): void {
    this.#ready = true;
    this.#send({ kind: 'ready', views: views.map(({ name, contentType }) => ({ name, contentType })) });
  }

  /** Resolves when it is on its way. */
  lastMetrics(text: string): Promise<void> {
    return new Promise((resolve) => {
      if (process.send === undefined || !process.connected) resolve();
      else process.send({ kind: 'last-metrics', text } satisfies FromWorkerProcess, () => resolve());
    });
  }

  #tell(message: FromWorkerProcess): void {
    const text = JSON.stringify(message);
    if (text === this.#told) return;
    this.#told = text;
    this.#send(message);
  }

  #send(message: FromWorkerProcess): void {
    // A supervisor that is gone is told of by `disconnect`.
    if (process.connected) process.send?.(message, () => {});
  }
}
