/**
 * The path of a request in the one form that policies see and the next hop gets (I1: both are the same text), so that no
 * spelling of a path slips past a policy. Istio's BASE normalisation: RFC 3986 dot segments removed, unreserved escapes
 * decoded, backslashes are slashes; escaped slashes stay escaped and repeated slashes stay. A second pass changes nothing.
 */

export type TargetOutcome =
  | {
      readonly kind: 'target';
      /** Normalised, without query, starting with a slash. */
      readonly path: string;
      /** With its question mark, as received; empty without query. */
      readonly query: string;
      /** Of an absolute-form target, which overrules Host (RFC 9112 §3.2.2). */
      readonly authority: string | undefined;
    }
  | { readonly kind: 'rejected'; readonly reason: string };

/**
 * Istio's `pathNormalization`. Beyond `base`, repeated slashes are one, and before that escaped ones are slashes; `none` leaves
 * the path as it came.
 */
export type PathNormalization = 'none' | 'base' | 'merge-slashes' | 'decode-and-merge-slashes';

/** In this form already, dot segments aside, and without query: most targets. */
const plainPath = /^\/[A-Za-z0-9._~!$&'()*+,;=:@/-]*$/;

/** Longer targets are refused before anything looks at them. */
const longestTarget = 16_384;

export function parseTarget(raw: string, normalization: PathNormalization = 'base'): TargetOutcome {
  if (raw.length > longestTarget) return rejected('target too long');
  const merges = normalization === 'merge-slashes' || normalization === 'decode-and-merge-slashes';
  if (plainPath.test(raw) && !raw.includes('/.') && !(merges && raw.includes('//'))) {
    return { kind: 'target', path: raw, query: '', authority: undefined };
  }
  if (/[^\x21-\x7e]/.test(raw)) return rejected('target holds a character that must be escaped');
  if (raw.includes('#')) return rejected('target holds a fragment');
  const absolute = /^https?:\/\/([^/?]*)(.*)$/i.exec(raw);
  if (absolute !== null && !isAuthority(absolute[1] as string)) return rejected('malformed authority in the target');
  const rest = absolute === null ? raw : (absolute[2] as string);
  const mark = rest.indexOf('?');
  const rawPath = mark < 0 ? rest : rest.slice(0, mark);
  const query = mark < 0 ? '' : rest.slice(mark);
  if (absolute !== null && rawPath === '') return { kind: 'target', path: '/', query, authority: absolute[1] };
  if (!rawPath.startsWith('/') && (normalization === 'none' || !rawPath.startsWith('\\'))) {
    return rejected('target is not a path');
  }
  if (/%(?![0-9a-fA-F]{2})/.test(rawPath)) return rejected('path holds a broken escape');
  if (rawPath.includes('%00')) return rejected('path holds an escaped NUL');
  const path = normalisedBy(rawPath, normalization);
  // Servers that drop parameters of segments (Tomcat) would take it for a dot segment, past what a policy saw.
  if (/\/\.\.?;/.test(path)) return rejected('path holds a dot segment with parameters');
  return { kind: 'target', path, query, authority: absolute?.[1] };
}

function normalisedBy(path: string, normalization: PathNormalization): string {
  switch (normalization) {
    case 'none':
      return path;
    case 'base':
      return normalisePath(path);
    case 'merge-slashes':
      return normalisePath(path).replace(/\/{2,}/g, '/');
    case 'decode-and-merge-slashes':
      return normalisePath(path.replace(/%(?:2f|5c)/gi, '/')).replace(/\/{2,}/g, '/');
  }
}

/** `path` starts with a slash or backslash and has no query. */
export function normalisePath(path: string): string {
  const decoded = path.includes('%') ? path.replace(/%([0-9a-fA-F]{2})/g, decodeUnreserved) : path;
  const slashed = decoded.includes('\\') ? decoded.replaceAll('\\', '/') : decoded;
  return slashed.includes('/.') ? removeDotSegments(slashed) : slashed;
}

/** What stands in a Host header or `:authority`: a name or address with an optional port, no user part. */
export function isAuthority(text: string): boolean {
  return /^(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._~-]{1,253})(:[0-9]{1,5})?$/.test(text);
}

/** A percent sign is not unreserved: `%2541` stays, else a second decoder would see another path. */
function decodeUnreserved(escaped: string, hex: string): string {
  const character = String.fromCharCode(Number.parseInt(hex, 16));
  return /[A-Za-z0-9._~-]/.test(character) ? character : escaped;
}

function removeDotSegments(path: string): string {
  const segments = path.split('/');
  const out: string[] = [];
  for (let i = 1; i < segments.length; i++) {
    const segment = segments[i] as string;
    const last = i === segments.length - 1;
    if (segment === '..') out.pop();
    if (segment !== '.' && segment !== '..') out.push(segment);
    else if (last) out.push('');
  }
  return `/${out.join('/')}`;
}

function rejected(reason: string): TargetOutcome {
  return { kind: 'rejected', reason };
}
