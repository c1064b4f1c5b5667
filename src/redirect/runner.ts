/**
 * Commands: argument arrays and standard input, never a shell. Everything that touches the machine goes through a `Runner`,
 * so that tests can record it and the lab can run the same plan in another network namespace.
 */
import { execFile } from 'node:child_process';
import { AmbitError } from '../base/errors.ts';

export interface Command {
  readonly program: string;
  readonly arguments: readonly string[];
  /** Standard input; none means empty. */
  readonly input?: string;
}

export interface CommandResult {
  /** Exit status; 127 when the program does not exist, 124 when it took too long. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Runner {
  /** Never rejects: a command that could not be started is a result too. */
  run(command: Command): Promise<CommandResult>;
}

const commandTimeoutMs = 30_000;
const mostOutputBytes = 64 * 1024 * 1024;
/** Where the tools live on systems that keep them off a service's PATH. */
const systemDirectories = '/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin';

/** Runs commands here, or in the network namespace that the file `networkNamespace` stands for (`/proc/PID/ns/net`). */
export function createRunner(options: { readonly networkNamespace?: string } = {}): Runner {
  const path = process.env.PATH === undefined ? systemDirectories : `${process.env.PATH}:${systemDirectories}`;
  const environment = { ...process.env, PATH: path, LC_ALL: 'C' };
  return {
    run(command) {
      const [program, ...args] =
        options.networkNamespace === undefined
          ? [command.program, ...command.arguments]
          : ['nsenter', `--net=${options.networkNamespace}`, '--', command.program, ...command.arguments];
      return execute(program, args, command.input ?? '', environment);
    },
  };
}

export function command(program: string, args: readonly string[], input?: string): Command {
  return input === undefined ? { program, arguments: args } : { program, arguments: args, input };
}

/** The command as one would type it. */
function commandText({ program, arguments: args }: Command): string {
  return [
    program,
    ...args.map((arg) => (/^[\w@%+=:,./!-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`)),
  ].join(' ');
}

/** Runs a command that must succeed; its standard output. Throws `commandError`. */
export async function runOrThrow(runner: Runner, wanted: Command): Promise<string> {
  const result = await runner.run(wanted);
  if (result.status !== 0) throw commandError(wanted, result);
  return result.stdout;
}

/** What failed, what the command said, and what to do. */
export function commandError(failed: Command, result: CommandResult): AmbitError {
  const said = result.stderr.trim() || result.stdout.trim() || 'no message';
  const input = failed.input === undefined ? '' : `\ninput was:\n${failed.input.trimEnd()}`;
  const { code, advice } = adviceFor(failed, result.status, said);
  const text = `\`${commandText(failed)}\` failed with status ${result.status}: ${said}`;
  return new AmbitError(`${text}\n${advice}${input}`, { code, origin: 'local' });
}

const packages: Readonly<Record<string, string>> = { ip: 'iproute2', ipset: 'ipset', nsenter: 'util-linux' };

function adviceFor(failed: Command, status: number, said: string): { code: string; advice: string } {
  if (status === 127) {
    const missing = /nsenter: failed to execute/.test(said) || !said.includes('nsenter') ? failed.program : 'nsenter';
    const name = packages[missing] ?? (missing.includes('tables') ? 'iptables' : 'coreutils');
    return { code: 'REDIRECT_TOOL_MISSING', advice: `Install the package ${name}, which has \`${missing}\`.` };
  }
  if (isDenied(said)) {
    return {
      code: 'REDIRECT_NOT_PERMITTED',
      advice:
        'Changing redirection needs CAP_NET_ADMIN in this network namespace: run as root, or give the container NET_ADMIN.',
    };
  }
  if (/read-only file system/i.test(said)) {
    return {
      code: 'REDIRECT_READ_ONLY',
      advice: 'Kernel settings are read-only here: run the container privileged, or set them from the host.',
    };
  }
  if (/unknown device type|match .* not supported|No chain\/target\/match|Extension .* not supported/i.test(said)) {
    return {
      code: 'REDIRECT_KERNEL_LACKS',
      advice: 'The kernel lacks what this needs: load the module, or choose another tunnel or membership kind.',
    };
  }
  return {
    code: 'REDIRECT_COMMAND_FAILED',
    advice: 'Run it again when the cause is gone: apply and remove may be repeated.',
  };
}

export function isDenied(said: string): boolean {
  return /operation not permitted|permission denied|must be root/i.test(said);
}

function execute(
  program: string,
  args: readonly string[],
  input: string,
  environment: NodeJS.ProcessEnv,
): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = execFile(
      program,
      args,
      { env: environment, timeout: commandTimeoutMs, maxBuffer: mostOutputBytes, encoding: 'utf8' },
      (error, stdout, stderr) => {
        if (error === null) return resolve({ status: 0, stdout, stderr });
        const status = typeof error.code === 'number' ? error.code : undefined;
        if (status !== undefined) return resolve({ status, stdout, stderr });
        if (error.code === 'ENOENT') return resolve({ status: 127, stdout, stderr: `${program}: command not found` });
        resolve({ status: error.killed ? 124 : 126, stdout, stderr: stderr || error.message });
      },
    );
    // A command that ends without reading its input is judged by its status, not by the broken pipe.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}
