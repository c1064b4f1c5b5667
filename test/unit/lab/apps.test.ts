/** The sample programs over loopback: what they answer, whom they name, and how they fail when told to. */
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { createDetails } from '../../../src/lab/apps/details.ts';
import { createProductpage } from '../../../src/lab/apps/productpage.ts';
import { createRatings } from '../../../src/lab/apps/ratings.ts';
import { createReviews } from '../../../src/lab/apps/reviews.ts';
import { type AppHandler, createApp } from '../../../src/lab/apps/server.ts';

t.test('the page is made of what details, reviews and ratings really answer', async (t) => {
  const details = await serve(t, 'details', createDetails());
  const ratings = await serve(t, 'ratings', createRatings());
  const reviews = await serve(t, 'reviews', createReviews({ pod: 'reviews-v3', version: 'v3' }, ratings));
  const productpage = await serve(t, 'productpage', createProductpage(details, reviews));
  const answer = await fetch(`http://${productpage}/productpage`);
  const page = await answer.text();
  t.equal(answer.headers.get('x-app-pod'), 'productpage');
  t.match(answer.headers.get('x-app-peer'), /^127\.0\.0\.1:\d+$/);
  t.match(page, 'William Shakespeare');
  t.match(page, '<font color="red">★★★★★</font>');
  t.match(page, 'Reviews served by: <u>reviews-v3</u>');
});

t.test('reviews v1 asks nobody for stars, and v2 says when ratings is away', async (t) => {
  const ask = async (version: string) => {
    const reviews = await serve(t, 'reviews', createReviews({ pod: version, version }, '127.0.0.1:1'));
    return (await (await fetch(`http://${reviews}/reviews/0`)).json()) as { reviews: { rating?: unknown }[] };
  };
  t.equal((await ask('v1')).reviews[0]?.rating, undefined);
  t.match((await ask('v2')).reviews[0]?.rating, { error: 'Ratings service is currently unavailable' });
});

t.test('the page says what it could not fetch, and escapes what it could', async (t) => {
  const evil = await serve(t, 'details', () => ({
    status: 200,
    contentType: 'application/json',
    body: '{"author":"<b>"}',
  }));
  const productpage = await serve(t, 'productpage', createProductpage(evil, '127.0.0.1:1'));
  const page = await (await fetch(`http://${productpage}/productpage`)).text();
  t.match(page, '&lt;b&gt;');
  t.match(page, 'Error fetching product reviews!');
});

t.test('trace headers and the end user are passed on, other headers are not', async (t) => {
  let seen: Record<string, unknown> = {};
  const details = await serve(t, 'details', ({ headers }) => {
    seen = headers;
    return undefined;
  });
  const productpage = await serve(t, 'productpage', createProductpage(details, details));
  const headers = { 'x-request-id': 'r1', 'end-user': 'jason', 'x-other': 'no', traceparent: '00-1-2-01' };
  await (await fetch(`http://${productpage}/productpage`, { headers })).text();
  t.match(seen, { 'x-request-id': 'r1', 'end-user': 'jason', traceparent: '00-1-2-01' });
  t.notOk('x-other' in seen);
});

t.test('DELETE on the product page succeeds, so that its denial proves something', async (t) => {
  const productpage = await serve(t, 'productpage', createProductpage('127.0.0.1:1', '127.0.0.1:1'));
  t.equal((await fetch(`http://${productpage}/productpage`, { method: 'DELETE' })).status, 200);
});

t.test('a program fails as often as it was told, then serves again', async (t) => {
  const host = await serve(t, 'details', createDetails());
  await fetch(`http://${host}/admin/fail?count=1`, { method: 'POST' });
  t.equal((await fetch(`http://${host}/details/0`)).status, 503);
  t.equal((await fetch(`http://${host}/details/0`)).status, 200);
});

t.test('the paths for tests of proxies answer what they say', async (t) => {
  const host = await serve(t, 'any', () => undefined);
  t.equal(await (await fetch(`http://${host}/echo`, { method: 'POST', body: 'hello' })).text(), 'hello');
  t.equal((await (await fetch(`http://${host}/bytes/1000`)).arrayBuffer()).byteLength, 1000);
  t.equal((await fetch(`http://${host}/status/418`)).status, 418);
  t.match(await (await fetch(`http://${host}/headers?x=1`)).json(), { path: '/headers', headers: { host } });
  t.equal((await fetch(`http://${host}/nowhere`)).status, 404);
  t.equal((await fetch(`http://${host}/health`)).status, 200);
});

t.test('a handler that throws is one 500, not the end of the program', async (t) => {
  const host = await serve(t, 'ratings', createRatings());
  t.equal((await fetch(`http://${host}/ratings/0`, { method: 'POST', body: 'no json' })).status, 500);
  t.equal((await fetch(`http://${host}/ratings/0`)).status, 200);
});

async function serve(t: Test, pod: string, handler: AppHandler): Promise<string> {
  const server = createApp({ pod, version: 'v1' }, handler);
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}
