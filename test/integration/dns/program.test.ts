/** DNS in the program itself: a dedicated ztunnel answers its workload's resolver, and says so in readiness and metrics. */
import { spawn } from 'node:child_process';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { programFile } from '../../support/program-files.ts';

const program = programFile('ztunnel');

const mesh = `
workloads:
  - {uid: c1//Pod/shop/web, name: web, namespace: shop, workloadIps: ["127.1.0.4"], services: {}, serviceAccount: web,
     trustDomain: cluster.local, protocol: HBONE, node: "", canonicalName: web, canonicalRevision: v1}
services:
  - {name: cart, namespace: shop, hostname: cart.shop.svc.cluster.local, vips: ["/10.96.0.5"], ports: {80: 8080}}
`;

function start(t: Test, changed: Readonly<Record<string, string>>) {
  const folder = mkdtempSync(join(tmpdir(), 'ambit-dns-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'mesh.yaml'), mesh);
  writeFileSync(join(folder, 'resolv.conf'), 'search corp.example\n');
  const environment: Record<string, string> = {
    PATH: process.env.PATH ?? '',
    LOCAL_XDS_PATH: join(folder, 'mesh.yaml'),
    AMBIT_CA_DIR: join(folder, 'ca'),
    AMBIT_ADMIN_SOCKET: join(folder, 'admin'),
    AMBIT_RESOLV_CONF: join(folder, 'resolv.conf'),
    AMBIT_LISTEN_IP: '127.0.0.1',
    PROXY_MODE: 'dedicated',
    PROXY_WORKLOAD_INFO: 'shop/web/web',
    ENABLE_ORIG_SRC: 'false',
    IPV6_ENABLED: 'false',
    RUST_LOG: 'info,dns=debug',
    ...Object.fromEntries(
      ['OUTBOUND', 'INBOUND', 'PLAINTEXT', 'ADMIN', 'METRICS', 'READINESS'].map((name) => [`AMBIT_${name}_PORT`, '0']),
    ),
    ...changed,
  };
  const child = spawn(process.execPath, [program], { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
    });
  }
  const ask = async (path: string) => {
    const sent = request({ socketPath: join(folder, 'admin'), path, headers: { host: 'localhost' } });
    sent.end();
    const [response] = await within(path, once(sent, 'response'));
    return await text(response);
  };
  return { ask, output: () => output };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

t.test('a dedicated ztunnel answers, with the search domains of its own resolv.conf', async (t) => {
  const [port, metricsPort] = [await freePort(), await freePort()];
  const ztunnel = start(t, { AMBIT_DNS_PORT: String(port), AMBIT_METRICS_PORT: String(metricsPort) });
  const ready = () => ztunnel.ask('/healthz/ready').catch(() => '');
  await eventually('it is ready', async () => (await ready()).startsWith('ready'), 20_000);
  const resolver = new Resolver({ timeout: 3000, tries: 1 });
  resolver.setServers([`127.0.0.1:${port}`]);
  t.same(await resolver.resolve4('cart'), ['10.96.0.5']);
  t.same(await resolver.resolve4('cart.shop.corp.example'), ['10.96.0.5']);
  await t.rejects(resolver.resolve4('example.com'), { code: 'ESERVFAIL' }, 'nobody to ask');
  await eventually('the query log', () => /query.*domain="?cart\.shop\.corp\.example\./.test(ztunnel.output()));
  t.match(ztunnel.output(), /no nameserver is named/);
  const metrics = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  t.match(metrics, /istio_dns_requests_total\{[^}]*request_query_type="a"[^}]*source_canonical_service="web"[^}]*\} 3/);
});
