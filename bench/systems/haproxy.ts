/** haproxy: as a pair that carries TCP over mutual TLS, and alone as an HTTP proxy in plain. One thread, no logs. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { LabMesh } from '../../src/app/lab-mesh.ts';
import type { LabProcess } from '../../src/lab/process.ts';
import { ports } from '../model.ts';
import type { CertificateFiles } from './certificate.ts';
import { type Definition, everyPort } from './definition.ts';
import { barePodObject } from './objects.ts';
import type { PeerProgram } from './programs.ts';

const loopback = '127.0.0.1';
/** TCP has no authority to say where to: each port has a tunnel port of its own. */
const tunnelPort = (port: number) => port + 1000;
const cipher = 'TLS_AES_256_GCM_SHA384';

export const haproxyPair: Definition = {
  key: 'haproxy-pair',
  name: 'haproxy pair',
  layer: 'l4',
  ours: false,
  serves: everyPort,
  needs: ['haproxy'],
  uses: { ztunnels: false },
  objects: ({ client, server }) => [barePodObject(client), barePodObject(server)],
  start: async ({ mesh, places, peer, certificateOf }) => {
    const { client, server } = places;
    const haproxy = peer('haproxy');
    const [near, far] = await Promise.all([certificateOf(client.name), certificateOf(server.name)]);
    const processes = await Promise.all([
      startHaproxy(mesh, haproxy, client.name, clientSections(near, server.ip), ports.http),
      startHaproxy(mesh, haproxy, server.name, serverSections(far), tunnelPort(ports.http)),
    ]);
    return {
      host: loopback,
      settings: `haproxy ${haproxy.version}, listening in the client’s pod, one TLS connection for each TCP connection (sessions resumed), one thread each, TLS 1.3 AES-256-GCM, P-256, logs off`,
      proxies: () => processes.map(({ name, pid = 0 }) => ({ name, pid })),
    };
  },
};

export const haproxyL7: Definition = {
  key: 'haproxy-l7',
  name: 'haproxy, plain',
  layer: 'l7',
  ours: false,
  serves: ['http', 'h2c'],
  needs: ['haproxy'],
  uses: { ztunnels: false },
  objects: ({ client, proxy, server }) => [client, proxy, server].map((place) => barePodObject(place)),
  start: async ({ mesh, places, peer }) => {
    const haproxy = peer('haproxy');
    const sections = [
      'mode http',
      'http-reuse always',
      listen('http', '', ports.http, [`server origin ${places.server.ip}:${ports.http}`]),
      listen('h2c', ' proto h2', ports.h2c, [`server origin ${places.server.ip}:${ports.h2c} proto h2`]),
    ];
    const process = await startHaproxy(mesh, haproxy, places.proxy.name, sections, ports.http);
    return {
      host: places.proxy.ip,
      settings: `haproxy ${haproxy.version}, one thread, no TLS on either side, connections to the origin kept alive and shared, logs off`,
      proxies: () => [{ name: process.name, pid: process.pid ?? 0 }],
    };
  },
};

function clientSections({ combined, roots }: CertificateFiles, serverIp: string): readonly string[] {
  const tls = `ssl verify required ca-file ${roots} crt ${combined} ssl-min-ver TLSv1.3 ciphersuites ${cipher}`;
  const sections = Object.entries(ports).map(([name, port]) =>
    listen(name, '', `${loopback}:${port}`, [`server pod ${serverIp}:${tunnelPort(port)} ${tls}`]),
  );
  return ['mode tcp', ...sections];
}

function serverSections({ combined, roots }: CertificateFiles): readonly string[] {
  const tls = ` ssl crt ${combined} ca-file ${roots} verify required ssl-min-ver TLSv1.3 ciphersuites ${cipher} curves P-256`;
  const sections = Object.entries(ports).map(([name, port]) =>
    listen(name, tls, tunnelPort(port), [`server application ${loopback}:${port}`]),
  );
  return ['mode tcp', ...sections];
}

function listen(name: string, options: string, where: number | string, lines: readonly string[]): string {
  const address = typeof where === 'number' ? `:${where}` : where;
  return [`listen ${name}`, `bind ${address}${options}`, ...lines].join('\n  ');
}

/** `defaults` first, then sections. Where the limit on descriptors is low, it serves fewer connections rather than none. */
async function startHaproxy(
  mesh: LabMesh,
  { path: program }: PeerProgram,
  pod: string,
  defaultsAndSections: readonly string[],
  port: number,
): Promise<LabProcess> {
  const file = path.join(mesh.lab.directory, `${pod}.cfg`);
  const text = `global
  nbthread 1
  no strict-limits
  maxconn 20000
defaults
  timeout connect 10s
  timeout client 1h
  timeout server 1h
  ${defaultsAndSections.join('\n')}
`;
  writeFileSync(file, text, { mode: 0o600 });
  const process = mesh.lab.spawn(pod, { name: pod, argv: [program, '-db', '-f', file] });
  await process.waitForPort(port);
  return process;
}
