/** nginx alone as an HTTP proxy in plain: one worker, connections to the origin kept alive, no logs. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ports } from '../model.ts';
import type { Definition } from './definition.ts';
import { barePodObject } from './objects.ts';

export const nginxL7: Definition = {
  key: 'nginx-l7',
  name: 'nginx, plain',
  layer: 'l7',
  ours: false,
  serves: ['http', 'h2c'],
  needs: ['nginx'],
  uses: { ztunnels: false },
  objects: ({ client, proxy, server }) => [client, proxy, server].map((place) => barePodObject(place)),
  start: async ({ mesh, places, peer }) => {
    const { path: program, version } = peer('nginx');
    const { proxy, server } = places;
    const folder = path.join(mesh.lab.directory, proxy.name);
    mkdirSync(folder);
    const file = path.join(folder, 'nginx.conf');
    writeFileSync(file, configuration(folder, server.ip));
    const process = mesh.lab.spawn(proxy.name, {
      name: proxy.name,
      argv: [program, '-p', folder, '-c', file, '-e', 'stderr'],
    });
    await process.waitForPort(ports.http);
    return {
      host: proxy.ip,
      settings: `nginx ${version}, one worker, no TLS on either side, connections to the origin kept alive and HTTP/1.1 throughout, logs off`,
      proxies: () => [{ name: process.name, pid: process.pid ?? 0 }],
    };
  },
};

function configuration(folder: string, serverIp: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
daemon off;
master_process off;
pid ${folder}/pid;
worker_rlimit_nofile 20000;
events { worker_connections 16384; }
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n  ')}
  keepalive_requests 100000000;
  upstream origin {
    server ${serverIp}:${ports.http};
    keepalive 512;
    keepalive_requests 100000000;
  }
  server {
    listen ${ports.http} backlog=4096;
    listen ${ports.h2c} http2 backlog=4096;
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
  }
}
`;
}
