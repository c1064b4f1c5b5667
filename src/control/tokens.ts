/**
 * One-time join tokens on disk: one file per token, named by its hash, in a folder of its owner alone. The token itself
 * is 256 random bits, shown once and stored nowhere.
 *
 * I1: a token is spent by exactly one key: the mark is made by `link`, which only one caller can win, whatever processes
 *     and crashes there are. The same key may ask again, in case the answer was lost.
 */
import { createHash, randomBytes } from 'node:crypto';
import { link, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { errorCode } from '../base/errors.ts';
import { isJoinName, type JoinName } from '../identity/join-name.ts';

const prefix = 'ambit-join-';
const form = /^ambit-join-[A-Za-z0-9_-]{43}$/;
/** How long the mark of a spent or expired token stays, so that its use is told apart from nonsense. */
const memoryMs = 24 * 3_600_000;
const most = 10_000;

interface Entry {
  readonly name: JoinName;
  readonly expiresMs: number;
}

export type TokenCheck =
  | { readonly kind: 'good'; readonly name: JoinName }
  | { readonly kind: 'bad'; readonly reason: string };

export class TokenStore {
  readonly #folder: string;
  readonly #clock: Clock;

  private constructor(folder: string, clock: Clock) {
    this.#folder = folder;
    this.#clock = clock;
  }

  /** Makes the folder when it is not there. Rejects when that fails. */
  static async open(folder: string, clock: Clock): Promise<TokenStore> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const store = new TokenStore(folder, clock);
    await store.#sweep();
    return store;
  }

  /** Rejects when the file cannot be written, or when there are 10 000 tokens. */
  async create(name: JoinName, lifeMs: number): Promise<{ readonly token: string; readonly expiresMs: number }> {
    if ((await readdir(this.#folder)).length >= most) throw new Error(`${this.#folder} holds ${most} files already`);
    const token = `${prefix}${randomBytes(32).toString('base64url')}`;
    const entry: Entry = { name, expiresMs: Math.round(this.#clock.wallMs() + lifeMs) };
    await writeFile(this.#path(token), formatEntry(entry), { mode: 0o600, flag: 'wx' });
    return { token, expiresMs: entry.expiresMs };
  }

  /** Whether the token may be spent now, by whoever holds this key. Spends nothing. */
  async check(token: string, publicKey: Buffer): Promise<TokenCheck> {
    const entry = form.test(token) ? await this.#read(token) : undefined;
    if (entry === undefined) return bad('the join token is unknown');
    if (this.#clock.wallMs() >= entry.expiresMs) return bad('the join token has expired');
    const spentBy = await this.#spentBy(token);
    if (spentBy !== undefined && spentBy !== keyHash(publicKey)) return bad('the join token was used before');
    return { kind: 'good', name: entry.name };
  }

  /** Spends a good token. False: another key was faster. */
  async spend(token: string, publicKey: Buffer): Promise<boolean> {
    const hash = keyHash(publicKey);
    const draft = `${this.#path(token)}.${randomBytes(6).toString('hex')}`;
    await writeFile(draft, hash, { mode: 0o600, flag: 'wx', flush: true });
    try {
      await link(draft, this.#spentPath(token));
      return true;
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
      return (await this.#spentBy(token)) === hash;
    } finally {
      await rm(draft, { force: true });
    }
  }

  async #read(token: string): Promise<Entry | undefined> {
    const text = await readOrUndefined(this.#path(token));
    return text === undefined ? undefined : parseEntry(text);
  }

  #spentBy(token: string): Promise<string | undefined> {
    return readOrUndefined(this.#spentPath(token));
  }

  #path(token: string): string {
    return join(this.#folder, `${createHash('sha256').update(token).digest('hex')}`);
  }

  #spentPath(token: string): string {
    return `${this.#path(token)}.spent`;
  }

  async #sweep(): Promise<void> {
    for (const file of await readdir(this.#folder)) {
      if (file.includes('.')) continue;
      const path = join(this.#folder, file);
      const entry = parseEntry((await readOrUndefined(path)) ?? '');
      if (entry === undefined || entry.expiresMs + memoryMs > this.#clock.wallMs()) continue;
      // The token first: without it the mark means nothing.
      await rm(path, { force: true });
      await rm(`${path}.spent`, { force: true });
    }
  }
}

async function readOrUndefined(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** `<expiry> node <name>` or `<expiry> waypoint <namespace> <account>`. */
function formatEntry({ name, expiresMs }: Entry): string {
  const words = name.kind === 'node' ? [name.node] : [name.namespace, name.serviceAccount];
  return `${[expiresMs, name.kind, ...words].join(' ')}\n`;
}

function parseEntry(text: string): Entry | undefined {
  const match = /^(\d{1,15}) (?:node (\S+)|waypoint (\S+) (\S+))\n$/.exec(text);
  if (match === null) return undefined;
  const [, expiry, node, namespace = '', serviceAccount = ''] = match;
  const name: JoinName = node === undefined ? { kind: 'waypoint', namespace, serviceAccount } : { kind: 'node', node };
  return isJoinName(name) ? { name, expiresMs: Number(expiry) } : undefined;
}

function keyHash(publicKey: Buffer): string {
  return createHash('sha256').update(publicKey).digest('hex');
}

function bad(reason: string): TokenCheck {
  return { kind: 'bad', reason: `${reason}: make another with "ambit control token"` };
}
