/**
 * The container image, built without an engine: the Dockerfile's COPY and RUN lines are followed into folders, with
 * .dockerignore's rules, and the image's programs are started from the last one. What a line does to the image's own
 * system (apt, absolute paths) is left out, and `npm ci` is a copy of the packages that are installed already.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');

interface Stage {
  readonly name: string;
  /** Stands for the image's `/`. */
  readonly folder: string;
  directory: string;
}

interface Instruction {
  readonly verb: string;
  readonly text: string;
}

t.test('the image has what its programs need and nothing else', { timeout: 110_000 }, async (t) => {
  // Outside the repository: what is missing must not be found in its node_modules.
  const scratch = mkdtempSync(path.join(tmpdir(), 'ambit-image-'));
  t.teardown(() => rmSync(scratch, { recursive: true, force: true }));
  const instructions = parseDockerfile(read('Dockerfile'));
  const image = build(t, instructions, scratch);
  const app = path.join(image.folder, 'app');

  t.strictSame(readdirSync(app).sort(), ['LICENSE', 'NOTICE', 'dist', 'node_modules', 'package.json']);
  t.strictSame(readdirSync(path.join(app, 'node_modules')), ['node-tproxy-native'], 'no library but the addon');
  t.strictSame(globSync('node_modules/*/**/*.{c,h,mjs}', { cwd: app }), [], 'the addon without its sources');
  t.strictSame(globSync('dist/**/*.ts', { cwd: app }), [], 'only JavaScript');
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
  const licences = readFileSync(path.join(app, 'dist/LICENSES.txt'), 'utf8');
  const bundled = Object.entries(dependencies).filter(([name]) => name !== 'node-tproxy-native');
  for (const [name, version] of bundled) {
    if (!licences.includes(`${name} ${version} (`)) t.fail(`${name} comes without its licence`);
  }

  const [command = '', ...words] = JSON.parse(last(instructions, 'ENTRYPOINT')) as string[];
  t.equal(command, 'node');
  const entry = words.map((word) => (word.startsWith('/') ? path.join(image.folder, word) : word));
  const start = (...args: readonly string[]) =>
    spawnSync(process.execPath, [...entry, ...args], {
      cwd: image.folder,
      encoding: 'utf8',
      env: { NODE_ENV: 'production' },
    });
  const version = `${(JSON.parse(read('package.json')) as { version: string }).version}\n`;
  t.match(start(...(JSON.parse(last(instructions, 'CMD')) as string[])), {
    status: 0,
    stdout: /ztunnel\|waypoint\|ambit/,
  });
  t.match(start('ambit', '--help'), { status: 0, stdout: /Usage: ambit/ });
  t.match(start('ambit', 'control', '--help'), { status: 0, stdout: /Usage: ambit control/ });
  t.match(start('ambit', 'redirect', 'show', 'inpod'), { status: 0, stdout: /iptables/ });
  t.match(start('proxy', 'ztunnel', '--version'), { status: 0, stdout: version });
  t.match(start('ztunnel', '--help'), { status: 0, stdout: /Usage: ztunnel/ });
  t.match(start('proxy', 'waypoint', '--version'), { status: 0, stdout: version });
  t.match(start('pilot'), { status: 2, stderr: /usage/ });
  const addon = spawnSync(process.execPath, ['-e', 'await import("node-tproxy-native")'], {
    cwd: app,
    encoding: 'utf8',
  });
  t.match(addon, { status: 0 }, 'the addon loads');
});

t.test('the image does not run as root unless it is told to', async (t) => {
  t.match(last(parseDockerfile(read('Dockerfile')), 'USER'), /^[1-9]\d*(:\d+)?$/);
});

/** The last stage, built. */
function build(t: Test, instructions: readonly Instruction[], scratch: string): Stage {
  const ignored = parseIgnore(read('.dockerignore'));
  const stages: Stage[] = [];
  for (const { verb, text } of instructions) {
    const stage = stages.at(-1);
    if (verb === 'FROM') {
      const name = / AS (\S+)$/i.exec(text)?.[1] ?? String(stages.length);
      stages.push({ name, folder: path.join(scratch, `stage-${name}`), directory: '/' });
    } else if (stage !== undefined) {
      const here = path.join(stage.folder, stage.directory);
      mkdirSync(here, { recursive: true });
      if (verb === 'WORKDIR') stage.directory = path.resolve(stage.directory, text);
      if (verb === 'COPY') copy(text, here, (from) => stages.find((one) => one.name === from)?.folder);
      if (verb === 'RUN') for (const command of text.split(' && ')) runCommand(t, command.trim(), here);
    }
  }
  const image = stages.at(-1);
  if (image === undefined) throw new Error('the Dockerfile has no stage');
  return image;

  function copy(text: string, here: string, stageFolder: (name: string) => string | undefined): void {
    const words = text.split(/\s+/);
    const from = words[0]?.startsWith('--from=')
      ? stageFolder(words.shift()?.slice('--from='.length) ?? '')
      : undefined;
    const target = words.pop() ?? '.';
    for (const source of words) {
      const original = from === undefined ? path.join(root, source) : path.join(from, source);
      const intoFolder = target.endsWith('/') && !statSync(original).isDirectory();
      cpSync(original, path.join(here, target, intoFolder ? path.basename(source) : ''), {
        recursive: true,
        verbatimSymlinks: true,
        filter: (file) => from !== undefined || !ignored(path.relative(root, file)),
      });
    }
  }
}

function runCommand(t: Test, command: string, cwd: string): void {
  if (command.startsWith('apt-get ') || / \//.test(command)) return;
  // Nothing of ours but the path.
  const env = ['-i', `PATH=${path.dirname(process.execPath)}:${process.env.PATH}`, `HOME=${cwd}`];
  // Hard links: fast, and what is removed here stays where it came from.
  const install = `cp -al ${root}/node_modules . 2>/dev/null || cp -a ${root}/node_modules .; rm -f node_modules/.package-lock.json`;
  const line = command.startsWith('npm ci') ? install : command;
  const { status, stdout, stderr } = spawnSync('env', [...env, 'sh', '-c', line], { cwd, encoding: 'utf8' });
  t.equal(status, 0, status === 0 ? command : `${command}\n${stdout}${stderr}`);
}

function parseDockerfile(text: string): Instruction[] {
  const lines = text
    .replace(/^\s*#.*\n/gm, '')
    .replace(/\\\n\s*/g, '')
    .split('\n');
  return lines
    .filter((line) => line.trim() !== '')
    .map((line) => ({ verb: line.split(' ')[0] ?? '', text: line.slice(line.indexOf(' ') + 1).trim() }));
}

function last(instructions: readonly Instruction[], verb: string): string {
  return instructions.findLast((instruction) => instruction.verb === verb)?.text ?? '';
}

/** Whether a path of the repository stays out of the build: the last rule that names it, or a folder above it, decides. */
function parseIgnore(text: string): (file: string) => boolean {
  const rules = text.split('\n').filter((line) => line !== '');
  return (file) => {
    let out = false;
    for (const rule of rules) {
      const name = rule.replace('!', '');
      if (name === '*' || file === name || file.startsWith(`${name}/`)) out = !rule.startsWith('!');
    }
    return out;
  };
}
