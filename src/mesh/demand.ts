/** Asking for parts of the mesh that are not known because nobody needed them yet (XDS_ON_DEMAND). */
export interface AddressDemand {
  /**
   * Asks for each key (`network/ip`, a workload's uid, `namespace/hostname`) and waits until every one was answered and the
   * mesh holds what exists, at most `forMs`. `full`: too many are asked for already, nothing was asked. Never rejects.
   */
  need(keys: readonly string[], forMs: number): Promise<'answered' | 'late' | 'full'>;
}
