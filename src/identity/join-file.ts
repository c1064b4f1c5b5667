/**
 * The join credential on disk: key and chain in one PEM file, readable by its owner alone, replaced by a rename so that
 * a crash leaves the old one or the new one.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { inspect } from 'node:util';
import { errorCode } from '../base/errors.ts';
import type { ClientCertificate } from '../rpc/credentials.ts';
import { splitPem } from './pem.ts';

/** A client certificate whose key is not shown by printing, spreading or serializing it. */
export class StoredCredential implements ClientCertificate {
  readonly uri: string;
  readonly certPem: string;
  readonly notAfterMs: number;
  readonly #keyPem: Buffer;

  constructor(uri: string, keyPem: Buffer, certPem: string, notAfterMs: number) {
    this.uri = uri;
    this.certPem = certPem;
    this.notAfterMs = notAfterMs;
    this.#keyPem = keyPem;
  }

  get keyPem(): Buffer {
    return this.#keyPem;
  }

  [inspect.custom](): string {
    return `StoredCredential(${this.uri})`;
  }
}

/** Undefined when there is no file. Rejects when it cannot be read or holds something else. */
export async function readCredential(path: string): Promise<StoredCredential | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  const keyPem = /-----BEGIN PRIVATE KEY-----[^-]+-----END PRIVATE KEY-----\n/.exec(text)?.[0];
  const chain = splitPem(text);
  if (keyPem === undefined || chain[0] === undefined) throw new Error(`${path} holds no key or no certificate`);
  const leaf = new X509Certificate(chain[0]);
  if (!leaf.checkPrivateKey(createPrivateKey(keyPem))) throw new Error(`${path}: the key is not the certificate's`);
  const uri = leaf.subjectAltName?.replace(/^URI:/, '') ?? '';
  return new StoredCredential(uri, Buffer.from(keyPem), chain.join(''), leaf.validToDate.getTime());
}

/** Puts a draft beside the file, to learn that it can be written before a token is spent. Rejects when it cannot. */
export async function draftCredential(path: string, keyPem: Buffer): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeDraft(path, keyPem);
}

export async function writeCredential(path: string, certificate: ClientCertificate): Promise<void> {
  await writeDraft(path, Buffer.concat([Buffer.from(certificate.keyPem), Buffer.from(certificate.certPem)]));
  await rename(draftOf(path), path);
}

async function writeDraft(path: string, content: Buffer): Promise<void> {
  const file = await open(draftOf(path), 'w', 0o600);
  try {
    await chmod(draftOf(path), 0o600);
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

function draftOf(path: string): string {
  return `${path}.draft`;
}
