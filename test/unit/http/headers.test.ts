/** Header lists, hop-by-hop stripping and the framing rules. */
import t from 'tap';
import { checkHttp1Framing, checkHttp2Framing } from '../../../src/http/framing.ts';
import { headerValues, joinedHeader, withHeader, withoutHeaders } from '../../../src/http/header-list.ts';
import { stripHopByHop } from '../../../src/http/hop-by-hop.ts';

const host = ['Host', 'reviews:9080'];

t.test('order, case and duplicates are kept', async (t) => {
  const list = ['X-A', '1', 'Set-Cookie', 'a', 'x-a', '2', 'set-cookie', 'b'];
  t.same(headerValues(list, 'set-cookie'), ['a', 'b']);
  t.equal(joinedHeader(list, 'x-a'), '1,2');
  t.equal(joinedHeader(list, 'absent'), undefined);
  t.same(withHeader(list, 'x-a', '3'), ['X-A', '3', 'Set-Cookie', 'a', 'set-cookie', 'b']);
  t.same(withHeader(['a', '1'], 'B', '2'), ['a', '1', 'B', '2']);
  t.equal(
    withoutHeaders(list, () => false),
    list,
    'nothing dropped, nothing copied',
  );
});

t.test('hop-by-hop headers go, those that Connection names too', async (t) => {
  const list = ['Connection', 'close, X-Secret', 'x-secret', '1', 'Keep-Alive', '5', 'Accept', '*/*', 'Upgrade', 'h2c'];
  t.same(stripHopByHop(list), ['Accept', '*/*']);
});

t.test('te: trailers survives for gRPC, other codings do not', async (t) => {
  t.same(stripHopByHop(['te', 'trailers']), ['te', 'trailers']);
  t.same(stripHopByHop(['TE', 'gzip, trailers']), ['te', 'trailers']);
  t.same(stripHopByHop(['te', 'gzip']), []);
});

t.test('HTTP/1.1 requests with a disputed end are refused', async (t) => {
  const status = (...headers: string[]) => checkHttp1Framing('1.1', headers)?.status;
  t.equal(status(...host), undefined);
  t.equal(status(...host, 'Content-Length', '5'), undefined);
  t.equal(status(...host, 'Transfer-Encoding', 'chunked'), undefined);
  t.equal(status(), 400, 'no Host');
  t.equal(status(...host, ...host), 400, 'two Hosts');
  t.equal(status('Host', 'a b'), 400, 'malformed Host');
  t.equal(status(...host, 'Content-Length', '5', 'Content-Length', '6'), 400, 'two lengths');
  t.equal(status(...host, 'Content-Length', '5', 'content-length', '5'), 400, 'two equal lengths');
  t.equal(status(...host, 'Content-Length', '+5'), 400, 'signed length');
  t.equal(status(...host, 'Content-Length', '5', 'Transfer-Encoding', 'chunked'), 400, 'length and coding');
  t.equal(status(...host, 'Transfer-Encoding', 'gzip, chunked'), 501);
  t.equal(status(...host, 'Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked'), 400);
  t.equal(status(...host, ...Array.from({ length: 402 }, () => 'a')), 431);
  t.equal(checkHttp1Framing('1.0', host)?.status, 426);
});

t.test('HTTP/2 requests name one authority', async (t) => {
  t.equal(checkHttp2Framing('a:80', []), undefined);
  t.equal(checkHttp2Framing(undefined, ['host', 'a']), undefined);
  t.equal(checkHttp2Framing('a', ['host', 'b'])?.status, 400);
  t.equal(checkHttp2Framing(undefined, [])?.status, 400);
});
