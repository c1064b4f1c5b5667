/**
 * Envoy in a waypoint's place, as Istio configures it: the tunnel ends at one listener and goes on, with whose it was and
 * where it led, to an internal listener that has a filter chain for each port of the service, with RBAC, and routes on.
 * Both of its ends are those of Ambit's waypoint: the same ztunnel in front, plain HTTP to the server's pod behind.
 */
import { ports } from '../model.ts';
import { spiffeOf } from './certificate.ts';
import type { Definition, StartContext } from './definition.ts';
import {
  cluster,
  connectionManager,
  downstreamTls,
  type EnvoyConfig,
  extension,
  router,
  socketAddress,
  tunnelHost,
  tunnelManager,
  typed,
  upstreamHttp,
} from './envoy-config.ts';
import { startEnvoy } from './envoy-process.ts';
import { allowedMethods, gatewayObjects, waypointPort } from './gateway-objects.ts';

const internalName = 'main_internal';
const peerPrincipal = 'io.istio.peer_principal';
const originalDestination = 'envoy.filters.listener.original_dst.local_ip';
const served = ['http', 'h2c'] as const;

export const envoyWaypoint: Definition = {
  key: 'envoy-waypoint',
  name: 'Envoy waypoint',
  layer: 'l7',
  ours: false,
  serves: served,
  needs: ['envoy'],
  uses: { ztunnels: true, waypoint: 'peer' },
  objects: (places) => gatewayObjects(places, 1),
  start: async (context) => {
    const { mesh, places, peer } = context;
    const envoy = peer('envoy');
    const process = await startEnvoy(mesh, envoy, places.proxy.name, await configOf(context));
    return {
      host: places.vip,
      settings: `Envoy ${envoy.version}, one worker, TLS 1.3 AES-256-GCM, P-256, behind the client’s ztunnel (Ambit’s), which is not counted; one route, RBAC (principal and method), statistics on (Envoy’s own, not Istio’s), access log on (Istio’s format, to /dev/null)`,
      proxies: () => [{ name: process.name, pid: process.pid ?? 0 }],
    };
  },
};

async function configOf(context: StartContext): Promise<EnvoyConfig> {
  const { places, certificateOf } = context;
  const { proxy, server } = places;
  const terminate = {
    filters: [tunnelManager('connect_terminate', [tunnelHost('*', internalName)], [keepFacts])],
    transport_socket: downstreamTls(await certificateOf(proxy.name)),
  };
  const internal = {
    name: internalName,
    internal_listener: {},
    listener_filters: [extension('original_dst', 'envoy.extensions.filters.listener.original_dst.v3.OriginalDst')],
    filter_chains: served.map((name) => serviceChain(context, name)),
  };
  const listener = {
    name: 'connect_terminate',
    address: socketAddress('0.0.0.0', waypointPort),
    filter_chains: [terminate],
  };
  return {
    bootstrap_extensions: [
      extension(
        'envoy.bootstrap.internal_listener',
        'envoy.extensions.bootstrap.internal_listener.v3.InternalListener',
      ),
    ],
    static_resources: {
      listeners: [listener, internal],
      clusters: [
        internalCluster,
        cluster('http', socketAddress(server.ip, ports.http), upstreamHttp({ http_protocol_options: {} })),
        cluster('h2c', socketAddress(server.ip, ports.h2c), upstreamHttp({ http2_protocol_options: {} })),
      ],
    },
  };
}

/** Istio's own filter `connect_authority` does this; Envoy's can be told to. */
const keepFacts = extension('facts', 'envoy.extensions.filters.http.set_filter_state.v3.Config', {
  on_request_headers: [
    { object_key: originalDestination, value: '%REQ(:AUTHORITY)%' },
    { object_key: peerPrincipal, value: '%DOWNSTREAM_PEER_URI_SAN%', factory_key: 'envoy.string' },
  ].map(({ value, ...key }) => ({
    ...key,
    format_string: { text_format_source: { inline_string: value } },
    shared_with_upstream: 'TRANSITIVE',
  })),
});

const internalCluster = cluster(
  internalName,
  { envoy_internal_address: { server_listener_name: internalName } },
  {
    transport_socket: extension(
      'internal_upstream',
      'envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport',
      {
        transport_socket: extension('raw_buffer', 'envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer'),
      },
    ),
  },
);

function serviceChain({ places }: StartContext, name: (typeof served)[number]): object {
  const { vip, client } = places;
  const retry = { retry_on: 'connect-failure,refused-stream', num_retries: 2 };
  const manager = connectionManager(`inbound-vip|${ports[name]}`, {
    normalize_path: true,
    access_log: [accessLog],
    http_filters: [rbacFor(client.name), router],
    route_config: {
      virtual_hosts: [
        {
          name,
          domains: ['*'],
          routes: [{ match: { prefix: '/' }, route: { cluster: name, timeout: '0s', retry_policy: retry } }],
        },
      ],
    },
  });
  return {
    name,
    filter_chain_match: {
      destination_port: ports[name],
      prefix_ranges: [{ address_prefix: vip, prefix_len: 32 }],
    },
    filters: [manager],
  };
}

/** The AuthorizationPolicy of `gatewayObjects`, as Istio compiles it. */
function rbacFor(account: string): object {
  const methods = allowedMethods.map((exact) => ({ header: { name: ':method', string_match: { exact } } }));
  const principal = { filter_state: { key: peerPrincipal, string_match: { exact: spiffeOf(account) } } };
  return extension('rbac', 'envoy.extensions.filters.http.rbac.v3.RBAC', {
    rules: {
      action: 'ALLOW',
      policies: {
        'ns[default]-policy[000]-rule[0]': {
          permissions: [{ and_rules: { rules: [{ or_rules: { rules: methods } }] } }],
          principals: [{ and_ids: { ids: [{ or_ids: { ids: [principal] } }] } }],
        },
      },
    },
  });
}

/** Istio's default format. */
const accessLog = {
  name: 'file',
  typed_config: typed('envoy.extensions.access_loggers.file.v3.FileAccessLog', {
    path: '/dev/null',
    log_format: {
      text_format_source: {
        inline_string:
          '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% ' +
          '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" ' +
          '%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" ' +
          '"%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% ' +
          '%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% ' +
          '%ROUTE_NAME%\n',
      },
    },
  }),
};
