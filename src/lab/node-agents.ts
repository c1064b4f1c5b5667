/** One ZDS server per node, each with the captured pods of its node: what istio-cni's agents are in a cluster. */
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { LabNamespace } from './namespace.ts';
import type { LabPod } from './topology.ts';
import type { ZdsAnswer } from './zds-connection.ts';
import { ZdsServer } from './zds-server.ts';

export interface NodeAgentsOptions {
  /** Where the sockets are: `NODE.zds`. */
  readonly directory: string;
  readonly logger: Logger;
  readonly clock: Clock;
}

export class NodeAgents {
  readonly #options: NodeAgentsOptions;
  readonly #servers = new Map<string, ZdsServer>();

  constructor(options: NodeAgentsOptions) {
    this.#options = options;
  }

  /** The agent of a node, made when first asked for. Its `path` is what ztunnel's INPOD_UDS names. */
  of(node: string): ZdsServer {
    const known = this.#servers.get(node);
    if (known !== undefined) return known;
    const { directory, logger, clock } = this.#options;
    const server = new ZdsServer({ path: join(directory, `${node}.zds`), logger, clock });
    this.#servers.set(node, server);
    return server;
  }

  /** Hands a captured pod over. Undefined when it is not captured, or no ztunnel is connected yet. */
  async addPod(pod: LabPod, namespace: LabNamespace): Promise<ZdsAnswer | undefined> {
    if (!pod.captured) return undefined;
    const { name, namespace: kubernetesNamespace, serviceAccount } = pod;
    const announced = { uid: podUid(pod), name, namespace: kubernetesNamespace, serviceAccount };
    const answer = await this.of(pod.node).addPod({ ...announced, netns: namespace.path });
    if (answer !== undefined && answer.kind !== 'acked') {
      this.#options.logger.warn('ztunnel did not take the pod', { pod: name, answer: answer.kind });
    }
    return answer;
  }

  async removePod(pod: LabPod): Promise<void> {
    if (pod.captured) await this.of(pod.node).removePod(podUid(pod));
  }

  close(): void {
    for (const server of this.#servers.values()) server.close();
    this.#servers.clear();
  }
}

/** Stands for the uid that Kubernetes would give the pod. */
export function podUid(pod: Pick<LabPod, 'name' | 'namespace'>): string {
  return `${pod.namespace}/${pod.name}`;
}
