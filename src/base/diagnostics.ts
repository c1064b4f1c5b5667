/**
 * What is wrong with configuration, and where: `file:line:col code message`. Compilers collect these, never throw them.
 */

export type Severity = 'error' | 'warning' | 'info';

export interface SourcePosition {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
}

export interface Diagnostic {
  readonly severity: Severity;
  /** Stable, upper snake case: `ROUTE_UNKNOWN_BACKEND`. */
  readonly code: string;
  /** What is wrong and what to do about it, in one sentence. */
  readonly message: string;
  readonly position?: SourcePosition;
  /** `kind namespace/name` of the object it is about. */
  readonly object?: string;
}

export function formatDiagnostic(diagnostic: Diagnostic): string {
  const { position, severity, code, object, message } = diagnostic;
  const where = position === undefined ? '' : `${position.file}:${position.line}:${position.column} `;
  return `${where}${severity} ${code} ${object === undefined ? '' : `${object}: `}${message}`;
}

export function hasErrors(diagnostics: readonly Diagnostic[]): boolean {
  return diagnostics.some((diagnostic) => diagnostic.severity === 'error');
}
