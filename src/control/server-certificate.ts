/** The control plane's own TLS certificate, from its own authority, for the names it is reached by. */
import { isIP } from 'node:net';
import type { CertificateAuthority } from '../identity/authority.ts';
import { createKey } from '../identity/csr.ts';
import type { ServerMaterial } from '../rpc/server-credentials.ts';

const lifeMs = 7 * 86_400_000;

export interface ServerCertificate {
  readonly material: ServerMaterial;
  readonly notAfterMs: number;
}

/** `hosts`: DNS names and IP addresses, at least one. */
export async function issueServerCertificate(
  authority: CertificateAuthority,
  hosts: readonly string[],
): Promise<ServerCertificate> {
  const { keyPem, publicKey } = await createKey();
  const names = hosts.map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value }));
  const leaf = await authority.issue({ publicKey, names, lifeMs });
  const material = { keyPem, certPem: leaf.chainPem.join(''), clientRootsPem: authority.rootsPem };
  return { material, notAfterMs: leaf.notAfterMs };
}
