/**
 * Workloads by the node they run on, and by name on the nodes that somebody asks about by name: a proxy asks for its own,
 * so the names of all others need no index.
 */
import { GroupedIndex } from './grouped-index.ts';
import type { Workload } from './model.ts';

const uidOf = ({ uid }: Workload) => uid;
/** Nodes whose names are indexed at a time. The one first asked about gives way, and is indexed again when asked for. */
const mostNamedNodes = 8;

export class NodeIndex {
  readonly #byNode = new GroupedIndex<Workload>(uidOf);
  readonly #names = new Map<string, GroupedIndex<Workload>>();

  /** `old`: what it replaces. */
  put(workload: Workload, old: Workload | undefined): void {
    if (old !== undefined && old.node !== workload.node) this.#byNode.delete(old.node, old.uid);
    this.#byNode.set(workload.node, workload);
    if (old !== undefined && (old.node !== workload.node || old.name !== workload.name)) this.#unname(old);
    this.#names.get(workload.node)?.set(workload.name, workload);
  }

  remove(workload: Workload): void {
    this.#byNode.delete(workload.node, workload.uid);
    this.#unname(workload);
  }

  list(node: string): readonly Workload[] {
    return this.#byNode.list(node);
  }

  find(namespace: string, name: string, serviceAccount: string, node: string): Workload | undefined {
    for (const workload of this.#namesOf(node).list(name)) {
      if (workload.namespace === namespace && workload.serviceAccount === serviceAccount) return workload;
    }
    return undefined;
  }

  #namesOf(node: string): GroupedIndex<Workload> {
    const known = this.#names.get(node);
    if (known !== undefined) return known;
    const names = new GroupedIndex<Workload>(uidOf);
    for (const workload of this.list(node)) names.set(workload.name, workload);
    const [first] = this.#names.keys();
    if (this.#names.size >= mostNamedNodes && first !== undefined) this.#names.delete(first);
    this.#names.set(node, names);
    return names;
  }

  #unname({ node, name, uid }: Workload): void {
    this.#names.get(node)?.delete(name, uid);
  }
}
