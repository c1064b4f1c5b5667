/**
 * Whether a peer's certificates have been revoked, in the handshake and for as long as its session lives (ztunnel.md §3.7,
 * §4.6). OpenSSL's own check is not used: once it has one list it refuses every issuer that has none.
 *
 * I1: every certificate on every path from the leaf to our roots is looked up; a peer cannot leave one out, since a path
 *     that OpenSSL could follow is among them.
 * I2: an issuer's list counts only with that issuer's signature. An issuer without a list, and a list that is past its
 *     date, are put up with, as ztunnel does.
 * I3: where lists are demanded and none could ever be read, nobody is let in.
 * I4: of a session only who issued what under which number is kept.
 */
import { type KeyObject, X509Certificate } from 'node:crypto';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Counter, MetricsRegistry } from '../base/metrics.ts';
import { certificateNames } from './der.ts';
import { splitPem } from './pem.ts';
import { isSignedBy, type RevocationList } from './revocation-list.ts';
import type { Secret } from './secret.ts';

/** Whose handshake or session: we are its client (`source`) or its server. */
export type RevocationReporter = 'source' | 'destination';

/** What a session keeps of its peer's certificates: small, and enough to look them up in a newer list. */
export type PeerChain = readonly { readonly issuer: Issuer; readonly serial: string }[];

export type Examination =
  | { readonly kind: 'good'; readonly chain: PeerChain }
  | { readonly kind: 'revoked'; readonly reason: string }
  /** It could not be told: to be refused as well. */
  | { readonly kind: 'unknown'; readonly reason: string };

export interface PeerRevocation {
  /** For a peer whose chain OpenSSL has just verified against `rootsPem`. Never throws. Refusals are counted. */
  examine(peer: X509Certificate, rootsPem: string, reporter: RevocationReporter): Examination;
  /** Why a session must end now; undefined: it may go on. */
  revoked(chain: PeerChain, reporter: RevocationReporter): string | undefined;
  /** The same as `examine` for a certificate of ours, whose holder is served without a handshake. */
  examineOwn(secret: Pick<Secret, 'chainPem' | 'rootsPem'>, reporter: RevocationReporter): Examination;
  /** Called after other lists came into force. Returns the way to stop listening. */
  onChange(listener: () => void): () => void;
}

interface Issuer {
  /** For messages. */
  readonly name: string;
  readonly subject: Buffer;
  readonly key: KeyObject;
  /** Which lists carry its signature. */
  readonly signed: WeakMap<RevocationList, boolean>;
}

export interface RevocationOptions {
  /** Without any list nobody is let in. */
  readonly required: boolean;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
}

/** Certificates a peer may send beyond its own; longer chains than a mesh has are refused. */
const maxSent = 10;
const maxIssuers = 256;
const maxVerified = 1024;
const maxRootBundles = 16;
/** A peer must not make us reckon with keys of its own choice that are as large as can be. */
const maxRsaBits = 8192;

export class Revocation implements PeerRevocation {
  readonly #options: RevocationOptions;
  readonly #listeners = new Set<() => void>();
  readonly #issuers = new Map<string, Issuer>();
  /** By the pair's fingerprints; never for leaves. */
  readonly #verified = new Map<string, boolean>();
  readonly #roots = new Map<string, readonly X509Certificate[]>();
  readonly #own = new WeakMap<object, PeerChain>();
  readonly #rejections: Readonly<Record<RevocationReporter, Counter>>;
  readonly #untracked: Readonly<Record<RevocationReporter, Counter>>;
  #lists: readonly RevocationList[] | undefined;

