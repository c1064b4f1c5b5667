/** An Extension as it is compiled, of which a test says only what it is about. */
import type { ExtensionRecord } from '../../src/route/extension.ts';

export function extensionRecord(fields: Partial<ExtensionRecord> = {}): ExtensionRecord {
  return {
    source: { kind: 'Extension', namespace: 'default', name: 'e' },
    module: 'e.ts',
    phase: 'last',
    priority: 0,
    config: undefined,
    failureMode: 'closed',
    deadlineMs: 1,
    memoryBytes: 1,
    maxHeldBytes: 1,
    broken: undefined,
    ...fields,
  };
}
