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

/** Undefined: decide now, with what is known. Else why nothing can be decided, for a refusal. Never rejects. */
export async function awaitDemanded(
  { mesh, demand, clock }: { readonly mesh: MeshView; readonly demand: AddressDemand; readonly clock: Clock },
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
    if (answer === 'full') return `too many names are being asked of the control plane to ask for ${names.join(', ')}`;
  }
  // Answered, and some do not exist: the decision says what follows from that.
  return undefined;
}
