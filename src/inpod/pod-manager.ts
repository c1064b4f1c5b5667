/**
 * The pods of this node that are in the mesh: for each its network namespace and one proxy inside it. Driven by the
 * node agent's messages (`zds-client.ts`); semantics of ztunnel.md §1.5.
 *
 * I1: every descriptor given to `add` is closed exactly once: when its pod leaves, is replaced, or never came up.
 * I2: a pod that cannot be started troubles nobody else; it is tried again every 5 s and readiness says so.
 * I3: `add` answers within 4 s, since the agent waits 5: a start that takes longer goes on, and is refused meanwhile.
 */
import type { Clock, Timer } from '../base/clock.ts';
import { AmbitError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Counter, Gauge, MetricsRegistry } from '../base/metrics.ts';
import { nativeSockets } from '../net/native-sockets.ts';
import type { NetworkNamespace } from '../net/socket-spec.ts';

export interface PodInfo {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

export interface PodProxy {
  /** Ends listeners and connections at once. */
  destroy(): void;
}

export interface PodManagerOptions {
  /**
   * Makes the listeners inside the pod's namespace; rejects when that fails, leaving nothing behind. Of two pods with one
   * name the one with the higher `order` is the newer, whichever of them starts last.
   */
  readonly startProxy: (pod: PodInfo, namespace: NetworkNamespace, order: number) => Promise<PodProxy>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  readonly retryMs?: number;
  readonly maxPods?: number;
}

const defaultRetryMs = 5000;
const answerWithinMs = 4000;
/** Several times what Kubernetes puts on a node. Beyond it an `add` is refused. */
const defaultMaxPods = 4096;

/** Null: done. Text: why not; the agent is told. */
export type PodAnswer = string | null;

interface Pod {
  readonly info: PodInfo;
  readonly namespace: NetworkNamespace;
  readonly order: number;
  proxy: PodProxy | undefined;
  problem: string | undefined;
  starting: Promise<void> | undefined;
  retry: Timer | undefined;
  gone: boolean;
}

export class PodManager {
  readonly #options: PodManagerOptions;
  readonly #retryMs: number;
  readonly #maxPods: number;
  readonly #pods = new Map<string, Pod>();
  /** Refused for good until the agent sends another: uid → why. */
  readonly #refused = new Map<string, string>();
  readonly #active: Gauge;
  readonly #pending: Gauge;
  readonly #started: Counter;
  readonly #stopped: Counter;
  #named = new Set<string>();
  #nextOrder = 0;
  #snapshotSeen = false;
  #synchronized = false;

  constructor(options: PodManagerOptions) {
    this.#options = options;
    this.#retryMs = options.retryMs ?? defaultRetryMs;
    this.#maxPods = options.maxPods ?? defaultMaxPods;
    const { metrics } = options;
    this.#active = metrics.gauge('workload_manager_active_proxy_count', 'Pods with a running proxy.');
    this.#pending = metrics.gauge('workload_manager_pending_proxy_count', 'Pods whose proxy could not be started yet.');
    this.#started = metrics.counter('workload_manager_proxies_started_total', 'Proxies started in pods.');
    this.#stopped = metrics.counter('workload_manager_proxies_stopped_total', 'Proxies stopped in pods.');
  }

