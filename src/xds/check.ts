/** What is wrong with a configuration folder: the whole of `ambit check DIR`. */
import { systemClock } from '../base/clock.ts';
import type { Diagnostic } from '../base/diagnostics.ts';
import { errorCode, errorText } from '../base/errors.ts';
import type { CompileOptions } from '../compile/options.ts';
import type { RouteStatus } from '../compile/route-status.ts';
import { routeStatuses } from '../compile/route-statuses.ts';
import { folderDiagnostic } from './codes.ts';
import { FolderFiles } from './folder-files.ts';
import { compileFolder } from './folder-model.ts';

/** In order of place. A folder that cannot be read is a diagnostic too. */
export async function checkFolder(directory: string, options: CompileOptions): Promise<readonly Diagnostic[]> {
  return (await checkRoutes(directory, options)).diagnostics;
}

/** The same with what became of every route. */
export async function checkRoutes(
  directory: string,
  options: CompileOptions,
): Promise<{ readonly diagnostics: readonly Diagnostic[]; readonly statuses: readonly RouteStatus[] }> {
  const files = new FolderFiles(directory, systemClock);
  try {
    const { diagnostics, routes } = compileFolder(await files.scan(), options);
    return { diagnostics: diagnostics.toSorted(byPlace), statuses: routeStatuses(routes) };
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    const position = { file: directory, line: 1, column: 1 };
    return { diagnostics: [folderDiagnostic('FOLDER_UNREADABLE', errorText(error), position)], statuses: [] };
  }
}

function byPlace(a: Diagnostic, b: Diagnostic): number {
  const [x, y] = [a.position, b.position];
  if (x === undefined || y === undefined) return Number(x !== undefined) - Number(y !== undefined);
  return x.file < y.file ? -1 : x.file > y.file ? 1 : x.line - y.line || x.column - y.column;
}
