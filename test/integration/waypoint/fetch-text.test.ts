/** Documents of key servers, on real sockets: whom a URL may make the waypoint call, and for how long and how much. */
import { createServer } from 'node:net';
import t from 'tap';
import { createFetchText, longestDocumentBytes } from '../../../src/waypoint/jwt/fetch-text.ts';
import { serveDocuments } from '../../support/jwt-issuer.ts';

t.test('only https to public addresses is called, unless the operator named the origin', async (t) => {
  const called: string[] = [];
  const origin = await serveDocuments(t, (request, response) => {
    called.push(request.url ?? '');
    response.setHeader('cache-control', 'public, max-age=120').end('{"keys":[]}');
  });
  const port = new URL(origin).port;
  const closed = createFetchText(new Set());
  for (const url of [
    `${origin}/plain`,
    `https://127.0.0.1:${port}/`,
    `https://2130706433:${port}/`,
    `https://[::1]:${port}/`,
    `https://[::ffff:127.0.0.1]:${port}/`,
    'https://169.254.169.254/latest/meta-data',
    'file:///etc/passwd',
    'not a url',
  ]) {
    t.match(await closed(url, 1_000), { kind: 'failed', reason: /only https|not a public|not a URL/ }, url);
  }
  t.match(await closed(`https://localhost:${port}/`, 1_000), { kind: 'failed', reason: /no public address/ });
  t.same(called, []);
  const named = createFetchText(new Set([origin]));
  t.same(await named(`${origin}/keys?a=1`, 1_000), { kind: 'document', text: '{"keys":[]}', maxAgeMs: 120_000 });
  t.same(called, ['/keys?a=1']);
});

t.test('no redirect is followed; size and time are bounded; a broken answer is none', async (t) => {
  let redirected = 0;
  const origin = await serveDocuments(t, (request, response) => {
    if (request.url === '/redirect') response.writeHead(302, { location: '/target' }).end();
    else if (request.url === '/target') redirected++;
    else if (request.url === '/large') response.end('x'.repeat(longestDocumentBytes + 1));
    else if (request.url === '/cut')
      response.writeHead(200, { 'content-length': '100' }).write('x', () => response.destroy());
    else if (request.url === '/drip') response.writeHead(200).write('x');
  });
  const fetchText = createFetchText(new Set([origin]));
  t.match(await fetchText(`${origin}/redirect`, 2_000), { kind: 'failed', reason: 'status 302' });
  t.match(await fetchText(`${origin}/large`, 2_000), { kind: 'failed', reason: /more than/ });
  t.match(await fetchText(`${origin}/cut`, 2_000), { kind: 'failed' });
  t.match(await fetchText(`${origin}/silent`, 50), { kind: 'failed' }, 'no answer');
  t.match(await fetchText(`${origin}/drip`, 50), { kind: 'failed' }, 'no end');
  t.equal(redirected, 0);
  const gone = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => gone.once('listening', resolve));
  const { port } = gone.address() as { port: number };
  await new Promise((resolve) => gone.close(resolve));
  const refusing = createFetchText(new Set([`http://127.0.0.1:${port}`]));
  t.match(await refusing(`http://127.0.0.1:${port}/`, 2_000), { kind: 'failed', reason: /ECONNREFUSED/ });
});
