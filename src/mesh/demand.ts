export type DemandOutcome = 'answered' | 'late' | 'full' | 'unreadable';

/** Asking for parts of the mesh that are not known because nobody needed them yet (XDS_ON_DEMAND). */
export interface AddressDemand {
  /**
   * Asks for each key (`network/ip`, a workload's uid, `namespace/hostname`) and waits until every one was answered and the
   * mesh holds what exists, at most `forMs`. `full`: too many are asked for already, nothing was asked. `unreadable`: one of them exists, and the mesh cannot hold
   * it. Never rejects.
   */
  need(keys: readonly string[], forMs: number): Promise<DemandOutcome>;
}
