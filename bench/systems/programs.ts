/** The peers' programs: where they are, which version they say they are, and how to get them. */
import { runCommand } from '../../src/lab/command.ts';
import { findEnvoy } from '../../test/support/envoy.ts';
import { findProgram } from '../../test/support/programs.ts';

export type PeerName = 'envoy' | 'haproxy' | 'nginx';

export interface PeerProgram {
  readonly kind: 'found';
  readonly path: string;
  /** As it says itself: `1.40.0`. */
  readonly version: string;
}

export type PeerSearch =
  | PeerProgram
  /** `reason` holds the line that installs it. */
  | { readonly kind: 'missing'; readonly reason: string };

const packages = { haproxy: 'haproxy', nginx: 'nginx-light' } as const;
const versionFlags = { envoy: '--version', haproxy: '-v', nginx: '-v' } as const;

/** Never rejects. Envoy is installed by the first search of all, which needs the network: so not inside the lab. */
export async function findPeer(
  name: PeerName,
  find: (program: string) => string | undefined = findProgram,
): Promise<PeerSearch> {
  const found = name === 'envoy' ? await findEnvoy() : findPackaged(name, find);
  if (found.kind === 'missing') return found;
  const said = await runCommand([found.path, versionFlags[name]]);
  const version = /\b\d+\.\d+\.\d+\b/.exec(said.stdout + said.stderr)?.[0];
  if (version !== undefined) return { kind: 'found', path: found.path, version };
  return { kind: 'missing', reason: `${found.path} ${versionFlags[name]} names no version: ${said.reason}` };
}

function findPackaged(name: keyof typeof packages, find: (program: string) => string | undefined) {
  const path = find(name);
  if (path !== undefined) return { kind: 'found', path } as const;
  return {
    kind: 'missing',
    reason: `needs ${name}; as root run: apt-get install -y --no-install-recommends ${packages[name]}`,
  } as const;
}
