/** A proxy's client of its control plane, from settings (docs/xds.md). */
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { MetricsRegistry } from '../base/metrics.ts';
import type { Random } from '../base/random.ts';
import { joinedChannel } from '../identity/control-ca-client.ts';
import type { JoinCredential } from '../identity/join.ts';
import type { AddressDemand } from '../mesh/demand.ts';
import type { MeshStore } from '../mesh/store.ts';
import { type ChannelOptions, createChannel } from '../rpc/channel.ts';
import { DeltaClient } from '../xds/delta-client.ts';
import { OnDemand } from '../xds/on-demand.ts';
import type { ResourceType } from '../xds/resource-types.ts';
import { xdsMetrics } from '../xds/xds-metrics.ts';
import type { ControlPlaneSettings } from './control-plane-settings.ts';

export interface MeshSourceDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  /** With which this proxy has joined, if it has. */
  readonly credential: JoinCredential | undefined;
}

export interface ControlPlane {
  readonly client: DeltaClient;
  /** Undefined: everything is subscribed to. */
  readonly demand: AddressDemand | undefined;
}

/** istiod's largest states are some tens of megabytes; ztunnel's own limit. */
const maxResponseBytes = 200 * 2 ** 20;

/** Not started. Whoever opens it closes the client. `types`: both unless told. */
export function openControlPlane(
  settings: ControlPlaneSettings,
  store: MeshStore,
  unreadablePolicy: 'deny' | 'skip',
  { clock, random, logger, metrics, credential }: MeshSourceDependencies,
  types?: readonly ResourceType[],
): ControlPlane {
  const { address, roots, alternativeNames, token, metadata, node, keyExchange } = settings;
  const options: ChannelOptions = {
    address,
    roots,
    alternativeNames,
    metadata,
    maxReceiveBytes: maxResponseBytes,
    ...(token === undefined ? {} : { token }),
    ...(keyExchange === undefined ? {} : { keyExchange }),
  };
  const joined = settings.asMember ? credential : undefined;
  const channel = joined === undefined ? createChannel(options) : joinedChannel(joined, options);
  if (!address.tls) logger.warn('the control plane is asked in clear, without a token: anyone in between may answer');
  const onDemand = settings.onDemand ? new OnDemand(clock, () => client.flushDemand()) : undefined;
  const client = new DeltaClient({
    channel,
    node,
    store,
    types,
    unreadablePolicy,
    metrics: xdsMetrics(metrics),
    clock,
    random,
    logger: logger.topic('xds'),
    ...(onDemand === undefined ? {} : { onDemand }),
  });
  return { client, demand: onDemand };
}
