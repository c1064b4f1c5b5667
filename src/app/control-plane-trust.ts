/** Where a control plane is when nobody says, what it must prove, and what it is shown: roots and tokens, as files or as themselves. */
import { existsSync } from 'node:fs';
import type { RootsSource, TextSource } from '../rpc/credentials.ts';

/** In a cluster. */
export const istiodAddress = 'https://istiod.istio-system.svc:15012';

/** Where certificates come from, as it was written. */
export function caAddress(variables: {
  readonly CA_ADDRESS?: string | undefined;
  readonly KUBERNETES_SERVICE_HOST?: string | undefined;
}): string {
  const { CA_ADDRESS, KUBERNETES_SERVICE_HOST: cluster } = variables;
  return CA_ADDRESS ?? (cluster === undefined ? 'https://localhost:15012' : istiodAddress);
}

const tokenFile = './var/run/secrets/tokens/istio-token';

/** AUTH_TOKEN is a path or the token itself; without it, the place where Kubernetes puts one. */
export function tokenSource(given: string | undefined): TextSource | undefined {
  if (given === undefined) return existsSync(tokenFile) ? { kind: 'file', path: tokenFile } : undefined;
  return existsSync(given) ? { kind: 'file', path: given } : { kind: 'text', text: given };
}

/** A path, PEM itself, or the word SYSTEM. */
export function rootsSource(given: string): RootsSource {
  if (given === 'SYSTEM') return { kind: 'system' };
  return given.includes('-----BEGIN') ? { kind: 'text', text: given } : { kind: 'file', path: given };
}
