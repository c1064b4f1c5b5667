/** nginx behind the waypoint, curl and h2load in front, an Envoy on either side in the place of the ztunnels. */
import { createHash } from 'node:crypto';
import t from 'tap';
import { SecretText } from '../../src/base/secret-text.ts';
import { emptyDestinationPolicy } from '../../src/route/destination.ts';
import { emptyL7Model, type L7Model } from '../../src/route/model.ts';
import { noBackendPolicies } from '../../src/route/upstream-tls.ts';
import { missingEnvoy } from '../support/envoy.ts';
import { eventually } from '../support/eventually.ts';
import { nginxPaths, startNginx } from '../support/nginx.ts';
import { missing, runProgram } from '../support/programs.ts';
import { TestCa } from '../support/test-ca.ts';
import { makeWaypointWorld, originHost, originService } from './waypoint-world.ts';

const skip = missing('nginx', 'curl', 'h2load') || (await missingEnvoy());

t.test('nginx behind a waypoint', { skip }, async (t) => {
  const nginx = await startNginx(t);
  const world = await makeWaypointWorld(t, { origin: nginx.address, appProtocol: 'http11' });
  const url = `http://${originHost}`;
  const connectTo = `${originHost}:80:${world.entry.ip}:${world.entry.port}`;
  const curl = async (...args: string[]) => {
    const finished = await runProgram(['curl', '-sS', '--max-time', '20', '--connect-to', connectTo, ...args]);
    t.equal(finished.code, 0, finished.stderr || 'curl is content');
    return finished.stdout;
  };
  const h2load = async (...args: string[]) => {
    const { stdout } = await runProgram(['h2load', ...args, `--connect-to=${world.entry.ip}:${world.entry.port}`]);
    return String(stdout);
  };

  await t.test('request line and host arrive, with the headers a waypoint sets', async (t) => {
    const body = String(await curl(`${url}${nginxPaths.echo}?a=1&b=%20x`));
    t.match(body, `GET /echo?a=1&b=%20x ${originHost}\n`);
    t.match(body, /x-forwarded-proto: http\n/);
    t.match(body, /x-request-id: [0-9a-f-]{36}\n/);
  });

  await t.test('a compressed, chunked body arrives whole', async (t) => {
    t.equal(String(await curl('--compressed', `${url}${nginxPaths.text}`)), nginx.text);
  });

  await t.test('8 MiB arrive whole, twice over one connection', async (t) => {
    const body = await curl(`${url}${nginxPaths.large}`, `${url}${nginxPaths.large}`);
    const half = body.length / 2;
    t.equal(createHash('sha256').update(body.subarray(0, half)).digest('hex'), nginx.largeDigest);
    t.equal(createHash('sha256').update(body.subarray(half)).digest('hex'), nginx.largeDigest);
  });

  await t.test('uploads arrive whole: with a length, chunked, and after 100 Continue', async (t) => {
    const folder = t.testdir({ body: 'x'.repeat(4 * 1024 * 1024) });
    for (const header of ['x-plain: 1', 'transfer-encoding: chunked', 'expect: 100-continue']) {
      const target = `${url}${nginxPaths.upload}`;
      const head = String(await curl('-D', '-', '-o', '/dev/null', '-H', header, '-T', `${folder}/body`, target));
      const length = Number(/x-request-length: (\d+)/.exec(head)?.[1]);
      t.ok(length >= 4 * 1024 * 1024 && length < 4.1 * 1024 * 1024, `${header}: ${length} bytes at nginx`);
    }
  });

  await t.test('HEAD, 304, a range, 404 and 503 pass as they are', async (t) => {
    const status = async (...args: string[]) => String(await curl('-o', '/dev/null', '-w', '%{http_code}', ...args));
    const text = `${url}${nginxPaths.text}`;
    t.equal(await status('-I', text), '200');
    t.equal(await status('-H', 'if-modified-since: Fri, 01 Jan 2100 00:00:00 GMT', text), '304');
    t.equal(String(await curl('-r', '2-5', text)), 'line');
    t.equal(await status(`${url}/absent`), '404');
    t.equal(await status(`${url}${nginxPaths.unavailable}`), '503');
  });

  for (const [name, flag] of [
    ['HTTP/1.1', '--h1'],
    ['HTTP/2', '-t1'],
  ] as const) {
    await t.test(`2000 ${name} requests all succeed, over few tunnels`, async (t) => {
      const before = await world.server.stat('http.hbone.downstream_rq_total');
      const concurrency = flag === '--h1' ? ['-c', '10'] : ['-c', '2', '-m', '10'];
      const report = await h2load(flag, ...concurrency, '-n', '2000', `${url}${nginxPaths.echo}`);
      t.match(report, 'requests: 2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout');
      t.match(report, 'status codes: 2000 2xx');
      const tunnels = (await world.server.stat('http.hbone.downstream_rq_total')) - before;
      t.ok(tunnels <= 40, `${tunnels} tunnels to the origin`);
    });
  }

  await t.test('a client that leaves in the middle of a body costs nothing but its own tunnel', async (t) => {
    const cut = await runProgram([
      'curl',
      '-sS',
      '--max-time',
      '0.05',
      '--limit-rate',
      '10k',
      '--connect-to',
      connectTo,
      `${url}${nginxPaths.large}`,
    ]);
    t.equal(cut.code, 28, 'curl gave up');
    await eventually(
      'its tunnels to end',
      async () => (await world.client.stat('cluster.next.upstream_rq_active')) === 0,
    );
    t.match(String(await curl(`${url}${nginxPaths.echo}`)), 'GET /echo');
  });

  await t.test('nginx gone: 503 from the waypoint', async (t) => {
    await nginx.process.stop();
    const answer = String(await curl('-o', '/dev/null', '-w', '%{http_code}', `${url}${nginxPaths.echo}`));
    t.equal(answer, '503');
  });
});

