/**
 * Certificate revocation lists as they are written (RFC 5280 §5, PEM), read without a library, and their signatures.
 *
 * I1: whoever is listed is revoked, whatever the reason code; a list whose entries may be somebody else's certificates
 *     (indirect), or only changes to another list (delta), is not understood and says so.
 * I2: a list speaks for the certificates signed with the key that signed it, and for no others.
 * I3: reading yields to the event loop after every few thousand entries.
 */
import { constants, type KeyObject, verify } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { errorText } from '../base/errors.ts';
import { DerReader, derTag, serialText } from './der.ts';

export interface RevocationList {
  /** Name, DER. */
  readonly issuer: Buffer;
  /** As `serialText` has them. */
  readonly serials: ReadonlySet<string>;
  readonly thisUpdateMs: number;
  /** Undefined: it does not say. */
  readonly nextUpdateMs: number | undefined;
  readonly signed: Buffer;
  readonly signature: Buffer;
  readonly algorithm: SignatureAlgorithm;
}

export type RevocationLists =
  | { readonly kind: 'lists'; readonly lists: readonly RevocationList[] }
  | { readonly kind: 'bad'; readonly reason: string };

interface SignatureAlgorithm {
  /** Of `KeyObject.asymmetricKeyType`. */
  readonly keys: readonly string[];
  /** Undefined: the key's own. */
  readonly hash: string | undefined;
  readonly pss?: true;
}

/** Lists of one file: one for each authority of a chain, with room for those of other clusters. */
const maxLists = 64;
const entriesAtATime = 2000;

/** Every list of a text. One that cannot be read spoils the whole: half a file would let in what the rest forbids. */
export async function readRevocationLists(text: string): Promise<RevocationLists> {
  const blocks = text.match(/-----BEGIN X509 CRL-----[^-]*-----END X509 CRL-----/g) ?? [];
  if (blocks.length === 0) return { kind: 'bad', reason: 'there is no X509 CRL in it' };
  if (blocks.length !== text.split('-----BEGIN ').length - 1) {
    return { kind: 'bad', reason: 'it holds something that is no whole X509 CRL' };
  }
  if (blocks.length > maxLists) return { kind: 'bad', reason: `it holds more than ${maxLists} lists` };
  const lists: RevocationList[] = [];
  for (const [i, block] of blocks.entries()) {
    try {
      lists.push(await readList(Buffer.from(block.replace(/-----[^-]*-----/g, ''), 'base64')));
    } catch (error) {
      return { kind: 'bad', reason: `list ${i + 1} of ${blocks.length}: ${errorText(error)}` };
    }
  }
  return { kind: 'lists', lists };
}

/** Whether the list was signed with the key. Never throws. */
export function isSignedBy(list: RevocationList, key: KeyObject): boolean {
  const { signed, signature, algorithm } = list;
  if (!algorithm.keys.includes(key.asymmetricKeyType ?? '')) return false;
  const padding = algorithm.pss
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO }
    : {};
  try {
    return verify(algorithm.hash, signed, { key, ...padding }, signature);
  } catch {
    // A key that does not go with the algorithm: not signed by it.
    return false;
  }
}

async function readList(der: Buffer): Promise<RevocationList> {
  const outer = new DerReader(der);
  const list = outer.inside(derTag.sequence);
  if (!outer.done) throw new RangeError('bytes after its end');
  const signed = list.next(derTag.sequence);
  const algorithmName = list.next(derTag.sequence);
  const signature = list.next(derTag.bitString).content;
  if (signature[0] !== 0 || !list.done) throw new RangeError('its signature cannot be read');
  const facts = new DerReader(signed.content);
  facts.optional(derTag.integer); // version
  if (!facts.next(derTag.sequence).whole.equals(algorithmName.whole)) {
    throw new RangeError('it names two signature algorithms');
  }
  const issuer = facts.next(derTag.sequence).whole;
  const thisUpdateMs = readTime(facts);
  const nextUpdateMs = isTime(facts.tag) ? readTime(facts) : undefined;
  const entries = facts.optional(derTag.sequence)?.content;
  const serials = entries === undefined ? new Set<string>() : await readEntries(entries);
  if (facts.tag === derTag.context0) refuseUnknown(facts.inside(derTag.context0), knownListExtensions);
  if (!facts.done) throw new RangeError('it has parts that are not known');
  return {
    issuer,
    serials,
    thisUpdateMs,
    nextUpdateMs,
    signed: signed.whole,
    signature: signature.subarray(1),
    algorithm: readAlgorithm(new DerReader(algorithmName.content)),
  };
}

