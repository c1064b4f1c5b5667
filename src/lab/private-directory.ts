/**
 * The lab's own directory: a tmpfs that only the lab's mount namespace sees, so nothing is ever left on a disk.
 *
 * It must be mounted over a directory that exists and that nobody inside needs (not the code, not Node, not the file
 * resolv.conf links to): the first of a few candidates that hides none of those.
 */
import { existsSync, mkdtempSync, realpathSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AmbitError } from '../base/errors.ts';
import { mustRun } from './command.ts';

const candidates = ['/dev/shm', '/media', '/srv', '/mnt', '/run/lock', '/run'];

/** The first candidate above none of the `needed` paths; undefined when every one hides something. Pure. */
export function chooseMountPoint(existing: readonly string[], needed: readonly string[]): string | undefined {
  return existing.find((point) => !needed.some((path) => path === point || path.startsWith(`${point}/`)));
}

let mounted: Promise<string> | undefined;

/** A fresh, empty directory below the private mount. Several labs of one process share the mount. Inside only. */
export async function makePrivateDirectory(): Promise<string> {
  mounted ??= mountPrivate();
  return mkdtempSync(join(await mounted, 'lab-'));
}

async function mountPrivate(): Promise<string> {
  const existing = candidates.filter((path) => existsSync(path)).map((path) => realpathSync(path));
  const point = chooseMountPoint(existing, neededPaths());
  if (point === undefined) {
    throw new AmbitError(`no directory to mount the lab's files over (tried ${candidates.join(', ')})`, {
      code: 'LAB_NO_PRIVATE_DIRECTORY',
      origin: 'local',
    });
  }
  await mustRun(['mount', '-t', 'tmpfs', '-o', 'mode=0755,size=256m', 'ambit-lab', point]);
  // The legacy iptables' lock is /run/xtables.lock, which an ordinary user may not open and root shares with the host.
  process.env.XTABLES_LOCKFILE = join(point, 'xtables.lock');
  return point;
}

function neededPaths(): string[] {
  const paths = [
    process.execPath,
    import.meta.filename,
    process.argv[1] ?? '',
    process.cwd(),
    tmpdir(),
    '/etc/resolv.conf',
  ];
  return paths.filter((path) => path !== '' && existsSync(path)).map((path) => realpathSync(path));
}
