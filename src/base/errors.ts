/**
 * The one error class. It says where a fault arose, whether trying again may help, and which response flag stands for it
 * in logs and metrics. Expected outcomes (denied, no route) are values, not errors (design rule 2).
 */

export type ErrorOrigin = 'downstream' | 'upstream' | 'local';

/** `never`: the request may have had an effect. `unsent`: the peer did not process it, another try is safe. */
export type RetryAdvice = 'never' | 'unsent';

/** Bounded set for logs and metrics: ztunnel's flags, see reference of `istio_tcp_*` `response_flags`. */
export type ResponseFlag =
  | '-'
  | 'DENY'
  | 'CONNECT'
  | 'TLS_FAILURE'
  | 'H2_HANDSHAKE_FAILURE'
  | 'NETWORK_POLICY'
  | 'IDENTITY_ERROR'
  | 'CERT_REVOKED';

export interface AmbitErrorOptions {
  /** Stable, upper snake case, room first: `HBONE_CONNECT_TIMEOUT`. Listed in docs/errors.md. */
  readonly code: string;
  readonly origin: ErrorOrigin;
  readonly retry?: RetryAdvice;
  readonly flag?: ResponseFlag;
  readonly cause?: unknown;
}

export class AmbitError extends Error {
  override readonly name = 'AmbitError';
  readonly code: string;
  readonly origin: ErrorOrigin;
  readonly retry: RetryAdvice;
  readonly flag: ResponseFlag;

  /** `message` is for the operator: what failed, where, and what to do when that is known. */
  constructor(message: string, options: AmbitErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = options.code;
    this.origin = options.origin;
    this.retry = options.retry ?? 'never';
    this.flag = options.flag ?? '-';
  }
}

/** The text of any thrown value, with the texts of its causes. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${errorText(error.cause)}`;
}

/** `code` of a Node or Ambit error, or undefined. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
