/**
 * Waiting on demand: until the mesh holds what a decision about a destination needs, or the control plane has said that
 * there is no such thing. Bounded in time and in turns: a name leads to a waypoint, a waypoint to its gateway, no further.
 */
import type { Clock } from '../base/clock.ts';
import type { AddressDemand } from '../mesh/demand.ts';
import type { Workload } from '../mesh/model.ts';
import type { MeshView } from '../mesh/view.ts';
import { demandedNames } from './demanded-names.ts';

const mostTurns = 4;
/** Of one workload at the same time: who scans addresses must not keep the others of its node from asking. */
const mostPerSource = 128;

export interface Asking {
  readonly mesh: MeshView;
  readonly demand: AddressDemand;
  readonly clock: Clock;
}

/** One for all connections of a process. */
export class DemandWaits {
  readonly #asking: Asking;
  /** By uid: a workload whose record was replaced is still the same one. */
  readonly #waiting = new Map<string, number>();

  constructor(asking: Asking) {
    this.#asking = asking;
  }

  /** Undefined: decide now, with what is known. Else why nothing can be decided, for a refusal. Never rejects. */
  async until(forMs: number, source: Workload, destinationIp: string): Promise<string | undefined> {
    if (demandedNames(this.#asking.mesh, source, destinationIp).length === 0) return undefined;
    const waiting = this.#waiting.get(source.uid) ?? 0;
    if (waiting >= mostPerSource) return `${waiting} connections of this workload wait for the control plane already`;
    this.#waiting.set(source.uid, waiting + 1);
    try {
      return await ask(this.#asking, source, destinationIp, forMs);
    } finally {
      const left = (this.#waiting.get(source.uid) ?? 1) - 1;
      if (left === 0) this.#waiting.delete(source.uid);
      else this.#waiting.set(source.uid, left);
    }
  }
}

async function ask(
  { mesh, demand, clock }: Asking,
  source: Workload,
  destinationIp: string,
  forMs: number,
): Promise<string | undefined> {
  const endMs = clock.nowMs() + forMs;
  for (let turn = 0; turn < mostTurns; turn++) {
    const names = demandedNames(mesh, source, destinationIp);
    if (names.length === 0) return undefined;
    const answer = await demand.need(names, Math.max(0, endMs - clock.nowMs()));
    if (answer === 'late') return `the control plane did not say within ${forMs} ms what ${names.join(', ')} is`;
    if (answer === 'unreadable') return `what the control plane sent of ${names.join(', ')} cannot be read`;
    if (answer === 'full') return `too many names are being asked of the control plane to ask for ${names.join(', ')}`;
  }
  // Answered, and some do not exist: the decision says what follows from that.
  return undefined;
}
