/** The whole of a folder as one compilation: its objects compiled, its local files' records added. Pure. */
import type { Diagnostic } from '../base/diagnostics.ts';
import { type Compilation, compile } from '../compile/compile.ts';
import type { CompileOptions } from '../compile/options.ts';
import { folderDiagnostic } from './codes.ts';
import type { FolderScan } from './folder-files.ts';

export function compileFolder(scan: FolderScan, options: CompileOptions): Compilation {
  const files = [...scan.files];
  const compilation = compile(
    files.flatMap(([, { objects }]) => objects),
    options,
  );
  const diagnostics: Diagnostic[] = [...scan.diagnostics, ...files.flatMap(([, file]) => file.diagnostics)];
  if (files.every(([, { models }]) => models.length === 0)) {
    return { ...compilation, diagnostics: [...diagnostics, ...compilation.diagnostics] };
  }
  const workloads = new Map(compilation.workloads);
  const services = new Map(compilation.services);
  const policies = new Map(compilation.policies);
  for (const [file, { models }] of files) {
    const add = <T>(all: Map<string, T>, records: ReadonlyMap<string, T>) => {
      for (const [key, record] of records) {
        if (!all.has(key)) all.set(key, record);
        else
          diagnostics.push(folderDiagnostic('LOCAL_DUPLICATE', `${key} exists already`, { file, line: 1, column: 1 }));
      }
    };
    for (const model of models) {
      add(workloads, model.workloads);
      add(services, model.services);
      add(policies, model.policies);
    }
  }
  return { ...compilation, workloads, services, policies, diagnostics: [...diagnostics, ...compilation.diagnostics] };
}
