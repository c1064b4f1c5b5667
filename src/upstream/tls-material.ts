/**
 * Certificates, keys and authorities for TLS to backends, as contexts for handshakes: from PEM that came with the
 * configuration, or from files, which are read again when they have changed.
 *
 * I1: total: what cannot be read or does not fit together is a reason, never a throw and never a context without it.
 * I2: while new files cannot be used, the last good context goes on, and it is said.
 * I3: no path can hold us up: only plain files up to a bound are read.
 */
import { X509Certificate } from 'node:crypto';
import { open } from 'node:fs/promises';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import type { Clock } from '../base/clock.ts';
import { errorCode, errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';

/** PEM. */
export interface TlsPem {
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  /** Undefined: those that programs of this machine trust. */
  readonly authorities: string | undefined;
  readonly revocations: string | undefined;
}

export interface TlsPaths {
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  /** Undefined: the system's. */
  readonly authorities: string | undefined;
  readonly revocations: string | undefined;
}

export type MaterialOutcome =
  | { readonly kind: 'context'; readonly context: SecureContext }
  | { readonly kind: 'failed'; readonly reason: string };

export interface TlsMaterial {
  /** Never rejects. The same context until what it is made of has changed. */
  context(): Promise<MaterialOutcome>;
}

/** How often files are looked at while connections are made. */
const lookAgainMs = 5_000;
const longestFileBytes = 1024 * 1024;

export function materialFromPem(pem: TlsPem): TlsMaterial {
  let made: MaterialOutcome | undefined;
  return {
    context: () => {
      made ??= makeContext(pem);
      return Promise.resolve(made);
    },
  };
}

/** What is not there, said by whoever looked for it. */
export function missingMaterial(reason: string): TlsMaterial {
  return { context: () => Promise.resolve({ kind: 'failed', reason }) };
}

export function materialFromFiles(paths: TlsPaths, clock: Clock, logger: Logger): TlsMaterial {
  let current: MaterialOutcome | undefined;
  let read: string | undefined;
  let lookedMs = Number.NEGATIVE_INFINITY;
  let looking: Promise<MaterialOutcome> | undefined;
  const look = async (): Promise<MaterialOutcome> => {
    const found = await readFiles(paths);
    const next = found.kind === 'failed' ? found : (read === found.text && current) || makeContext(found.pem);
    if (next.kind === 'context') {
      if (current?.kind === 'context' && next !== current)
        logger.info('upstream certificates were replaced', {
          certificate: paths.certificate,
          authorities: paths.authorities,
        });
      read = found.kind === 'read' ? found.text : undefined;
      current = next;
    } else if (current?.kind === 'context') {
      logger.warn('upstream certificates cannot be used, the last good ones go on', { reason: next.reason });
    } else {
      current = next;
    }
    lookedMs = clock.nowMs();
    looking = undefined;
    return current;
  };
  return {
    context: () => {
      if (current?.kind === 'context' && clock.nowMs() - lookedMs < lookAgainMs) return Promise.resolve(current);
      looking ??= look();
      return looking;
    },
  };
}

async function readFiles(
  paths: TlsPaths,
): Promise<
  { readonly kind: 'read'; readonly pem: TlsPem; readonly text: string } | { kind: 'failed'; reason: string }
> {
  const problems: string[] = [];
  const read = async (path: string | undefined): Promise<string | undefined> => {
    if (path === undefined) return undefined;
    const found = await readPlainFile(path);
    if (found.kind === 'read') return found.text;
    problems.push(found.reason);
    return undefined;
  };
  const certificate = await read(paths.certificate);
  const key = await read(paths.key);
  const authorities = await read(paths.authorities);
  const revocations = await read(paths.revocations);
  if (problems.length > 0) return { kind: 'failed', reason: problems.join('; ') };
  const pem = { certificate, key, authorities, revocations };
  return { kind: 'read', pem, text: [certificate, key, authorities, revocations].join('\0') };
}

async function readPlainFile(
  path: string,
): Promise<{ kind: 'read'; text: string } | { kind: 'failed'; reason: string }> {
  try {
    // Without waiting for whoever would write to a pipe.
    await using file = await open(path, 0o4000 /* O_RDONLY | O_NONBLOCK */);
    const stat = await file.stat();
    if (!stat.isFile() || stat.size > longestFileBytes) return { kind: 'failed', reason: `${path} is no file of PEM` };
    return { kind: 'read', text: await file.readFile('utf8') };
  } catch (error) {
    return { kind: 'failed', reason: `${path}: ${errorCode(error) ?? errorText(error)}` };
  }
}

function makeContext(pem: TlsPem): MaterialOutcome {
  try {
    const authorities = pem.authorities === undefined ? systemAuthorities() : authoritiesIn(pem.authorities);
    if (authorities.length === 0) return { kind: 'failed', reason: 'the file of authorities has no certificate' };
    if ((pem.certificate === undefined) !== (pem.key === undefined)) {
      return { kind: 'failed', reason: 'a certificate without its key, or a key without its certificate' };
    }
    const context = createSecureContext({
      ca: authorities,
      minVersion: 'TLSv1.2',
      ...(pem.certificate === undefined ? {} : { cert: pem.certificate, key: pem.key }),
      ...(pem.revocations === undefined ? {} : { crl: pem.revocations }),
    });
    return { kind: 'context', context };
  } catch (error) {
    return { kind: 'failed', reason: errorText(error) };
  }
}

let ofSystem: string[] | undefined;

function systemAuthorities(): string[] {
  ofSystem ??= getCACertificates('default');
  return ofSystem;
}

/** OpenSSL passes over what it cannot read; here it is an error. */
function authoritiesIn(pem: string): string[] {
  const blocks =
    pem.match(/-----BEGIN (?:TRUSTED )?CERTIFICATE-----[\s\S]*?-----END (?:TRUSTED )?CERTIFICATE-----/g) ?? [];
  for (const block of blocks) new X509Certificate(block);
  return blocks;
}
