/**
 * What every applier is handed: where commands run, what was saved of former settings, and the list of things to undo.
 * I1: whoever is about to change something registers its undoing first.
 */

import type { IptablesBackend } from './iptables-backend.ts';
import type { Runner } from './runner.ts';

export type Undo = () => Promise<void>;

export interface ApplyContext {
  readonly runner: Runner;
  /** Asked for only when there are iptables rules to write; the answer stays the same. */
  backend(): Promise<IptablesBackend>;
  /** Run in reverse when a later step fails. */
  readonly undo: Undo[];
  /** Former values of settings, by `up:DEVICE` or path below /proc/sys; persisted by `persist` before the change. */
  readonly saved: Map<string, string>;
  persist(): Promise<void>;
  /** Whether what bears our names was made by us, as the state file says; if not, it is never overwritten. */
  readonly ours: boolean;
}
