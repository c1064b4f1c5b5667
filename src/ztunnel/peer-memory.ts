/**
 * Which addresses tunnels were opened to, by workload, so that a pooled session is not used for an address that has
 * changed hands. Bounded: the oldest workload is forgotten first, and its sessions with it.
 */
import type { Relay } from '../hbone/seam.ts';
import type { MeshChange, Workload } from '../mesh/model.ts';

export class PeerMemory {
  readonly #relay: Pick<Relay, 'forgetPeer'>;
  readonly #limit: number;
  readonly #addresses = new Map<string, Set<string>>();

  constructor(relay: Pick<Relay, 'forgetPeer'>, limit = 16_384) {
    this.#relay = relay;
    this.#limit = limit;
  }

  /** A tunnel to the workload goes to this address. */
  used(workload: Workload, ip: string): void {
    const known = this.#addresses.get(workload.uid);
    if (known !== undefined) {
      known.add(ip);
      return;
    }
    const [oldest] = this.#addresses.keys();
    if (this.#addresses.size >= this.#limit && oldest !== undefined) this.#forget(oldest);
    this.#addresses.set(workload.uid, new Set([ip]));
  }

  /** To be told of every change of the mesh. */
  changed(change: MeshChange): void {
    for (const uid of change.removedWorkloads) this.#forget(uid);
    for (const { uid, addresses } of change.workloads) {
      const known = this.#addresses.get(uid);
      if (known === undefined) continue;
      for (const ip of known) if (!addresses.includes(ip)) this.#relay.forgetPeer(ip);
    }
  }

  #forget(uid: string): void {
    for (const ip of this.#addresses.get(uid) ?? []) this.#relay.forgetPeer(ip);
    this.#addresses.delete(uid);
  }
}
