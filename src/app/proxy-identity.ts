/**
 * Whom a proxy asks for certificates (docs/identity.md): itself on a desk (AMBIT_CA_DIR), `ambit control` once it has
 * joined (AMBIT_JOIN_TOKEN, AMBIT_STATE_DIR), or a CA that takes its service account token, as istiod does.
 */
import process from 'node:process';
import type { Clock } from '../base/clock.ts';
import { AmbitError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { MetricsRegistry } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import type { CaClient } from '../identity/ca-client.ts';
import { openControlCaClient } from '../identity/control-ca-client.ts';
import { createIstioCaClient } from '../identity/istio-ca-client.ts';
import { type JoinCredential, joinTokenSource } from '../identity/join.ts';
import type { JoinName } from '../identity/join-name.ts';
import { SecretManager } from '../identity/secret-manager.ts';
import {
  checkTlsProfile,
  type TlsProfile,
  type TlsWishes,
  tlsProfile,
  tlsProfileFor,
} from '../identity/tls-context.ts';
import { createChannel } from '../rpc/channel.ts';
import { parseServerAddress } from '../rpc/credentials.ts';
import { caAddress, rootsSource, tokenSource } from './control-plane-trust.ts';

export interface IdentityDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
}

/** The variables of either proxy that have to do with certificates. */
export interface IdentityVariables {
  readonly CA_ADDRESS?: string | undefined;
  readonly CA_ROOT_CA: string;
  readonly ALT_CA_HOSTNAME?: string | undefined;
  readonly AUTH_TOKEN?: string | undefined;
  readonly SECRET_TTL: number;
  readonly KUBERNETES_SERVICE_HOST?: string | undefined;
  readonly AMBIT_CA_DIR?: string | undefined;
  readonly AMBIT_JOIN_TOKEN?: string | undefined;
  readonly AMBIT_STATE_DIR?: string | undefined;
}

export interface ProxyIdentity {
  readonly variables: IdentityVariables;
  readonly trustDomain: string;
  readonly clusterId: string;
  /** As whom it joins `ambit control`; a text: why it cannot. */
  readonly joinAs: JoinName | string;
  /** Sent with every request for a certificate; names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  /** It asks for other workloads' certificates than its own. */
  readonly impersonate: boolean;
  /** Left out: the mesh's own profile. */
  readonly tls?: TlsWishes;
}

export interface ProxySecrets {
  readonly secrets: SecretManager;
  /** Of a proxy that joins; closed with the manager. */
  readonly credential: JoinCredential | undefined;
}

/** Rejects with AmbitError `APP_IDENTITY` that says which setting is at fault. The caller closes the manager. */
export async function openProxySecrets(
  proxy: ProxyIdentity,
  dependencies: IdentityDependencies,
): Promise<ProxySecrets> {
  const profile = readProfile(proxy.tls);
  const { ca, credential } = await openCa(proxy, profile, dependencies);
  const ttlSeconds = Math.round(proxy.variables.SECRET_TTL / 1000);
  return { secrets: new SecretManager({ ...dependencies, ca, ttlSeconds, profile }), credential };
}

function readProfile(wishes: TlsWishes | undefined): TlsProfile {
  const profile = wishes === undefined ? tlsProfile : tlsProfileFor(wishes);
  try {
    checkTlsProfile(profile);
  } catch (error) {
    const lacks = `OpenSSL ${process.versions.openssl} of this Node cannot do it (${errorText(error)})`;
    throw unusable(`COMPLIANCE_POLICY, TLS12_ENABLED: ${lacks}`);
  }
  return profile;
}

async function openCa(
  proxy: ProxyIdentity,
  profile: TlsProfile,
  dependencies: IdentityDependencies,
): Promise<{ readonly ca: CaClient; readonly credential?: JoinCredential }> {
  const { variables, trustDomain, joinAs, clusterId, impersonate } = proxy;
  const { clock, random, logger } = dependencies;
  const { AMBIT_CA_DIR, AMBIT_JOIN_TOKEN, AMBIT_STATE_DIR, ALT_CA_HOSTNAME } = variables;
  if (AMBIT_CA_DIR !== undefined) {
    return { ca: await openOwnAuthority(AMBIT_CA_DIR, trustDomain, dependencies) };
  }
  const text = caAddress(variables);
  const address = parseServerAddress(text);
  if (address === undefined || !address.tls) throw unusable(`CA_ADDRESS=${text}: must be https://host:port`);
  const channel = {
    address,
    roots: rootsSource(variables.CA_ROOT_CA),
    ...(ALT_CA_HOSTNAME === undefined ? {} : { alternativeNames: [ALT_CA_HOSTNAME] }),
    ...(profile.ecdhCurve === undefined ? {} : { keyExchange: profile.ecdhCurve }),
  };
  if (AMBIT_JOIN_TOKEN !== undefined || AMBIT_STATE_DIR !== undefined) {
    if (typeof joinAs === 'string') throw unusable(joinAs);
    if (AMBIT_STATE_DIR === undefined) {
      throw unusable('AMBIT_STATE_DIR: the join credential needs a folder to be kept in');
    }
    const token = AMBIT_JOIN_TOKEN === undefined ? undefined : joinTokenSource(AMBIT_JOIN_TOKEN);
    const join = { name: joinAs, trustDomain, stateFolder: AMBIT_STATE_DIR, token, clock, random, logger };
    const ca = await openControlCaClient(join, channel);
    return { ca, credential: ca.credential };
  }
  const token = tokenSource(variables.AUTH_TOKEN);
  const metadata = { ...proxy.headers, clusterid: clusterId };
  const withToken = token === undefined ? {} : { token };
  return { ca: createIstioCaClient(createChannel({ ...channel, metadata, ...withToken }), impersonate) };
}

/** Loaded by those who sign alone: see `identity/x509.ts`. */
async function openOwnAuthority(
  folder: string,
  trustDomain: string,
  { clock, logger }: IdentityDependencies,
): Promise<CaClient> {
  const { openAuthority } = await import('../identity/authority.ts');
  const { createOwnAuthorityClient } = await import('../identity/own-authority.ts');
  return createOwnAuthorityClient(await openAuthority({ folder, create: true, trustDomain, clock }), logger);
}

function unusable(message: string): AmbitError {
  return new AmbitError(message, { code: 'APP_IDENTITY', origin: 'local' });
}
