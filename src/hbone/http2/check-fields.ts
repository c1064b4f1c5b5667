/**
 * Whether a list of fields is a request, a response or trailers of HTTP/2 (RFC 9113 §8.1–8.3, §8.5). Lists are name, value, name,
 * value …, as HPACK's decoder gives them; each function says why a list is malformed, or undefined. Extended CONNECT (RFC 8441) is
 * never offered here, so `:protocol` is malformed.
 *
 * Names and values are those of RFC 9110 §5.1 and §5.5, which is narrower than what RFC 9113 §8.2.1 demands: no control character
 * but HTAB within a value. Where RFC 9113 leaves a choice, it is as nghttp2 has it, but for this: nghttp2 goes on without a field of
 * an invalid name or value, and here the message is malformed.
 */

const colon = 0x3a;
/** Characters, by code. */
const token = characters("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz");
const methodToken = characters("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
/** Of RFC 3986 §3.2, without the userinfo that RFC 9113 §8.3.1 forbids. */
const authority = characters("!$%&'()*+,-.:;=[]_~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
const letters = characters('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ');
const scheme = characters('+-.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ');
/** Classes alone: nothing to go back for, and half the time of a loop. */
const notInPath = /[^\x21-\x7e\x80-\xff]/;
const notInValue = /[^\t\x20-\x7e\x80-\xff]/;
const digits = characters('0123456789');
/** 2^63 - 1, compared as text of this length. */
const maxContentLength = '9223372036854775807';

/** §8.3.1, §8.5. */
export function malformedRequest(fields: readonly string[]): string | undefined {
  let method: string | undefined;
  let target: string | undefined;
  let schemeOf: string | undefined;
  let path: string | undefined;
  let at = 0;
  for (; at < fields.length; at += 2) {
    const name = fields[at] as string;
    if (name.charCodeAt(0) !== colon) break;
    const value = fields[at + 1] as string;
    if (name === ':method') {
      if (method !== undefined) return ':method twice';
      if (!isMadeOf(value, methodToken)) return 'invalid :method';
      method = value;
    } else if (name === ':authority') {
      if (target !== undefined) return ':authority twice';
      if (!isMadeOf(value, authority)) return 'invalid :authority';
      target = value;
    } else if (name === ':scheme') {
      if (schemeOf !== undefined) return ':scheme twice';
      if (!isMadeOf(value, scheme) || !isMadeOf(value.charAt(0), letters)) return 'invalid :scheme';
      schemeOf = value;
    } else if (name === ':path') {
      if (path !== undefined) return ':path twice';
      if (value === '' || notInPath.test(value)) return 'invalid :path';
      path = value;
    } else return 'unknown pseudo-header field';
  }
  if (method === undefined) return ':method is missing';
  if (method === 'CONNECT') {
    if (target === undefined) return 'CONNECT without :authority';
    if (schemeOf !== undefined || path !== undefined) return 'CONNECT with :scheme or :path';
  } else {
    if (schemeOf === undefined) return ':scheme is missing';
    if (path === undefined) return ':path is missing';
    if (!isPath(path, method, schemeOf)) return 'invalid :path';
  }
  const regular = malformedFields(fields, at);
  if (regular !== undefined) return regular;
  return target === undefined && !has(fields, at, 'host') ? 'neither :authority nor host' : undefined;
}

/** §8.3.2, §8.6. */
export function malformedResponse(fields: readonly string[]): string | undefined {
  if (fields[0] !== ':status') return ':status is not the first field';
  const status = fields[1] as string;
  if (status.length !== 3 || !isMadeOf(status, digits)) return 'invalid :status';
  if (status === '101') return 'status 101';
  const regular = malformedFields(fields, 2);
  if (regular !== undefined) return regular;
  // RFC 9110 §8.6; 204 with a length of 0 is widely sent.
  if (status.startsWith('1') && has(fields, 2, 'content-length')) return 'content-length in an interim response';
  if (status === '204' && hasOther(fields, 'content-length', '0')) return 'content-length with status 204';
  return undefined;
}

/** §8.1: no pseudo-header fields. */
export function malformedTrailers(fields: readonly string[]): string | undefined {
  return malformedFields(fields, 0);
}

/** The regular fields, from `start` on: §8.2. */
function malformedFields(fields: readonly string[], start: number): string | undefined {
  let seen = 0;
  for (let at = start; at < fields.length; at += 2) {
    const name = fields[at] as string;
    const value = fields[at + 1];
    if (!isMadeOf(name, token)) {
      return name.charCodeAt(0) === colon ? 'pseudo-header field out of place' : 'invalid field name';
    }
    if (value === undefined || !isFieldValue(value)) return `invalid value of ${name}`;
    switch (name) {
      case 'connection':
      case 'proxy-connection':
      case 'keep-alive':
      case 'transfer-encoding':
      case 'upgrade':
        return `connection-specific field ${name}`;
      case 'te':
        if (value.toLowerCase() !== 'trailers') return 'te other than trailers';
        break;
      case 'host':
        if (!isMadeOf(value, authority)) return 'invalid value of host';
        if (seen & 1) return 'host twice';
        seen |= 1;
        break;
      case 'content-length':
        if (!isContentLength(value)) return 'invalid value of content-length';
        if (seen & 2) return 'content-length twice';
        seen |= 2;
        break;
    }
  }
  return undefined;
}

/** RFC 9113 §8.3.1: for http and https an absolute path, or `*` for OPTIONS. */
function isPath(path: string, method: string, schemeOf: string): boolean {
  const lower = schemeOf.toLowerCase();
  if (lower !== 'http' && lower !== 'https') return true;
  return path.startsWith('/') || (path === '*' && method === 'OPTIONS');
}

function isContentLength(value: string): boolean {
  if (!isMadeOf(value, digits)) return false;
  const number = value.replace(/^0+/, '');
  return number.length < 19 || (number.length === 19 && number <= maxContentLength);
}

/** RFC 9110 §5.5, RFC 9113 §8.2.1. */
function isFieldValue(value: string): boolean {
  const last = value.length - 1;
  if (last < 0) return true;
  if (isSpace(value.charCodeAt(0)) || isSpace(value.charCodeAt(last))) return false;
  return !notInValue.test(value);
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** At least one of them, and nothing else. */
function isMadeOf(text: string, allowed: Uint8Array): boolean {
  for (let at = 0; at < text.length; at++) if (allowed[text.charCodeAt(at)] !== 1) return false;
  return text.length > 0;
}

function has(fields: readonly string[], start: number, name: string): boolean {
  for (let at = start; at < fields.length; at += 2) if (fields[at] === name) return true;
  return false;
}

function hasOther(fields: readonly string[], name: string, value: string): boolean {
  for (let at = 2; at < fields.length; at += 2) if (fields[at] === name && fields[at + 1] !== value) return true;
  return false;
}

function characters(text: string): Uint8Array {
  const allowed = new Uint8Array(256);
  for (let at = 0; at < text.length; at++) allowed[text.charCodeAt(at)] = 1;
  return allowed;
}
