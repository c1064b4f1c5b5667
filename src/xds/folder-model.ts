/** The whole of a folder as one compilation: its objects compiled, its local files' records added. Pure. */
import type { Diagnostic } from '../base/diagnostics.ts';
import { completed } from '../base/slices.ts';
import { type Compilation, Compiler } from '../compile/compile.ts';
import type { ConfigObject } from '../compile/object.ts';
import type { CompileOptions } from '../compile/options.ts';
import { folderDiagnostic } from './codes.ts';
import type { DiscoveredMesh } from './discovered-mesh.ts';
import { discoveredFile } from './discovered-objects.ts';
import type { FolderScan } from './folder-files.ts';

export function compileFolder(scan: FolderScan, options: CompileOptions): Compilation {
  return completed(folderSteps(scan, new Compiler(options)));
}

/** Yields where it may pause. */
export function* folderSteps(scan: FolderScan, compiler: Compiler): Generator<undefined, Compilation> {
  const files = [...scan.files.values()];
  const compilation = yield* compiler.steps(files.map(({ objects }) => objects));
  const diagnostics: Diagnostic[] = [...scan.diagnostics, ...files.flatMap((file) => file.diagnostics)];
  if (files.every(({ models }) => models.length === 0)) {
    return { ...compilation, diagnostics: [...diagnostics, ...compilation.diagnostics] };
  }
  const workloads = new Map(compilation.workloads);
  const services = new Map(compilation.services);
  const policies = new Map(compilation.policies);
  for (const [file, { models }] of scan.files) {
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

/** Kinds that say what the mesh is. */
const meshKinds = new Set([
  'Namespace',
  'Pod',
  'Service',
  'EndpointSlice',
  'ServiceAccount',
  'ServiceEntry',
  'WorkloadEntry',
]);

/**
 * The rules of a folder for a mesh that comes from elsewhere: what the folder says of the mesh itself is left out. The mesh is
 * looked at now, before the first step.
 */
export function ruleSteps(
  scan: FolderScan,
  mesh: DiscoveredMesh,
  compiler: Compiler,
): Generator<undefined, Compilation> {
  const { namespace, name } = mesh.gateway;
  const diagnostics: Diagnostic[] = [...scan.diagnostics];
  const objects: ConfigObject[] = [...mesh.objects()];
  const leftOut = new Set<string>();
  for (const [file, content] of scan.files) {
    diagnostics.push(...content.diagnostics);
    for (const object of content.objects) {
      const { kind, metadata } = object;
      const isOwn = kind === 'Gateway' && metadata.namespace === namespace && metadata.name === name;
      if (!meshKinds.has(kind)) {
        if (!isOwn) objects.push(object);
      } else if (!leftOut.has(kind)) {
        leftOut.add(kind);
        const position = object.at([]) ?? { file, line: 1, column: 1 };
        diagnostics.push(folderDiagnostic('MESH_ELSEWHERE', `${kind} comes from the control plane`, position));
      }
    }
    if (content.models.length > 0) {
      const message = 'workloads and services come from the control plane';
      diagnostics.push(folderDiagnostic('MESH_ELSEWHERE', message, { file, line: 1, column: 1 }));
    }
  }
  return compiledRules(objects, diagnostics, compiler);
}

function* compiledRules(
  objects: readonly ConfigObject[],
  diagnostics: readonly Diagnostic[],
  compiler: Compiler,
): Generator<undefined, Compilation> {
  const compilation = yield* compiler.steps([objects]);
  const ofFolder = compilation.diagnostics.filter(({ position }) => position?.file !== discoveredFile);
  return { ...compilation, diagnostics: [...diagnostics, ...ofFolder] };
}
