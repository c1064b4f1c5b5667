/** The record of what was applied, in memory; what is kept has been through JSON, as in a file. */
import type { RedirectState, StateStore } from '../../../src/redirect/state-store.ts';

export interface MemoryStore extends StateStore {
  readonly records: Map<string, RedirectState>;
}

export function createMemoryStore(): MemoryStore {
  const records = new Map<string, RedirectState>();
  return {
    records,
    location: (program) => `memory of ${program}`,
    load: async (program) => records.get(program),
    save: async (state) => void records.set(state.program, JSON.parse(JSON.stringify(state))),
    clear: async (program) => void records.delete(program),
  };
}
