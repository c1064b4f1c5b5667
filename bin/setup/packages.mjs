/**
 * The packages of the lock file, by `npm ci` under the Node that will use them. The stamp inside node_modules is written
 * last and npm removes it first, so an install that was cut short is never taken for a whole one.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { cacheFolder, npmSettings } from './node.mjs';
import { locked, run, say } from './process.mjs';

export async function installPackages(root, node, env) {
  const lock = fs.readFileSync(path.join(root, 'package-lock.json'));
  const wanted = `${createHash('sha256').update(lock).digest('hex')} ${process.arch}`;
  const stamp = path.join(root, 'node_modules/.ambit-setup');
  const isDone = () => fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === wanted;
  if (isDone()) return;
  await locked(path.join(root, '.cache/packages.lock'), async () => {
    if (isDone()) return;
    say('installing packages');
    const npm = path.join(path.dirname(node), 'npm');
    const settings = { env: { ...env, ...npmSettings(cacheFolder(root)) }, cwd: root, quiet: true };
    await run(fs.existsSync(npm) ? npm : 'npm', ['ci', '--ignore-scripts'], settings, 'install packages (npm ci)');
    fs.writeFileSync(stamp, wanted);
  });
}
