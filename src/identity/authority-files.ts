/**
 * The four files of a certificate authority, named as in Istio's `cacerts`. A folder is complete or not there: it is
 * written beside its place and moved in by one rename, so that a crash or a second process never leaves half of it.
 * The folder is readable by its owner alone (0700), the key too (0600).
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { AmbitError, errorCode } from '../base/errors.ts';

const names = {
  rootCert: 'root-cert.pem',
  caCert: 'ca-cert.pem',
  certChain: 'cert-chain.pem',
  caKey: 'ca-key.pem',
} as const;

export interface AuthorityFiles {
  readonly rootCert: string;
  readonly caCert: string;
  readonly certChain: string;
  readonly caKey: Buffer;
}

/** Undefined when none of the files is there; an AmbitError when only some are, or one cannot be read. */
export async function readAuthorityFiles(folder: string): Promise<AuthorityFiles | undefined> {
  const found = new Map<string, Buffer>();
  for (const name of Object.values(names)) {
    try {
      found.set(name, await readFile(join(folder, name)));
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw unusable(`cannot read ${join(folder, name)}`, error);
    }
  }
  if (found.size === 0) return undefined;
  const file = (name: string): Buffer => {
    const content = found.get(name);
    if (content === undefined)
      throw unusable(`${join(folder, name)} is missing beside the other files of the authority`);
    return content;
  };
  return {
    rootCert: file(names.rootCert).toString(),
    caCert: file(names.caCert).toString(),
    certChain: file(names.certChain).toString(),
    caKey: file(names.caKey),
  };
}

/** When another process was faster, its files stay. */
export async function writeAuthorityFiles(folder: string, files: AuthorityFiles): Promise<void> {
  const target = resolve(folder);
  const draft = `${target}.${randomBytes(6).toString('hex')}`;
  try {
    await mkdir(dirname(target), { recursive: true });
    await mkdir(draft, { mode: 0o700 });
    for (const [part, name] of Object.entries(names)) {
      await writeDurably(join(draft, name), files[part as keyof AuthorityFiles], name === names.caKey ? 0o600 : 0o644);
    }
    await rename(draft, target);
    await chmod(target, 0o700);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    const code = errorCode(error);
    if ((code === 'ENOTEMPTY' || code === 'EEXIST') && (await readAuthorityFiles(target)) !== undefined) return;
    throw unusable(`cannot write ${target} (it must be a folder that is empty or absent)`, error);
  }
}

async function writeDurably(path: string, content: string | Buffer, mode: number): Promise<void> {
  const file = await open(path, 'wx', mode);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

function unusable(message: string, cause?: unknown): AmbitError {
  return new AmbitError(message, { code: 'IDENTITY_CA_FILES', origin: 'local', cause });
}
