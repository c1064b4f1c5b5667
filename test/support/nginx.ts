/**
 * nginx as an HTTP/1.1 origin that we did not write. Runs as whoever the test is, in the foreground, without a master
 * process that would switch users, and with every path it writes to in a folder of its own.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Test } from 'tap';
import type { SocketAddress } from '../../src/base/address.ts';
import { eventually } from './eventually.ts';
import { findProgram, type RunningProgram, startProgram } from './programs.ts';

/** What it serves, beside the files: */
export const nginxPaths = {
  /** `METHOD URI host`, then what arrived of the headers that proxies set. */
  echo: '/echo',
  /** Text that is sent chunked, with gzip, to those who accept it. */
  text: '/text.txt',
  /** 8 MiB with a length. */
  large: '/large.bin',
  /** Reads the whole body; `x-request-length` of the answer counts it, with the request's head. */
  upload: '/upload',
  /** 503 with a body. */
  unavailable: '/unavailable',
} as const;

export interface RunningNginx {
  readonly process: RunningProgram;
  readonly address: SocketAddress;
  /** SHA-256 of the file at `large`, hex. */
  readonly largeDigest: string;
  readonly text: string;
}

/** Over TLS, for clients with a certificate of the authority alone. */
export interface NginxTls {
  readonly certPem: string;
  readonly keyPem: string;
  readonly clientRootsPem: string;
}

/** Rejects with nginx's log when it does not start. Stopped with the test. */
export async function startNginx(t: Test, ip = '127.0.0.1', tls?: NginxTls): Promise<RunningNginx> {
  const nginx = findProgram('nginx');
  if (nginx === undefined) throw new Error('nginx is not installed');
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-nginx-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const large = randomBytes(8 * 1024 * 1024);
  const text = 'a line of text that compresses well\n'.repeat(4096);
  writeFileSync(path.join(folder, nginxPaths.large), large);
  writeFileSync(path.join(folder, nginxPaths.text), text);
  // It cannot report a port the kernel chose, so one that is free now is tried, and another if somebody was faster.
  for (let attempts = 3; ; attempts--) {
    const address = { ip, port: await freePort(ip) };
    const file = path.join(folder, 'nginx.conf');
    writeFileSync(file, configuration(address, folder, tls));
    if (tls !== undefined) {
      writeFileSync(path.join(folder, 'cert.pem'), tls.certPem);
      writeFileSync(path.join(folder, 'key.pem'), tls.keyPem);
      writeFileSync(path.join(folder, 'clients.pem'), tls.clientRootsPem);
    }
    const process = startProgram(t, [nginx, '-p', folder, '-c', file, '-e', 'stderr']);
    const answers = await eventually('nginx to listen', async () =>
      process.hasExited() ? 'exited' : await accepts(address),
    );
    if (answers === true)
      return { process, address, largeDigest: createHash('sha256').update(large).digest('hex'), text };
    if (attempts === 1) throw new Error(`nginx did not start:\n${process.log()}`);
  }
}

function configuration({ ip, port }: SocketAddress, folder: string, tls: NginxTls | undefined): string {
  const secure = `
    ssl_certificate ${folder}/cert.pem;
    ssl_certificate_key ${folder}/key.pem;
    ssl_client_certificate ${folder}/clients.pem;
    ssl_verify_client on;`;
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
daemon off;
master_process off;
pid ${folder}/pid;
worker_rlimit_nofile 4096;
events { worker_connections 1024; }
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n  ')}
  types { text/plain txt; }
  default_type application/octet-stream;
  keepalive_requests 100000;
  if_modified_since before;
  client_max_body_size 64m;
  gzip on;
  gzip_proxied any;
  gzip_types text/plain;
  server {
    listen ${ip}:${port}${tls === undefined ? '' : ' ssl'};${tls === undefined ? '' : secure}
    root ${folder};
    location = ${nginxPaths.echo} {
      default_type text/plain;
      return 200 "$request_method $request_uri $http_host\\nx-forwarded-for: $http_x_forwarded_for\\nx-forwarded-proto: $http_x_forwarded_proto\\nx-forwarded-client-cert: $http_x_forwarded_client_cert\\nx-request-id: $http_x_request_id\\nclient: $ssl_client_verify\\n";
    }
    location = ${nginxPaths.upload} {
      add_header x-request-length $request_length;
      proxy_pass http://unix:${folder}/sink;
    }
    location = ${nginxPaths.unavailable} { return 503 "not now\\n"; }
  }
  server {
    listen unix:${folder}/sink;
    return 200 "taken\\n";
  }
}
`;
}

async function freePort(ip: string): Promise<number> {
  const server = createServer().listen(0, ip);
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

function accepts({ ip, port }: SocketAddress): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, ip);
    socket.on('error', () => resolve(false));
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}
