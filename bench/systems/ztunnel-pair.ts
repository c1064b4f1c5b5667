/** No proxy, and Ambit's ztunnels on either side: what everything else on layer 4 stands between. */
import process from 'node:process';
import { version } from '../../src/base/own-files.ts';
import { ztunnelName } from '../../src/lab/topology.ts';
import { type Definition, everyPort } from './definition.ts';
import { barePodObject, podObject, serviceObject } from './objects.ts';

export const none: Definition = {
  key: 'none',
  name: 'no proxy',
  layer: 'none',
  ours: false,
  serves: everyPort,
  needs: [],
  uses: { ztunnels: false },
  objects: (places) => [barePodObject(places.client), barePodObject(places.server), serviceObject(places)],
  start: async ({ places }) => ({
    host: places.vip,
    settings: 'pod to pod, the service’s address translated by the node',
    proxies: () => [],
  }),
};

export const ztunnelPair: Definition = {
  key: 'ztunnel-pair',
  name: 'Ambit ztunnel pair',
  layer: 'l4',
  ours: true,
  serves: everyPort,
  needs: [],
  uses: { ztunnels: true },
  objects: (places) => [podObject(places.client), podObject(places.server), serviceObject(places)],
  start: async ({ mesh, places }) => ({
    host: places.vip,
    settings: `${ambitVersion}, ${mesh.preset.capture === 'node' ? 'TPROXY on the node' : 'capture in the pods'}, HBONE, one thread each, ${ambitTls}, metrics on, access log off`,
    proxies: () =>
      ['node-a', 'node-b'].map((node) => {
        const { name, pid = 0 } = mesh.program(ztunnelName({ name: node }));
        return { name, pid };
      }),
  }),
};

/** Node's own choice of key exchange; a tunnel is kept for many connections. */
export const ambitTls = 'TLS 1.3 AES-256-GCM, P-256 certificates, X25519MLKEM768';
export const ambitVersion = `Ambit ${version} on Node ${process.versions.node}`;
