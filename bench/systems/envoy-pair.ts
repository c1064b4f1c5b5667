/**
 * Envoy in the client's pod and Envoy in the server's: TCP taken on the pod's own loopback, carried as CONNECT over HTTP/2
 * over mutual TLS, given to the application on the other pod's loopback. What Istio's sidecars do when they speak HBONE.
 */
import { ports } from '../model.ts';
import { spiffeOf } from './certificate.ts';
import { type Definition, everyPort, type StartContext } from './definition.ts';
import {
  cluster,
  downstreamTls,
  type EnvoyConfig,
  extension,
  socketAddress,
  tunnelHost,
  tunnelManager,
  tunnelWindows,
  upstreamHttp,
  upstreamTls,
} from './envoy-config.ts';
import { startEnvoy } from './envoy-process.ts';
import { barePodObject } from './objects.ts';

const tunnelPort = 15008;
const loopback = '127.0.0.1';

export const envoyPair: Definition = {
  key: 'envoy-pair',
  name: 'Envoy pair',
  layer: 'l4',
  ours: false,
  serves: everyPort,
  needs: ['envoy'],
  uses: { ztunnels: false },
  objects: ({ client, server }) => [barePodObject(client), barePodObject(server)],
  start: async (context) => {
    const { mesh, places, peer } = context;
    const envoy = peer('envoy');
    const { client, server } = places;
    const processes = await Promise.all([
      startEnvoy(mesh, envoy, client.name, await clientConfig(context)),
      startEnvoy(mesh, envoy, server.name, await serverConfig(context)),
    ]);
    return {
      host: loopback,
      settings: `Envoy ${envoy.version}, listening in the client’s pod, CONNECT over HTTP/2 (windows 4 MiB, 16 MiB), one worker each, TLS 1.3 AES-128-GCM, P-256, statistics on, access log off`,
      proxies: () => processes.map(({ name, pid = 0 }) => ({ name, pid })),
    };
  },
};

async function clientConfig({ places, certificateOf }: StartContext): Promise<EnvoyConfig> {
  const { client, server } = places;
  const tunnel = cluster('tunnel', socketAddress(server.ip, tunnelPort), {
    transport_socket: upstreamTls(await certificateOf(client.name), spiffeOf(server.name)),
    ...upstreamHttp({ http2_protocol_options: tunnelWindows }),
  });
  const listeners = Object.entries(ports).map(([name, port]) => {
    const proxy = extension('tcp', 'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy', {
      stat_prefix: name,
      cluster: 'tunnel',
      tunneling_config: { hostname: `${server.ip}:${port}` },
    });
    return { name, address: socketAddress(loopback, port), filter_chains: [{ filters: [proxy] }] };
  });
  return { static_resources: { listeners, clusters: [tunnel] } };
}

async function serverConfig({ places, certificateOf }: StartContext): Promise<EnvoyConfig> {
  const { server } = places;
  const entries = Object.entries(ports);
  const hosts = entries.map(([name, port]) => tunnelHost(`${server.ip}:${port}`, name));
  const chain = {
    filters: [tunnelManager('tunnels', hosts, [])],
    transport_socket: downstreamTls(await certificateOf(server.name)),
  };
  const listener = { name: 'tunnels', address: socketAddress(server.ip, tunnelPort), filter_chains: [chain] };
  return {
    static_resources: {
      listeners: [listener],
      clusters: entries.map(([name, port]) => cluster(name, socketAddress(loopback, port))),
    },
  };
}