t.test('nginx with TLS, which wants to know the waypoint by a certificate', { skip }, async (t) => {
  const ca = await TestCa.create('Backends');
  const nginx = await startNginx(t, '127.0.0.1', {
    ...(await ca.issuePem([], { dnsNames: ['origin.example.com'] })),
    clientRootsPem: ca.rootPem,
  });
  const own = await ca.issuePem([], { dnsNames: ['waypoint.example.com'] });
  const tls = {
    mode: 'mutual',
    clientCertificate: undefined,
    privateKey: undefined,
    caCertificates: undefined,
    caCrl: undefined,
    credentialName: 'waypoint-client',
    subjectAltNames: [],
    sni: 'origin.example.com',
    insecureSkipVerify: false,
  } as const;
  const policies = { otherwise: { ...emptyDestinationPolicy, tls }, ports: new Map() };
  const otherwise = { sources: [], policies, subsets: new Map() };
  const credential = {
    certificate: own.certPem,
    key: new SecretText(own.keyPem),
    authorities: ca.rootPem,
    revocations: undefined,
  };
  const model: L7Model = {
    ...emptyL7Model,
    destinations: new Map([[originService, { otherwise, ofNamespace: new Map() }]]),
    backends: { ...noBackendPolicies, credentials: new Map([['shop/waypoint-client', credential]]) },
  };
  const world = await makeWaypointWorld(t, { origin: nginx.address, appProtocol: 'http11', model });
  const connectTo = `${originHost}:80:${world.entry.ip}:${world.entry.port}`;
  const curl = async (...args: string[]) =>
    (await runProgram(['curl', '-sS', '--max-time', '20', '--connect-to', connectTo, ...args])).stdout;
  t.match(String(await curl(`http://${originHost}${nginxPaths.echo}`)), /GET \/echo .*\n(?:.*\n)*client: SUCCESS\n/);
  const body = await curl(`http://${originHost}${nginxPaths.large}`);
  t.equal(createHash('sha256').update(body).digest('hex'), nginx.largeDigest, '8 MiB arrive whole');
});
