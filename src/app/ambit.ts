/** `ambit`: the tools beside the proxies. Each subcommand lives in its room; here they get their surroundings. */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { systemClock } from '../base/clock.ts';
import { formatDiagnostic, hasErrors } from '../base/diagnostics.ts';
import { version } from '../base/own-files.ts';
import { presetByName } from '../config/preset.ts';
import { createObservability } from './observability.ts';

const ambitHelp = `Usage: ambit COMMAND [ARG ...]

  control      the control plane of a folder of YAML: certificates, join tokens, discovery
  redirect     apply, remove or show the redirection rules of a node or pod (the init script)
  check DIR    say what is wrong with a folder of configuration: file:line:col code message
  version      print the version

Each command explains itself with --help. Exit codes: 0 done, 1 failed, 2 bad arguments.
`;

/** `argv` without the program's name. Never rejects; the value is the exit code. */
export async function runAmbit(argv: readonly string[]): Promise<number> {
  const [command = '--help', ...rest] = argv;
  switch (command) {
    case 'control':
      return await control(rest);
    case 'redirect': {
      const { runRedirectCommand } = await import('../redirect/command.ts');
      return await runRedirectCommand(rest, { stdout: process.stdout, stderr: process.stderr, env: process.env });
    }
    case 'check':
      return await check(rest);
    case 'version':
    case '--version':
      process.stdout.write(`${version}\n`);
      return 0;
    case 'help':
    case '--help':
    case '-h':
      process.stdout.write(ambitHelp);
      return 0;
    default:
      process.stderr.write(`ambit: no command ${JSON.stringify(command)}; ambit --help lists them\n`);
      return 2;
  }
}

async function control(argv: readonly string[]): Promise<number> {
  const { runControlCommand } = await import('../control/command.ts');
  const format = process.env.LOG_FORMAT === 'json' ? 'json' : 'plain';
  const levels = process.env.RUST_LOG ?? 'info';
  const seen = createObservability({ levels, format, program: 'control', version });
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(1);
      stop.abort();
    });
  }
  const code = await runControlCommand(argv, process.env, {
    out: (line) => process.stdout.write(`${line}\n`),
    err: (line) => process.stderr.write(`${line}\n`),
    clock: systemClock,
    logger: seen.logger,
    metrics: seen.metrics,
    stop: stop.signal,
  });
  seen.flush();
  return code;
}

const checkHelp = `Usage: ambit check DIR [--status] [--preset legacy|modern] [--trust-domain NAME] [--cluster-domain NAME]

Compiles the folder as a proxy would and prints what is wrong: file:line:col severity code message.
With --status also what became of every route, by its parents, in Gateway API's conditions.
Exit code 1 when there are errors; warnings and infos do not count.
`;

async function check(argv: readonly string[]): Promise<number> {
  const [{ checkRoutes }, { defaultCompileOptions }] = await Promise.all([
    import('../xds/check.ts'),
    import('../compile/options.ts'),
  ]);
  const fail = (problem: string) => {
    process.stderr.write(`ambit check: ${problem}\n${checkHelp}`);
    return 2;
  };
  const parsed = parseCheck(argv);
  if (typeof parsed === 'string') return fail(parsed);
  const { values, positionals } = parsed;
  if (values.help) {
    process.stdout.write(checkHelp);
    return 0;
  }
  const [directory, ...others] = positionals;
  const preset = presetByName(values.preset);
  if (directory === undefined || others.length > 0) return fail('give one folder');
  if (preset === undefined) return fail(`--preset ${values.preset}: say legacy or modern`);
  const { diagnostics, statuses } = await checkRoutes(directory, {
    ...defaultCompileOptions,
    preset,
    trustDomain: values['trust-domain'],
    clusterDomain: values['cluster-domain'],
  });
  for (const diagnostic of diagnostics) process.stdout.write(`${formatDiagnostic(diagnostic)}\n`);
  for (const { object, parents } of values.status ? statuses : []) {
    for (const { parent, conditions } of parents) {
      const words = conditions.map(({ type, status, reason, message }) =>
        [`${type}=${status}`, reason, ...(message === '' ? [] : [`(${message})`])].join(' '),
      );
      process.stdout.write(`${object.kind} ${object.namespace}/${object.name} at ${parent}: ${words.join('; ')}\n`);
    }
  }
  return hasErrors(diagnostics) ? 1 : 0;
}

function parseCheck(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        preset: { type: 'string', default: 'modern' },
        'trust-domain': { type: 'string', default: 'cluster.local' },
        'cluster-domain': { type: 'string', default: 'cluster.local' },
        status: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
