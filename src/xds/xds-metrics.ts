/** What a delta client counts: ztunnel's three families (ztunnel.md §8.1), and what it cannot be seen by without. */
import type { Counter, Gauge, MetricsRegistry } from '../base/metrics.ts';
import type { TerminationReason } from './reconnect-decision.ts';
import { addressType, authorizationType, type ResourceType } from './resource-types.ts';

export interface TypeMetrics {
  readonly messages: Counter;
  readonly bytes: Counter;
  readonly refused: Counter;
  readonly held: Gauge;
}

export interface XdsMetrics {
  readonly terminations: Readonly<Record<TerminationReason, Counter>>;
  readonly connected: Gauge;
  readonly unknownTypes: Counter;
  type(typeUrl: ResourceType): TypeMetrics;
}

export function xdsMetrics(registry: MetricsRegistry): XdsMetrics {
  const ended = (reason: TerminationReason) =>
    registry.counter('istio_xds_connection_terminations_total', 'Streams from the control plane that ended.', {
      reason,
    });
  const types: Readonly<Record<ResourceType, TypeMetrics>> = {
    [addressType]: typeMetrics(registry, addressType),
    [authorizationType]: typeMetrics(registry, authorizationType),
  };
  return {
    terminations: {
      ConnectionError: ended('ConnectionError'),
      Error: ended('Error'),
      Reconnect: ended('Reconnect'),
      Complete: ended('Complete'),
    },
    connected: registry.gauge('ambit_xds_connected', '1 while there is a stream from the control plane.'),
    unknownTypes: registry.counter('ambit_xds_unknown_types_total', 'Responses of a type that was not asked for.'),
    type: (typeUrl) => types[typeUrl],
  };
}

function typeMetrics(registry: MetricsRegistry, url: ResourceType): TypeMetrics {
  return {
    messages: registry.counter('istio_xds_message_total', 'Responses of the control plane.', { url }),
    bytes: registry.counter('istio_xds_message_bytes_total', 'Bytes of the responses of the control plane.', { url }),
    refused: registry.counter('ambit_xds_nacks_total', 'Responses refused in whole or in part.', { url }),
    held: registry.gauge('ambit_xds_resources', 'Resources of the control plane that are in force.', { url }),
  };
}