async function readEntries(bytes: Buffer): Promise<ReadonlySet<string>> {
  const serials = new Set<string>();
  const reader = new DerReader(bytes);
  for (let left = entriesAtATime; !reader.done; left--) {
    if (left === 0) {
      await nextTurn();
      left = entriesAtATime;
    }
    const entry = reader.inside(derTag.sequence);
    serials.add(serialText(entry.next(derTag.integer).content));
    readTime(entry);
    if (!entry.done) refuseUnknown(entry, knownEntryExtensions);
  }
  return serials;
}

/** Authority key, issuer's other names, number, distribution point, freshest list, authority information. */
const knownListExtensions = new Set(['551d23', '551d12', '551d14', '551d1c', '551d2e', '2b06010505070101']);
/** Reason, hold instruction, date of invalidity. */
const knownEntryExtensions = new Set(['551d15', '551d17', '551d18']);
const distributionPoint = '551d1c';
const deltaIndicator = '551d1b';
const indirect = 0x84;

/** An extension that is critical and not known may change what the list means (RFC 5280 §5.2). */
function refuseUnknown(holder: DerReader, known: ReadonlySet<string>): void {
  const extensions = holder.inside(derTag.sequence);
  while (!extensions.done) {
    const extension = extensions.inside(derTag.sequence);
    const name = extension.next(derTag.objectIdentifier).content.toString('hex');
    const critical = extension.optional(0x01)?.content[0] === 0xff;
    // Marked critical or not: what it leaves out is still revoked.
    if (name === deltaIndicator) throw new RangeError('it is a delta list');
    if (critical && !known.has(name)) throw new RangeError(`it has a critical extension that is not known (${name})`);
    if (name !== distributionPoint) continue;
    const scope = new DerReader(extension.next(derTag.octetString).content).inside(derTag.sequence);
    while (!scope.done) {
      const part = scope.next();
      if (part.tag === indirect && part.content[0] !== 0) throw new RangeError('it is an indirect list');
    }
  }
}

const hashes: Readonly<Record<string, string>> = {
  '608648016503040201': 'sha256',
  '608648016503040202': 'sha384',
  '608648016503040203': 'sha512',
};
const algorithms: Readonly<Record<string, SignatureAlgorithm>> = {
  '2a864886f70d01010b': { keys: ['rsa'], hash: 'sha256' },
  '2a864886f70d01010c': { keys: ['rsa'], hash: 'sha384' },
  '2a864886f70d01010d': { keys: ['rsa'], hash: 'sha512' },
  '2a8648ce3d040302': { keys: ['ec'], hash: 'sha256' },
  '2a8648ce3d040303': { keys: ['ec'], hash: 'sha384' },
  '2a8648ce3d040304': { keys: ['ec'], hash: 'sha512' },
  '2b6570': { keys: ['ed25519'], hash: undefined },
  '2b6571': { keys: ['ed448'], hash: undefined },
};
const rsaPss = '2a864886f70d01010a';

function readAlgorithm(reader: DerReader): SignatureAlgorithm {
  const name = reader.next(derTag.objectIdentifier).content.toString('hex');
  const known = algorithms[name];
  if (known !== undefined) return known;
  if (name !== rsaPss) throw new RangeError(`its signature algorithm is not known (${name})`);
  // RSASSA-PSS-params: the hash is [0], and SHA-1, which nobody should use, when left out.
  const hash = reader.inside(derTag.sequence).optional(derTag.context0);
  const hashName =
    hash === undefined
      ? ''
      : new DerReader(hash.content).inside(derTag.sequence).next(derTag.objectIdentifier).content.toString('hex');
  const found = hashes[hashName];
  if (found === undefined) throw new RangeError('its signature has a hash that is not known');
  return { keys: ['rsa', 'rsa-pss'], hash: found, pss: true };
}

function isTime(tag: number | undefined): boolean {
  return tag === derTag.utcTime || tag === derTag.generalizedTime;
}

/** RFC 5280 §4.1.2.5: years of two digits are of 1950 to 2049, times are of Greenwich, with seconds. */
function readTime(reader: DerReader): number {
  const { tag, content } = reader.next();
  const text = content.toString('latin1');
  const long = tag === derTag.generalizedTime;
  const match = (long ? /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/ : /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/).exec(
    text,
  );
  if (match === null || !isTime(tag)) throw new RangeError('it has a time that cannot be read');
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  return Date.UTC(long ? year : year < 50 ? 2000 + year : 1900 + year, month - 1, day, hour, minute, second);
}
