/** Everything one run found out, as it is written to JSON and as all reports are made of. Plain data. */
import type { Measured } from '../measure.ts';
import type { Load, MissingSystem, System } from '../model.ts';
import type { Verdict } from '../targets.ts';
import type { Accounting } from '../usage.ts';
import type { Machine } from './machine.ts';

export type SystemRecord = Pick<System, 'key' | 'name' | 'layer' | 'ours' | 'settings'>;
export type LoadRecord = Pick<Load, 'key' | 'name' | 'unit' | 'fixedRate'>;

export interface RunRecord extends Measured {
  /** ISO 8601, UTC: when it began. */
  readonly date: string;
  readonly machine: Machine;
  readonly accounting: Accounting;
  readonly seconds: number;
  readonly repeats: number;
  readonly quick: boolean;
  readonly systems: readonly SystemRecord[];
  readonly missing: readonly MissingSystem[];
  readonly loads: readonly LoadRecord[];
  readonly verdicts: readonly Verdict[];
}

/** What one of ours is held against: no proxy, the others' of its layer, and those of ours that stand before it. */
export function peersOf(system: SystemRecord, systems: readonly SystemRecord[]): readonly SystemRecord[] {
  const at = systems.indexOf(system);
  return systems.filter(
    ({ layer, ours }, index) => layer === 'none' || (layer === system.layer && (!ours || index < at)),
  );
}