  constructor(options: RevocationOptions) {
    this.#options = options;
    const family = (name: string, help: string) => ({
      source: options.metrics.counter(name, help, { reporter: 'source' }),
      destination: options.metrics.counter(name, help, { reporter: 'destination' }),
    });
    this.#rejections = family(
      'istio_crl_policy_rejections_total',
      'Handshakes and sessions ended by a revocation list.',
    );
    this.#untracked = family(
      'istio_crl_untracked_connections_total',
      'Connections whose chain could not be looked up in revocation lists; they were refused.',
    );
  }

  /** Whether lists were ever given. */
  get known(): boolean {
    return this.#lists !== undefined;
  }

  /** Puts these lists in the place of those before. */
  replace(lists: readonly RevocationList[]): void {
    this.#lists = lists;
    for (const issuer of this.#issuers.values()) this.#introduce(issuer);
    for (const listener of this.#listeners) listener();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  examine(peer: X509Certificate, rootsPem: string, reporter: RevocationReporter): Examination {
    return this.#examine(() => sentBy(peer), rootsPem, reporter);
  }

  examineOwn(secret: Pick<Secret, 'chainPem' | 'rootsPem'>, reporter: RevocationReporter): Examination {
    const known = this.#own.get(secret);
    if (known !== undefined) {
      const reason = this.revoked(known, reporter);
      return reason === undefined ? { kind: 'good', chain: known } : { kind: 'revoked', reason };
    }
    const certificates = () => secret.chainPem.flatMap(splitPem).map((pem) => new X509Certificate(pem));
    const examined = this.#examine(certificates, secret.rootsPem, reporter);
    if (examined.kind === 'good') this.#own.set(secret, examined.chain);
    return examined;
  }

  revoked(chain: PeerChain, reporter: RevocationReporter): string | undefined {
    const reason = this.#reason(chain);
    if (reason !== undefined) this.#rejections[reporter].value++;
    return reason;
  }

  #examine(
    certificates: () => readonly X509Certificate[],
    rootsPem: string,
    reporter: RevocationReporter,
  ): Examination {
    if (this.#lists === undefined && this.#options.required) {
      return { kind: 'unknown', reason: 'no revocation list has been read yet' };
    }
    try {
      const [leaf, ...sent] = certificates();
      const chain = leaf === undefined ? undefined : this.#chainOf(leaf, sent, this.#rootsOf(rootsPem));
      if (chain === undefined) return this.#untrackable(reporter, 'the issuer of the certificate is not to be found');
      const reason = this.revoked(chain, reporter);
      return reason === undefined ? { kind: 'good', chain } : { kind: 'revoked', reason };
    } catch (error) {
      return this.#untrackable(reporter, errorText(error));
    }
  }

  #untrackable(reporter: RevocationReporter, reason: string): Examination {
    this.#untracked[reporter].value++;
    return { kind: 'unknown', reason };
  }

  #reason(chain: PeerChain): string | undefined {
    for (const { issuer, serial } of chain) {
      for (const list of this.#lists ?? []) {
        if (!list.serials.has(serial) || !this.#signed(issuer, list)) continue;
        return `certificate ${Buffer.from(serial, 'latin1').toString('hex')} was revoked by ${issuer.name}`;
      }
    }
    return undefined;
  }

  /** Every step from the leaf upwards; undefined when the leaf's issuer is missing. Throws for keys that are too large. */
  #chainOf(
    leaf: X509Certificate,
    sent: readonly X509Certificate[],
    roots: readonly X509Certificate[],
  ): PeerChain | undefined {
    const candidates = [...roots, ...sent];
    const chain: PeerChain[number][] = [];
    const seen = new Set<string>();
    const queue = [leaf];
    for (const certificate of queue) {
      const { serial } = certificateNames(certificate.raw);
      for (const candidate of candidates) {
        if (!certificate.checkIssued(candidate)) continue;
        if (!roots.includes(candidate)) refuseLargeKey(candidate);
        if (!this.#signedBy(certificate, candidate, certificate === leaf)) continue;
        chain.push({ issuer: this.#issuerOf(candidate), serial });
        if (seen.has(candidate.fingerprint256)) continue;
        seen.add(candidate.fingerprint256);
        queue.push(candidate);
      }
    }
    return chain.length === 0 ? undefined : chain;
  }

  #signedBy(certificate: X509Certificate, issuer: X509Certificate, isLeaf: boolean): boolean {
    if (isLeaf) return certificate.verify(issuer.publicKey);
    const pair = certificate.fingerprint256 + issuer.fingerprint256;
    const known = this.#verified.get(pair);
    if (known !== undefined) return known;
    const answer = certificate.verify(issuer.publicKey);
    if (this.#verified.size >= maxVerified) this.#verified.clear();
    this.#verified.set(pair, answer);
    return answer;
  }

  #issuerOf(certificate: X509Certificate): Issuer {
    const known = this.#issuers.get(certificate.fingerprint256);
    if (known !== undefined) return known;
    const issuer: Issuer = {
      name: certificate.subject.replaceAll('\n', ', '),
      subject: certificateNames(certificate.raw).subject,
      key: certificate.publicKey,
      signed: new WeakMap(),
    };
    // Sessions keep the issuers they know; what is forgotten here is only made anew.
    if (this.#issuers.size >= maxIssuers) this.#issuers.clear();
    this.#issuers.set(certificate.fingerprint256, issuer);
    this.#introduce(issuer);
    return issuer;
  }

  /** Says once of each list in an issuer's name whether it is really the issuer's. */
  #introduce(issuer: Issuer): void {
    for (const list of this.#lists ?? []) {
      if (issuer.signed.has(list) || !list.issuer.equals(issuer.subject)) continue;
      const fields = { issuer: issuer.name, entries: list.serials.size, of: new Date(list.thisUpdateMs).toISOString() };
      const { logger } = this.#options;
      if (this.#signed(issuer, list)) logger.info('a revocation list is in force', fields);
      else logger.warn("a revocation list bears an issuer's name, but not its signature: not used for it", fields);
    }
  }

  #signed(issuer: Issuer, list: RevocationList): boolean {
    const known = issuer.signed.get(list);
    if (known !== undefined) return known;
    const answer = isSignedBy(list, issuer.key);
    issuer.signed.set(list, answer);
    return answer;
  }

  #rootsOf(rootsPem: string): readonly X509Certificate[] {
    const known = this.#roots.get(rootsPem);
    if (known !== undefined) return known;
    const roots = splitPem(rootsPem).map((pem) => new X509Certificate(pem));
    if (this.#roots.size >= maxRootBundles) this.#roots.clear();
    this.#roots.set(rootsPem, roots);
    return roots;
  }
}

/** The peer's own certificate, and those it sent along, in its order. */
function sentBy(peer: X509Certificate): readonly X509Certificate[] {
  const sent = [peer];
  for (let one = peer.issuerCertificate; one !== undefined; one = one.issuerCertificate) {
    if (sent.length > maxSent) throw new RangeError(`the peer sent more than ${maxSent} certificates`);
    sent.push(one);
  }
  return sent;
}

function refuseLargeKey({ publicKey }: X509Certificate): void {
  const bits = publicKey.asymmetricKeyDetails?.modulusLength ?? 0;
  if (bits > maxRsaBits) throw new RangeError(`the peer sent a certificate with a key of ${bits} bits`);
}
