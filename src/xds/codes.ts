/** Diagnostics of reading a folder, beside those of YAML and of compiling: with them, the table of docs/configuration.md. */
import type { Diagnostic, Severity, SourcePosition } from '../base/diagnostics.ts';

export const folderCodes = {
  FOLDER_UNREADABLE: { severity: 'error', meaning: 'the folder cannot be read; the last good state stays in force' },
  FOLDER_TOO_LARGE: {
    severity: 'error',
    meaning: 'the folder has more files than the limit; those beyond it are not read',
  },
  FILE_UNREADABLE: { severity: 'error', meaning: 'the file cannot be read; its last good content stays in force' },
  LAST_GOOD_KEPT: {
    severity: 'warning',
    meaning: 'because of an error the earlier version of the file or object stays in force',
  },
  LOCAL_INVALID: {
    severity: 'error',
    meaning: 'a local file (workloads, services, policies) has a wrong or unknown key',
  },
  LOCAL_DUPLICATE: { severity: 'error', meaning: 'a record of a local file exists already; the first is used' },
  MESH_ELSEWHERE: {
    severity: 'info',
    meaning: 'the mesh comes from a control plane; what the folder says of it is not used, said once per kind',
  },
} as const satisfies Readonly<Record<string, { readonly severity: Severity; readonly meaning: string }>>;

export function folderDiagnostic(
  code: keyof typeof folderCodes,
  message: string,
  position: SourcePosition,
  object?: string,
): Diagnostic {
  const { severity } = folderCodes[code];
  return { severity, code, message, position, ...(object === undefined ? {} : { object }) };
}
