/**
 * Whom a waypoint asks for its one certificate (docs/identity.md): itself on a desk, `ambit control` once it has joined
 * as this service account, or a CA that takes its service account token.
 */
import { existsSync } from 'node:fs';
import type { Clock } from '../base/clock.ts';
import { AmbitError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { MetricsRegistry } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import type { Identity } from '../base/spiffe.ts';
import { openAuthority } from '../identity/authority.ts';
import type { CaClient } from '../identity/ca-client.ts';
import { openControlCaClient } from '../identity/control-ca-client.ts';
import { createIstioCaClient } from '../identity/istio-ca-client.ts';
import { joinTokenSource } from '../identity/join.ts';
import { createOwnAuthorityClient } from '../identity/own-authority.ts';
import { SecretManager } from '../identity/secret-manager.ts';
import { createChannel } from '../rpc/channel.ts';
import { parseServerAddress, type RootsSource, type TextSource } from '../rpc/credentials.ts';
import type { WaypointProgramSettings } from './waypoint-settings.ts';

export interface IdentityDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
}

/** Rejects with an AmbitError that says which setting is at fault. */
export async function openWaypointSecrets(
  { variables }: WaypointProgramSettings,
  own: Identity,
  dependencies: IdentityDependencies,
): Promise<SecretManager> {
  const ca = await openCa(variables, own, dependencies);
  return new SecretManager({ ...dependencies, ca, ttlSeconds: Math.round(variables.SECRET_TTL / 1000) });
}

async function openCa(
  variables: WaypointProgramSettings['variables'],
  own: Identity,
  dependencies: IdentityDependencies,
): Promise<CaClient> {
  const { clock, random, logger } = dependencies;
  const { AMBIT_CA_DIR, AMBIT_JOIN_TOKEN, AMBIT_STATE_DIR, ALT_CA_HOSTNAME, KUBERNETES_SERVICE_HOST } = variables;
  const { trustDomain, namespace, serviceAccount } = own;
  if (AMBIT_CA_DIR !== undefined) {
    const authority = await openAuthority({ folder: AMBIT_CA_DIR, create: true, trustDomain, clock });
    return createOwnAuthorityClient(authority, logger);
  }
  const istiod = 'https://istiod.istio-system.svc:15012';
  const text = variables.CA_ADDRESS ?? (KUBERNETES_SERVICE_HOST === undefined ? 'https://localhost:15012' : istiod);
  const address = parseServerAddress(text);
  if (address === undefined || !address.tls) throw unusable(`CA_ADDRESS=${text}: must be https://host:port`);
  const channel = {
    address,
    roots: rootsSource(variables.CA_ROOT_CA),
    ...(ALT_CA_HOSTNAME === undefined ? {} : { alternativeNames: [ALT_CA_HOSTNAME] }),
  };
  if (AMBIT_JOIN_TOKEN !== undefined || AMBIT_STATE_DIR !== undefined) {
    if (AMBIT_STATE_DIR === undefined)
      throw unusable('AMBIT_STATE_DIR: the join credential needs a folder to be kept in');
    const token = AMBIT_JOIN_TOKEN === undefined ? undefined : joinTokenSource(AMBIT_JOIN_TOKEN);
    const name = { kind: 'waypoint', namespace, serviceAccount } as const;
    return await openControlCaClient(
      { name, trustDomain, stateFolder: AMBIT_STATE_DIR, token, clock, random, logger },
      channel,
    );
  }
  const token = tokenSource(variables.AUTH_TOKEN);
  const metadata = { clusterid: variables.CLUSTER_ID };
  return createIstioCaClient(createChannel({ ...channel, metadata, ...(token === undefined ? {} : { token }) }), false);
}

const tokenFile = './var/run/secrets/tokens/istio-token';

/** AUTH_TOKEN is a path or the token itself; without it, the place where Kubernetes puts one. */
function tokenSource(given: string | undefined): TextSource | undefined {
  if (given === undefined) return existsSync(tokenFile) ? { kind: 'file', path: tokenFile } : undefined;
  return existsSync(given) ? { kind: 'file', path: given } : { kind: 'text', text: given };
}

/** A path, PEM itself, or the word SYSTEM. */
function rootsSource(given: string): RootsSource {
  if (given === 'SYSTEM') return { kind: 'system' };
  return given.includes('-----BEGIN') ? { kind: 'text', text: given } : { kind: 'file', path: given };
}

function unusable(message: string): AmbitError {
  return new AmbitError(message, { code: 'WAYPOINT_SETTINGS', origin: 'local' });
}
