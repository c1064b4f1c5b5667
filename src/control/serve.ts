/**
 * `ambit control` as a service: the certificate authority of a mesh without Kubernetes, on 15012, and discovery of that mesh
 * for those who joined. The only process of the mesh that holds a CA key (design §7).
 */
import { join } from 'node:path';
import type { SocketAddress } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { MetricsRegistry } from '../base/metrics.ts';
import { openAuthority } from '../identity/authority.ts';
import { atWallTime } from '../identity/wall-timer.ts';
import { type RouteFactory, type RpcServer, startRpcServer } from '../rpc/server.ts';
import { type DeltaServerOptions, deltaRoute } from '../xds/delta-server.ts';
import type { ServedMesh } from '../xds/served-mesh.ts';
import { certificateService } from './certificate-service.ts';
import { joinService } from './join-service.ts';
import type { Placement } from './placement.ts';
import { Registrar } from './registrar.ts';
import { issueServerCertificate } from './server-certificate.ts';
import { TokenStore } from './tokens.ts';

export interface ControlOptions {
  readonly listen: SocketAddress;
  /** Names and addresses proxies reach it by, besides localhost. */
  readonly hosts: readonly string[];
  readonly trustDomain: string;
  /** Tokens, and the authority when `authorityFolder` is not given. */
  readonly stateFolder: string;
  /** `AMBIT_CA_DIR`: a folder with Istio's file names, never made here. */
  readonly authorityFolder: string | undefined;
  readonly placement: Placement;
  /** What discovery tells of, closed with the service; undefined: there is none. */
  readonly mesh?: ServedMesh;
  /** Discovery in clear as well, to anybody on this machine. */
  readonly plaintextPort?: number | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
}

export interface RunningControl {
  readonly address: SocketAddress;
  readonly plaintextAddress: SocketAddress | undefined;
  /** What proxies take as `CA_ROOT_CA`. */
  readonly caRootFile: string;
  readonly tokens: TokenStore;
  /** Lets running calls end. */
  close(): Promise<void>;
}

const drainMs = 5000;
/** A certificate request is small; with discovery comes a list of all that a proxy knows already. */
const maxRequestBytes = 64 * 1024;
const maxDiscoveryRequestBytes = 4 * 2 ** 20;

/** Rejects with an AmbitError when the authority is unusable or the address cannot be bound. */
export async function startControl(options: ControlOptions): Promise<RunningControl> {
  const { trustDomain, clock, logger, metrics, stateFolder, authorityFolder } = options;
  const folder = authorityFolder ?? join(stateFolder, 'ca');
  const authority = await openAuthority({ folder, create: authorityFolder === undefined, trustDomain, clock });
  const tokens = await openTokens(stateFolder, clock);
  const registrar = new Registrar({ authority, trustDomain, clock, logger, metrics });
  const hosts = [...new Set(['localhost', '127.0.0.1', '::1', ...options.hosts])];
  const first = await issueServerCertificate(authority, hosts);
  const server = await startRpcServer(
    {
      listen: options.listen,
      tls: first.material,
      clock,
      logger,
      maxRequestBytes: options.mesh === undefined ? maxRequestBytes : maxDiscoveryRequestBytes,
      maxCallsPerConnection: 100,
    },
    [
      certificateService(registrar, options.placement),
      ...joinService(registrar, tokens),
      ...discovery(options, ({ caller }) =>
        registrar.memberOf(caller) === undefined ? 'no join credential was shown' : undefined,
      ),
    ],
  );
  const plaintext = await startPlaintext(options);
  let timer: Timer | undefined;
  let closed = false;
  const renewAtHalfOf = (notAfterMs: number) => {
    const nowMs = clock.wallMs();
    timer = atWallTime(clock, nowMs + Math.max(60_000, (notAfterMs - nowMs) / 2), () => void renew(notAfterMs));
  };
  const renew = async (presentNotAfterMs: number) => {
    let notAfterMs = presentNotAfterMs;
    try {
      const next = await issueServerCertificate(authority, hosts);
      server.replaceMaterial(next.material);
      notAfterMs = next.notAfterMs;
    } catch (error) {
      logger.error('the server certificate was not renewed', { reason: errorText(error) });
    }
    if (!closed) renewAtHalfOf(notAfterMs);
  };
  renewAtHalfOf(first.notAfterMs);
  return {
    address: server.address,
    plaintextAddress: plaintext?.address,
    caRootFile: join(folder, 'root-cert.pem'),
    tokens,
    async close() {
      closed = true;
      timer?.cancel();
      options.mesh?.close();
      await Promise.all([server.close(drainMs), plaintext?.close(drainMs)]);
    },
  };
}

/** Bound to loopback: whoever may ask is on this machine, where the folder can be read. */
async function startPlaintext(options: ControlOptions): Promise<RpcServer | undefined> {
  const { plaintextPort: port, clock, logger } = options;
  if (port === undefined) return undefined;
  const listen = { ip: '127.0.0.1', port };
  return await startRpcServer(
    { listen, tls: undefined, clock, logger, maxRequestBytes: maxDiscoveryRequestBytes, maxCallsPerConnection: 100 },
    discovery(options, () => undefined),
  );
}

function discovery(
  { mesh, clock, logger }: ControlOptions,
  admits: DeltaServerOptions['admits'],
): readonly RouteFactory[] {
  return mesh === undefined ? [] : [deltaRoute({ mesh, clock, logger: logger.topic('xds'), admits })];
}

/** The tokens of a control plane, running or not. */
export function openTokens(stateFolder: string, clock: Clock): Promise<TokenStore> {
  return TokenStore.open(join(stateFolder, 'tokens'), clock);
}
