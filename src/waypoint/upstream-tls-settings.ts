/**
 * TLS towards the endpoints of one destination: what its DestinationRule says, else its BackendTLSPolicy. A rule that switches
 * TLS off does not undo a BackendTLSPolicy, which asks that nothing is sent in clear.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { ClientTlsPolicy } from '../route/destination.ts';
import type { L7Model } from '../route/model.ts';
import type { BackendTls, TlsCredential } from '../route/upstream-tls.ts';
import {
  materialFromFiles,
  materialFromPem,
  missingMaterial,
  type TlsMaterial,
  type TlsPem,
} from '../upstream/tls-material.ts';
import type { ServerName, UpstreamTls } from '../upstream/upstream-tls.ts';

export interface TlsSources {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly policy: ClientTlsPolicy | undefined;
  readonly backendTls: BackendTls | undefined;
  /** Of the ServiceEntry, where the rule names none. */
  readonly serverNames: readonly string[];
  /** Where credentials are looked for: the waypoint's. */
  readonly namespace: string;
}

type WrittenTls = Extract<ClientTlsPolicy, { mode: 'simple' | 'mutual' }>;

/** `name`: of the service, where no other is asked for. Undefined: no TLS. */
export function upstreamTls(sources: TlsSources, model: L7Model, name: string): UpstreamTls | undefined {
  const { policy, backendTls } = sources;
  switch (policy?.mode) {
    case 'simple':
    case 'mutual':
      return ofRule(policy, sources, model, name);
    case 'invalid':
      return broken(policy.reason);
    default:
      return backendTls === undefined ? undefined : ofBackendPolicy(backendTls);
  }
}

/** The same for a name that only the request gives. */
export function tlsForName(tls: UpstreamTls, hostname: string): UpstreamTls {
  if (!tls.sni?.startsWith('*.')) return tls;
  const names = tls.names.map((name) => (name.value === tls.sni ? { ...name, value: hostname } : name));
  return { ...tls, sni: hostname, names };
}

function ofRule(policy: WrittenTls, sources: TlsSources, model: L7Model, name: string): UpstreamTls {
  const sni = policy.sni ?? name;
  const listed = policy.subjectAltNames.length > 0 ? policy.subjectAltNames : sources.serverNames;
  const names: readonly ServerName[] =
    listed.length > 0 ? listed.map((value) => ({ kind: 'any', value })) : [{ kind: 'dns', value: sni }];
  const { skipVerify, ...found } = { skipVerify: policy.insecureSkipVerify, ...materialOf(policy, sources, model) };
  return { key: keyOf([policy, names, sni, found.key]), sni, names, skipVerify, material: found.material };
}

interface FoundMaterial {
  readonly material: TlsMaterial;
  /** Of what it is made of. */
  readonly key: string;
}

function materialOf(policy: WrittenTls, { clock, logger, namespace }: TlsSources, model: L7Model): FoundMaterial {
  const { credentialName } = policy;
  if (credentialName === undefined) {
    const { clientCertificate, privateKey, caCertificates, caCrl } = policy;
    const mutual = policy.mode === 'mutual';
    const paths = {
      certificate: mutual ? clientCertificate : undefined,
      key: mutual ? privateKey : undefined,
      authorities: caCertificates === 'system' ? undefined : caCertificates,
      revocations: caCrl,
    };
    const material = Object.values(paths).every((path) => path === undefined)
      ? materialFromPem(systemAlone)
      : materialFromFiles(paths, clock, logger);
    return { material, key: '' };
  }
  const { credentials } = model.backends;
  const name = `${namespace}/${credentialName.replace(/^kubernetes:\/\//, '')}`;
  const own = credentials.get(name);
  const authorities = own?.authorities ?? credentials.get(`${name}-cacert`)?.authorities;
  const problem = credentialProblem(policy.mode, name, own, authorities);
  if (problem !== undefined) return { material: missingMaterial(problem), key: problem };
  const mutual = policy.mode === 'mutual';
  const pem: TlsPem = {
    certificate: mutual ? own?.certificate : undefined,
    key: mutual ? own?.key?.reveal() : undefined,
    authorities,
    revocations: own?.revocations,
  };
  return { material: materialFromPem(pem), key: keyOf([pem]) };
}

function credentialProblem(
  mode: 'simple' | 'mutual',
  name: string,
  own: TlsCredential | undefined,
  authorities: string | undefined,
): string | undefined {
  if (own === undefined && authorities === undefined) return `there is no Secret ${name} with certificates`;
  if (mode === 'simple') return authorities === undefined ? `Secret ${name} has no ca.crt` : undefined;
  return own?.certificate === undefined || own.key === undefined
    ? `Secret ${name} has no certificate and key for MUTUAL`
    : undefined;
}

const systemAlone: TlsPem = { certificate: undefined, key: undefined, authorities: undefined, revocations: undefined };

function ofBackendPolicy(tls: BackendTls): UpstreamTls {
  if (tls.kind === 'invalid') return broken(tls.reason);
  const { hostname, authorities } = tls;
  const names = tls.names.length > 0 ? tls.names : [{ kind: 'dns', value: hostname } as const];
  const material = materialFromPem({ ...systemAlone, authorities });
  return { key: keyOf([hostname, names, authorities]), sni: hostname, names, skipVerify: false, material };
}

function broken(reason: string): UpstreamTls {
  return { key: keyOf([reason]), sni: undefined, names: [], skipVerify: false, material: missingMaterial(reason) };
}

/** Keys are among it: what is told of it is a digest. */
function keyOf(parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url');
}