  /**
   * A new connection of the agent: what it names until its snapshot is complete is what there is. Proxies that run go on
   * until then; what could not be started is forgotten, and keeps readiness away until the snapshot.
   */
  connected(): void {
    this.#named = new Set();
    this.#snapshotSeen = false;
    if (this.#failing()) this.#synchronized = false;
    this.#refused.clear();
    for (const pod of [...this.#pods.values()]) if (pod.proxy === undefined) this.#drop(pod);
  }

  get snapshotSeen(): boolean {
    return this.#snapshotSeen;
  }

  /** Takes the descriptor over. Never rejects. */
  async add(info: PodInfo, namespaceFd: number): Promise<PodAnswer> {
    this.#named.add(info.uid);
    this.#refused.delete(info.uid);
    const opened = identify(namespaceFd);
    if (typeof opened === 'string') return this.#refuse(info, namespaceFd, opened);
    const known = this.#pods.get(info.uid);
    if (known !== undefined && known.namespace.key === opened.key) {
      nativeSockets().closeFd(namespaceFd);
      return known.proxy === undefined ? await this.#startInTime(known) : null;
    }
    // The same pod in another namespace has been restarted: nothing of the old one is alive.
    if (known !== undefined) this.#drop(known);
    if (this.#pods.size >= this.#maxPods) {
      return this.#refuse(info, namespaceFd, `no more than ${this.#maxPods} pods are served`);
    }
    const order = this.#nextOrder++;
    const idle = { proxy: undefined, problem: undefined, starting: undefined, retry: undefined, gone: false };
    const pod: Pod = { info, namespace: opened, order, ...idle };
    this.#pods.set(info.uid, pod);
    return await this.#startInTime(pod);
  }

  /** The agent still has the pod, but not its namespace. Only before the snapshot is complete. */
  keep(uid: string): void {
    this.#named.add(uid);
    if (!this.#pods.has(uid)) this.#options.logger.warn('asked to keep a pod that is not here', { uid });
  }

  /** At once; before the snapshot is complete, a proxy that runs goes on until then. */
  remove(uid: string): void {
    this.#named.delete(uid);
    this.#refused.delete(uid);
    const pod = this.#pods.get(uid);
    if (pod === undefined || (!this.#snapshotSeen && pod.proxy !== undefined)) return;
    this.#drop(pod);
  }

  /** The agent has named all its pods: others are gone. */
  snapshotComplete(): void {
    this.#snapshotSeen = true;
    this.#synchronized = true;
    for (const [uid, pod] of [...this.#pods]) if (!this.#named.has(uid)) this.#drop(pod);
    for (const uid of [...this.#refused.keys()]) if (!this.#named.has(uid)) this.#refused.delete(uid);
  }

  /** What readiness waits for. */
  pending(): readonly string[] {
    return !this.#synchronized || this.#failing() ? ['workload proxy manager'] : [];
  }

  *pods(): Iterable<{ readonly info: PodInfo; readonly up: boolean; readonly problem: string | undefined }> {
    for (const { info, proxy, problem } of this.#pods.values()) yield { info, up: proxy !== undefined, problem };
  }

  /** Ends all proxies and closes all descriptors. */
  close(): void {
    for (const pod of [...this.#pods.values()]) this.#drop(pod);
  }

  #failing(): boolean {
    return this.#refused.size > 0 || [...this.#pods.values()].some((pod) => pod.proxy === undefined);
  }

  /** Nothing is tried again: what is wrong is the request. Readiness waits for another one. */
  #refuse(info: PodInfo, namespaceFd: number, reason: string): string {
    nativeSockets().closeFd(namespaceFd);
    if (this.#refused.size < this.#maxPods) this.#refused.set(info.uid, reason);
    return `pod ${info.namespace}/${info.name}: ${reason}`;
  }

  async #startInTime(pod: Pod): Promise<PodAnswer> {
    const started = this.#start(pod);
    await new Promise<void>((resolve) => {
      const timer = this.#options.clock.after(answerWithinMs, resolve);
      void started.then(() => {
        timer.cancel();
        resolve();
      });
    });
    return answerOf(pod);
  }

  /** One attempt at a time. Never rejects. */
  #start(pod: Pod): Promise<void> {
    pod.retry?.cancel();
    pod.retry = undefined;
    pod.starting ??= this.#tryStart(pod).finally(() => {
      pod.starting = undefined;
    });
    return pod.starting;
  }

  async #tryStart(pod: Pod): Promise<void> {
    const { name, namespace, uid } = pod.info;
    try {
      const proxy = await this.#options.startProxy(pod.info, pod.namespace, pod.order);
      if (pod.gone) {
        proxy.destroy();
        return;
      }
      pod.proxy = proxy;
      pod.problem = undefined;
      this.#started.value++;
      this.#options.logger.info('pod is in the mesh', { pod: `${namespace}/${name}`, uid });
    } catch (error) {
      if (pod.gone) return;
      pod.problem = errorText(error);
      this.#options.logger.warn('pod cannot be taken in, trying again', {
        pod: `${namespace}/${name}`,
        error: pod.problem,
      });
      pod.retry = this.#options.clock.after(this.#retryMs, () => void this.#start(pod));
    } finally {
      this.#count();
    }
  }

  #drop(pod: Pod): void {
    if (pod.gone) return;
    pod.gone = true;
    pod.retry?.cancel();
    if (this.#pods.get(pod.info.uid) === pod) this.#pods.delete(pod.info.uid);
    if (pod.proxy !== undefined) {
      pod.proxy.destroy();
      this.#stopped.value++;
    }
    nativeSockets().closeFd(pod.namespace.fd);
    this.#count();
  }

  #count(): void {
    let active = 0;
    for (const pod of this.#pods.values()) if (pod.proxy !== undefined) active++;
    this.#active.value = active;
    this.#pending.value = this.#pods.size - active;
  }
}

/** The namespace behind a descriptor, or why it is none. */
function identify(fd: number): NetworkNamespace | string {
  const native = nativeSockets();
  try {
    if (!native.isNetworkNamespace(fd)) return 'the descriptor is no network namespace';
    const { dev, inode } = native.namespaceIdentity(fd);
    return { fd, key: `${dev}:${inode}` };
  } catch (error) {
    return errorText(error);
  }
}

function answerOf(pod: Pod): PodAnswer {
  if (pod.proxy !== undefined) return null;
  const reason = pod.gone ? 'removed meanwhile' : (pod.problem ?? 'its listeners are still being made');
  return `pod ${pod.info.namespace}/${pod.info.name}: ${reason}`;
}

/** What the agent must never send: the process ends, as ztunnel does. */
export function violation(message: string): AmbitError {
  return new AmbitError(`the node agent broke the protocol: ${message}`, {
    code: 'INPOD_PROTOCOL',
    origin: 'downstream',
  });
}
