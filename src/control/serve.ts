/**
 * `ambit control` as a service: the certificate authority of a mesh without Kubernetes, on 15012. The only process of the
 * mesh that holds a CA key (design §7).
 */
import { join } from 'node:path';
import type { SocketAddress } from '../base/address.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { MetricsRegistry } from '../base/metrics.ts';
import { openAuthority } from '../identity/authority.ts';
import { atWallTime } from '../identity/wall-timer.ts';
import { type RouteFactory, startRpcServer } from '../rpc/server.ts';
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
  /** Services beside the CA, on the same port. */
  readonly routes?: readonly RouteFactory[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
}

export interface RunningControl {
  readonly address: SocketAddress;
  /** What proxies take as `CA_ROOT_CA`. */
  readonly caRootFile: string;
  readonly tokens: TokenStore;
  /** Lets running calls end. */
  close(): Promise<void>;
}

const drainMs = 5000;

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
      maxRequestBytes: 64 * 1024,
      maxCallsPerConnection: 100,
    },
    [certificateService(registrar, options.placement), ...joinService(registrar, tokens), ...(options.routes ?? [])],
  );
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
    caRootFile: join(folder, 'root-cert.pem'),
    tokens,
    async close() {
      closed = true;
      timer?.cancel();
      await server.close(drainMs);
    },
  };
}

/** The tokens of a control plane, running or not. */
export function openTokens(stateFolder: string, clock: Clock): Promise<TokenStore> {
  return TokenStore.open(join(stateFolder, 'tokens'), clock);
}
