/**
 * The command line of `ztunnel`: which of its words ask for help, the version or a view of a running one, and else the
 * settings it is to run with. Options come before the environment.
 */
import { parseArgs } from 'node:util';
import { errorText } from '../base/errors.ts';
import type { Environment } from '../config/environment.ts';
import { readViewRequest, type ViewRequest } from './admin-view.ts';
import { readZtunnelSettings, type ZtunnelProgramSettings } from './ztunnel-settings.ts';

export const ztunnelHelp = `Usage: ztunnel [proxy ztunnel] [options]
       ztunnel --view [listeners|clusters|endpoints|certs|dump] [--from ADDRESS]

The layer 4 proxy of a node: takes what its pods send and receive, and carries it in mutually authenticated tunnels.

  --config DIR      the mesh as a folder of YAML, watched (AMBIT_CONFIG)
  --preset NAME     legacy (the 2022 preview) or modern (AMBIT_PRESET; default modern)
  --node NAME       whose pods these are (NODE_NAME)
  --view [NAME]     prints a view of a running ztunnel and ends; listeners unless told
  --from ADDRESS    where it runs: an admin socket's path, or host:port (default 127.0.0.1:15000)
  --source POD      with --view: only this source, by name, namespace/name or address
  --help, --version

Everything else is set by environment variables; docs/environment.md lists them.
`;

export type ZtunnelCommand =
  | { readonly kind: 'run'; readonly settings: ZtunnelProgramSettings }
  | { readonly kind: 'view'; readonly request: ViewRequest }
  | { readonly kind: 'help' }
  | { readonly kind: 'version' }
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

/** `argv` without the program's name. */
export function readZtunnelCommand(argv: readonly string[], environment: Environment): ZtunnelCommand {
  const words = argv[0] === 'proxy' && argv[1] === 'ztunnel' ? argv.slice(2) : argv;
  const [first] = words;
  if (first === 'help') return { kind: 'help' };
  if (first === 'version') return { kind: 'version' };
  const options = readOptions(words);
  if (options.kind === 'problems') return options;
  const { values, positionals } = options;
  if (values.help) return { kind: 'help' };
  if (values.version) return { kind: 'version' };
  if (values.view) return readViewRequest(positionals, values, environment);
  const given: Record<string, string | undefined> = { ...environment };
  if (values.config !== undefined) given.AMBIT_CONFIG = values.config;
  if (values.preset !== undefined) given.AMBIT_PRESET = values.preset;
  if (values.node !== undefined) given.NODE_NAME = values.node;
  const problems = positionals.map((word) => `${JSON.stringify(word)}: no such argument; ztunnel --help lists them`);
  const settings = readZtunnelSettings(given, problems);
  return settings === undefined ? { kind: 'problems', problems } : { kind: 'run', settings };
}

type Options = ReturnType<typeof parseOptions>;

function readOptions(
  words: readonly string[],
): (Options & { readonly kind: 'options' }) | { readonly kind: 'problems'; readonly problems: readonly string[] } {
  try {
    return { kind: 'options', ...parseOptions(words) };
  } catch (error) {
    return { kind: 'problems', problems: [errorText(error)] };
  }
}

function parseOptions(words: readonly string[]) {
  return parseArgs({
    args: [...words],
    allowPositionals: true,
    options: {
      config: { type: 'string' },
      preset: { type: 'string' },
      node: { type: 'string' },
      view: { type: 'boolean' },
      from: { type: 'string' },
      source: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean' },
    },
  });
}
