/**
 * Asks for certificates of the identities that run here and drops those that do no longer (seed-design.md R56): kept as
 * a count of workloads per identity, from the mesh's changes.
 */
import type { SpiffeId } from '../base/spiffe.ts';
import type { SecretStore } from '../identity/secret.ts';
import type { MeshChange, Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';

export class LocalIdentities {
  readonly #secrets: Pick<SecretStore, 'want' | 'forget'>;
  readonly #isLocal: (workload: Workload) => boolean;
  readonly #identityOf = new Map<string, SpiffeId>();
  readonly #counts = new Map<SpiffeId, number>();
  readonly #stopListening: () => void;

  constructor(mesh: MeshView, secrets: Pick<SecretStore, 'want' | 'forget'>, isLocal: (workload: Workload) => boolean) {
    this.#secrets = secrets;
    this.#isLocal = isLocal;
    for (const workload of mesh.workloads()) this.#put(workload);
    this.#stopListening = mesh.onChange((change) => this.#changed(change));
  }

  has(identity: SpiffeId): boolean {
    return this.#counts.has(identity);
  }

  close(): void {
    this.#stopListening();
  }

  /** Records before removals, so that an identity that moves from one pod to another keeps its certificate. */
  #changed(change: MeshChange): void {
    const replaced = new Set(change.workloads.map((workload) => workload.uid));
    for (const workload of change.workloads) this.#put(workload);
    for (const uid of change.removedWorkloads) if (!replaced.has(uid)) this.#drop(uid);
  }

  #put(workload: Workload): void {
    const before = this.#identityOf.get(workload.uid);
    const after = workload.tunnelProtocol === 'hbone' && this.#isLocal(workload) ? workload.identity : undefined;
    if (before === after) return;
    if (after !== undefined) {
      const count = this.#counts.get(after) ?? 0;
      this.#counts.set(after, count + 1);
      if (count === 0) this.#secrets.want(after);
    }
    this.#drop(workload.uid);
    if (after !== undefined) this.#identityOf.set(workload.uid, after);
  }

  #drop(uid: string): void {
    const identity = this.#identityOf.get(uid);
    if (identity === undefined) return;
    this.#identityOf.delete(uid);
    const left = (this.#counts.get(identity) ?? 1) - 1;
    if (left > 0) {
      this.#counts.set(identity, left);
      return;
    }
    this.#counts.delete(identity);
    this.#secrets.forget(identity);
  }
}
