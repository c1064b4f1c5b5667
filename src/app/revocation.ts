/** Revocation lists of a proxy: CRL_PATH, read before anybody is let in. */
import { Revocation } from '../identity/revocation.ts';
import { RevocationFile } from '../identity/revocation-file.ts';
import type { IdentityDependencies } from './proxy-identity.ts';

export interface OpenedRevocation {
  readonly checker: Revocation;
  /** What readiness waits for. */
  pending(): readonly string[];
}

/** Undefined: nobody asked for revocation lists. Resolves after the first attempt to read them. */
export async function openRevocation(
  variables: { readonly CRL_PATH?: string | undefined; readonly AMBIT_CRL_REQUIRED: boolean },
  { clock, logger: parent, metrics }: Omit<IdentityDependencies, 'random'>,
): Promise<OpenedRevocation | undefined> {
  const { CRL_PATH: path, AMBIT_CRL_REQUIRED: required } = variables;
  if (path === undefined) return undefined;
  const logger = parent.topic('crl');
  const checker = new Revocation({ required, logger, metrics });
  await new RevocationFile({ path, revocation: checker, clock, logger, metrics }).start();
  return { checker, pending: () => (required && !checker.known ? ['revocation lists'] : []) };
}
