/** What a system of the bench says of itself before it runs, and what it is given to start. */
import type { LabMesh } from '../../src/app/lab-mesh.ts';
import type { PortName, System } from '../model.ts';
import type { CertificateFiles } from './certificate.ts';
import type { KubernetesObject, Places } from './objects.ts';
import type { PeerName, PeerProgram } from './programs.ts';

export interface Definition extends Pick<System, 'key' | 'name' | 'layer' | 'ours'> {
  readonly serves: readonly PortName[];
  /** Programs of others that it cannot be without. */
  readonly needs: readonly PeerName[];
  /** Programs of the mesh that it cannot be without. */
  readonly uses: { readonly ztunnels: boolean; readonly waypoint?: 'ours' | 'peer' };
  /** Its part of the mesh. */
  readonly objects: (places: Places) => readonly KubernetesObject[];
  /** Resolves when its proxies serve; the lab stops them. The origin runs already. */
  readonly start: (context: StartContext) => Promise<Started>;
}

export interface StartContext {
  readonly mesh: LabMesh;
  readonly places: Places;
  readonly peer: (name: PeerName) => PeerProgram;
  /** A certificate of the mesh's authority for a pod's service account. */
  readonly certificateOf: (serviceAccount: string) => Promise<CertificateFiles>;
}

/** What is known of a system once it runs. */
export type Started = Pick<System, 'host' | 'settings' | 'proxies'>;

export const everyPort: readonly PortName[] = ['http', 'h2c', 'echo', 'bulk'];
