/**
 * One small document from a key server: no redirects, bounded in time and size.
 *
 * Whoever may write a RequestAuthentication in some namespace chooses the URL, and the waypoint, which stands inside the
 * cluster, would call it. So unless the operator named the origin, only https to public addresses is called (design rule 7).
 * I1: the address that was judged is the address that is called: names are judged as they are resolved.
 */
import { lookup as resolve } from 'node:dns';
import type { IncomingMessage } from 'node:http';
import { isIP, type LookupFunction } from 'node:net';
import { requestHttp, requestHttps } from '../../base/node-http.ts';
import { isPublicAddress } from '../../net/public-address.ts';

export const longestDocumentBytes = 256 * 1024;

export type Fetched =
  | { readonly kind: 'document'; readonly text: string; readonly maxAgeMs: number | undefined }
  | { readonly kind: 'failed'; readonly reason: string };

/** Never rejects; settles within `timeoutMs`. */
export type FetchText = (url: string, timeoutMs: number) => Promise<Fetched>;

/** `origins`: such as `http://keys.internal:8000`, which may be called wherever they are. */
export function createFetchText(origins: ReadonlySet<string>): FetchText {
  return (text, timeoutMs) => {
    const url = URL.parse(text);
    if (url === null) return Promise.resolve(failed('not a URL'));
    const named = origins.has(url.origin);
    if (!named && url.protocol !== 'https:') {
      return Promise.resolve(failed(`only https is called; AMBIT_JWKS_ORIGINS may name ${url.origin}`));
    }
    const bare = url.hostname.replace(/^\[(.*)\]$/, '$1');
    if (!named && isIP(bare) !== 0 && !isPublicAddress(bare)) {
      return Promise.resolve(failed(`${bare} is not a public address; AMBIT_JWKS_ORIGINS may name ${url.origin}`));
    }
    return fetchFrom(url, timeoutMs, named ? undefined : publicLookup(url.origin));
  };
}

function fetchFrom(url: URL, timeoutMs: number, lookup: LookupFunction | undefined): Promise<Fetched> {
  return new Promise((settle) => {
    const send = url.protocol === 'https:' ? requestHttps : requestHttp;
    const outgoing = send(url, {
      agent: false,
      headers: { accept: 'application/json', 'user-agent': 'ambit' },
      maxHeaderSize: 16 * 1024,
      signal: AbortSignal.timeout(timeoutMs),
      ...(lookup !== undefined && { lookup }),
    });
    const end = (outcome: Fetched) => {
      settle(outcome);
      outgoing.destroy();
    };
    outgoing.on('error', (error) => end(failed(error.message)));
    outgoing.once('response', (response) => readDocument(response, end));
    outgoing.end();
  });
}

function readDocument(response: IncomingMessage, end: (outcome: Fetched) => void): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  response.on('error', (error) => end(failed(error.message)));
  if (response.statusCode !== 200) {
    end(failed(`status ${response.statusCode}`));
    return;
  }
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    chunks.push(chunk);
    if (bytes > longestDocumentBytes) end(failed(`more than ${longestDocumentBytes} bytes`));
  });
  response.once('end', () => {
    const text = Buffer.concat(chunks).toString();
    end({ kind: 'document', text, maxAgeMs: maxAgeMs(response.headers['cache-control']) });
  });
}

function publicLookup(origin: string): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) {
        callback(error, [], 0);
        return;
      }
      const open = addresses.filter(({ address }) => isPublicAddress(address));
      const [first] = open;
      if (first === undefined) {
        const message = `${hostname} has no public address; AMBIT_JWKS_ORIGINS may name ${origin}`;
        callback(new Error(message), [], 0);
      } else if (options.all) callback(null, open);
      else callback(null, first.address, first.family);
    });
  };
}

function maxAgeMs(cacheControl: string | undefined): number | undefined {
  const seconds = /(?:^|[\s,])max-age=([0-9]{1,9})(?:[\s,;]|$)/i.exec(cacheControl ?? '')?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

function failed(reason: string): Fetched {
  return { kind: 'failed', reason };
}
