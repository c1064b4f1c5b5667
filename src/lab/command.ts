/**
 * Short system commands (`ip`, `iptables-restore`, `unshare`) run to their end, with their output bounded.
 *
 * Each runs in its own session, so that Ctrl-C at a terminal never cuts a half-built lab: only the supervisor decides.
 */
import { spawn } from 'node:child_process';
import { AmbitError } from '../base/errors.ts';

export interface CommandOptions {
  readonly stdin?: string;
  readonly timeoutMs?: number;
  /** Standard output and error are cut there, each; 1 MiB unless told. */
  readonly outputBytes?: number;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export interface CommandOutcome {
  readonly ok: boolean;
  readonly stdout: string;
  readonly stderr: string;
  /** Empty when `ok`; otherwise what went wrong, in one line. */
  readonly reason: string;
}

/** PATH with the system administrator's folders, which an ordinary user's PATH may lack. */
export function systemPath(path: string | undefined): string {
  const folders = (path ?? '').split(':').filter((folder) => folder !== '');
  for (const folder of ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin']) {
    if (!folders.includes(folder)) folders.push(folder);
  }
  return folders.join(':');
}

/** Runs a command; a missing program, a failure and a timeout (30 s unless told) are outcomes, never exceptions. */
export function runCommand(
  argv: readonly [string, ...string[]],
  options: CommandOptions = {},
): Promise<CommandOutcome> {
  const [program, ...args] = argv;
  const { env: base = process.env, outputBytes = 1 << 20 } = options;
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...base, PATH: systemPath(base.PATH) },
      timeout: options.timeoutMs ?? 30_000,
      killSignal: 'SIGKILL',
    });
    const stdout = collectText(child.stdout, outputBytes);
    const stderr = collectText(child.stderr, outputBytes);
    const settle = (reason: string) => resolve({ ok: reason === '', stdout: stdout(), stderr: stderr(), reason });
    child.on('error', (error) => settle(`${program}: ${error.message}`));
    child.on('close', (code, signal) => {
      const said = stderr().trim().split('\n').at(0) ?? '';
      settle(code === 0 ? '' : `${program}: ${code === null ? `ended by ${signal}` : `exit ${code}`}: ${said}`);
    });
    // A command that does not read its input closes the pipe; its exit code says whether that matters.
    child.stdin.on('error', () => {});
    child.stdin.end(options.stdin ?? '');
  });
}

/** Runs a command that must succeed and returns its standard output; failure is `LAB_COMMAND_FAILED`. */
export async function mustRun(argv: readonly [string, ...string[]], options: CommandOptions = {}): Promise<string> {
  const outcome = await runCommand(argv, options);
  if (outcome.ok) return outcome.stdout;
  const input = options.stdin === undefined ? '' : `\ninput:\n${options.stdin}`;
  const message = `${argv.join(' ')}: ${outcome.reason}\n${outcome.stderr}${input}`;
  throw new AmbitError(message, { code: 'LAB_COMMAND_FAILED', origin: 'local' });
}

function collectText(stream: NodeJS.ReadableStream, limit: number): () => string {
  let text = '';
  stream.setEncoding('utf8');
  stream.on('error', () => {});
  stream.on('data', (chunk: string) => {
    if (text.length < limit) text += chunk;
  });
  return () => text;
}
