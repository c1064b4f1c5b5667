/** Puts the DNS proxy together from the program's settings. */
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { MetricsRegistry } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import { DnsProxy } from '../dns/proxy.ts';
import { ResolvConf } from '../dns/resolv-conf.ts';
import type { MeshView } from '../mesh/view.ts';
import type { ZtunnelProgramSettings } from './ztunnel-settings.ts';

export interface DnsDependencies {
  readonly mesh: MeshView;
  readonly clock: Clock;
  readonly random: Random;
  readonly metrics: MetricsRegistry;
  readonly logger: Logger;
}

/** Undefined: DNS is left alone, which is the older preset's way. */
export function createDns(settings: ZtunnelProgramSettings, dependencies: DnsDependencies): DnsProxy | undefined {
  const { dns: listen, variables, mode, preset } = settings;
  if (listen === undefined || preset.capture === 'node') return undefined;
  const { clock } = dependencies;
  const logger = dependencies.logger.topic('dns');
  const file = new ResolvConf(variables.AMBIT_RESOLV_CONF, clock, logger);
  return new DnsProxy({
    ...dependencies,
    logger,
    listen,
    upstream: () => file.current,
    rules: {
      clusterDomain: variables.CLUSTER_DOMAIN.toLowerCase().replace(/\.$/, ''),
      // One workload's own file has its own search domains; a node's pods have Kubernetes'.
      searchDomains: mode.kind === 'dedicated' ? file.current.searchDomains : undefined,
      preferredNamespace: variables.PREFERED_SERVICE_NAMESPACE,
      ipv6: variables.IPV6_ENABLED,
    },
  });
}
