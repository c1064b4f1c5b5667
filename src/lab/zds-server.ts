/**
 * A node agent for ztunnel, as istio-cni is one: keeps the list of a node's pods and hands it, with their network namespaces,
 * to whichever ztunnel connects (ztunnel.md §1.5).
 *
 * I1: a connection hears of every pod in its snapshot or afterwards, never neither. New pods go to the newest connection,
 * removals to all, so that a ztunnel about to be replaced learns of them as well.
 */
import { rmSync } from 'node:fs';
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { closeFd, seqpacketAccept, seqpacketListen, type Watcher, watchFd } from './kernel.ts';
import { type ZdsAnswer, ZdsConnection, type ZdsPod } from './zds-connection.ts';

const backlog = 16;
const mostConnections = 16;

export interface ZdsServerOptions {
  /** Path of the unix socket; must be free, is removed by `close`. */
  readonly path: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class ZdsServer {
  readonly path: string;
  readonly #options: ZdsServerOptions;
  readonly #pods = new Map<string, ZdsPod>();
  readonly #connections: ZdsConnection[] = [];
  readonly #fd: number;
  readonly #watcher: Watcher;
  #snapshots = 0;
  #onSnapshot: (() => void)[] = [];

  /** Listens at once. */
  constructor(options: ZdsServerOptions) {
    this.#options = options;
    this.path = options.path;
    this.#fd = seqpacketListen(options.path, backlog);
    this.#watcher = watchFd(this.#fd, 'r', () => this.#accept());
    this.#watcher.unref();
  }

  /** Connected ztunnels that have said hello, oldest first. */
  get connections(): readonly ZdsConnection[] {
    return this.#connections;
  }

  /** Settles once at least `count` snapshots have been acknowledged since the server was made. */
  async snapshotAcknowledged(count = 1): Promise<void> {
    while (this.#snapshots < count) await new Promise<void>((resolve) => this.#onSnapshot.push(resolve));
  }

  /** Adds a pod, or gives its new namespace. `undefined`: nobody is connected; it will be in the next snapshot. */
  async addPod(pod: ZdsPod): Promise<ZdsAnswer | undefined> {
    this.#pods.set(pod.uid, pod);
    return this.#connections.at(-1)?.add(pod);
  }

  /** Removes a pod; one answer for each connection. */
  removePod(uid: string): Promise<readonly ZdsAnswer[]> {
    this.#pods.delete(uid);
    return Promise.all(this.#connections.map((connection) => connection.remove(uid)));
  }

  /** Ends all connections and removes the socket. */
  close(): void {
    this.#watcher.close();
    closeFd(this.#fd);
    rmSync(this.path, { force: true });
    for (const connection of [...this.#connections]) connection.close('the agent ends');
  }

  #accept(): void {
    try {
      for (let fd = seqpacketAccept(this.#fd); fd !== undefined; fd = seqpacketAccept(this.#fd)) {
        if (this.#connections.length >= mostConnections) closeFd(fd);
        else void this.#serve(new ZdsConnection(fd, this.#options.clock));
      }
    } catch (error) {
      this.#options.logger.warn('accept failed', { error: errorText(error) });
    }
  }

  async #serve(connection: ZdsConnection): Promise<void> {
    const { logger } = this.#options;
    void connection.closed.then((reason) => {
      logger.info('ztunnel is gone', { reason });
      const index = this.#connections.indexOf(connection);
      if (index >= 0) this.#connections.splice(index, 1);
    });
    if (!(await connection.greeted)) return;
    // From here on additions go to this connection too; its queue keeps them behind the snapshot's pods, and a pod that
    // is in both is announced twice with one namespace, which ztunnel takes as no change.
    const snapshot = [...this.#pods.values()];
    const announced = snapshot.map((pod) => connection.add(pod));
    const completed = connection.snapshotSent();
    this.#connections.push(connection);
    for (const [i, answer] of (await Promise.all(announced)).entries()) {
      if (answer.kind === 'refused') logger.warn('pod refused', { pod: snapshot[i]?.name, error: answer.error });
    }
    if ((await completed).kind !== 'acked') return connection.close('the snapshot was not acknowledged');
    this.#snapshots++;
    for (const resolve of this.#onSnapshot.splice(0)) resolve();
  }
}
