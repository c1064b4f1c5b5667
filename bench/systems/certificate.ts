/** Certificates of the mesh's own authority for peers that join no mesh by themselves. */
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { LabMesh } from '../../src/app/lab-mesh.ts';
import { systemClock } from '../../src/base/clock.ts';
import { type CertificateAuthority, openAuthority } from '../../src/identity/authority.ts';

export const trustDomain = 'cluster.local';

export interface CertificateFiles {
  /** Chain, then key, as haproxy wants them in one file. */
  readonly combined: string;
  readonly chain: string;
  readonly key: string;
  readonly roots: string;
}

/** The authority of a mesh whose control plane runs. */
export function authorityOf(mesh: LabMesh): Promise<CertificateAuthority> {
  const folder = path.dirname(mesh.trustRootFile);
  return openAuthority({ folder, create: false, trustDomain, clock: systemClock });
}

/** A P-256 certificate of one day for `spiffe://…/ns/default/sa/ACCOUNT`, in files that go with the lab. */
export async function writeCertificate(
  authority: CertificateAuthority,
  { lab, trustRootFile }: LabMesh,
  serviceAccount: string,
): Promise<CertificateFiles> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { chainPem } = await authority.issue({
    publicKey: createPublicKey(privateKey).export({ type: 'spki', format: 'der' }),
    names: [{ type: 'url', value: spiffeOf(serviceAccount) }],
    lifeMs: 86_400_000,
  });
  const chain = `${chainPem.join('\n')}\n`;
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const write = (suffix: string, text: string) => {
    const file = path.join(lab.directory, `${serviceAccount}-${suffix}.pem`);
    writeFileSync(file, text, { mode: 0o600 });
    return file;
  };
  return {
    combined: write('combined', chain + key),
    chain: write('chain', chain),
    key: write('key', key),
    roots: trustRootFile,
  };
}

export function spiffeOf(serviceAccount: string): string {
  return `spiffe://${trustDomain}/ns/default/sa/${serviceAccount}`;
}
