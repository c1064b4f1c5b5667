/**
 * Content coding of large answers: gzip, br, zstd or deflate as the client prefers, done off the thread by node:zlib.
 * Fast settings: a scrape is sent once, so CPU counts for more than the last tenth of its size.
 */
import type { Transform } from 'node:stream';
import { constants, createBrotliCompress, createDeflate, createGzip, createZstdCompress } from 'node:zlib';

export type ContentCoding = 'gzip' | 'br' | 'zstd' | 'deflate';

/** In order of our preference among equals. */
const codings: readonly ContentCoding[] = ['zstd', 'gzip', 'br', 'deflate'];

/** By the quality values of Accept-Encoding (RFC 9110 §12.5.3); undefined: as it is. */
export function chooseCoding(acceptEncoding: string | undefined): ContentCoding | undefined {
  if (acceptEncoding === undefined) return undefined;
  const quality = new Map<string, number>();
  for (const part of acceptEncoding.slice(0, 1024).split(',')) {
    const [name = '', ...parameters] = part.split(';').map((text) => text.trim().toLowerCase());
    const given = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
    const value = given === undefined ? 1 : Number(given);
    if (name !== '' && value >= 0) quality.set(name, value);
  }
  let best: ContentCoding | undefined;
  let bestQuality = quality.get('identity') ?? 0;
  for (const coding of codings) {
    const value = quality.get(coding) ?? quality.get('*') ?? 0;
    if (value > 0 && value > bestQuality - (best === undefined ? 1e-9 : 0)) {
      best = coding;
      bestQuality = value;
    }
  }
  return best;
}

export function encoderFor(coding: ContentCoding): Transform {
  switch (coding) {
    case 'gzip':
      return createGzip({ level: 1 });
    case 'deflate':
      return createDeflate({ level: 1 });
    case 'br':
      return createBrotliCompress({ params: { [constants.BROTLI_PARAM_QUALITY]: 2 } });
    case 'zstd':
      return createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: 1 } });
  }
}
