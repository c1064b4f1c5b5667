/** The demo's arguments: read once, all problems told at once. */
import { parseArgs } from 'node:util';
import { type Preset, presetByName } from '../../config/preset.ts';

export interface DemoArguments {
  readonly preset: Preset;
  readonly keep: boolean;
  readonly view: boolean;
  readonly loopback: boolean;
  readonly verbose: boolean;
  /** A program that is ended on purpose once the mesh stands, to see the demo notice. */
  readonly breaks: string | undefined;
}

export type DemoCommand =
  | { readonly kind: 'run'; readonly arguments: DemoArguments }
  | { readonly kind: 'help' }
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

export const demoHelp = `Usage: npm run demo -- [OPTION ...]

Builds the article's mesh in network namespaces of its own, sends real requests through it, and checks every hop.
Needs neither root nor Kubernetes; touches nothing outside its namespaces. Exit code 0: every check held.

  --preset legacy|modern  the article's path (default), or today's: in-pod redirection and waypoints on 15008
  --keep                  stay up afterwards, with commands to look around
  --view                  print listeners, chains, clusters and endpoints of the running proxies (figures 3 to 7)
  --loopback              no namespaces: show the tunnels by explicit proxying on loopback
  --break PROGRAM         end a program once the mesh stands (ztunnel-node-a, ztunnel-node-b, waypoint): the demo must fail
  --verbose               print the programs' log lines
  --help                  this text
`;

export function parseDemoArguments(argv: readonly string[]): DemoCommand {
  const problems: string[] = [];
  const { values, tokens } = parseArgs({
    args: [...argv],
    strict: false,
    tokens: true,
    options: {
      preset: { type: 'string', default: 'legacy' },
      break: { type: 'string' },
      keep: { type: 'boolean' },
      view: { type: 'boolean' },
      loopback: { type: 'boolean' },
      verbose: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const known = new Set(['preset', 'break', 'keep', 'view', 'loopback', 'verbose', 'help']);
  for (const token of tokens) {
    if (token.kind === 'option' && !known.has(token.name)) problems.push(`${token.rawName}: no such option`);
    if (token.kind === 'positional') problems.push(`${token.value}: takes no words, only options`);
  }
  if (values.help === true) return { kind: 'help' };
  const preset = presetByName(String(values.preset));
  if (preset === undefined) problems.push(`--preset ${String(values.preset)}: say legacy or modern`);
  if (values.break !== undefined && typeof values.break !== 'string') problems.push('--break needs a program');
  if (values.loopback === true && preset?.capture === 'inpod') problems.push('--loopback shows the legacy preset only');
  if (preset === undefined || problems.length > 0) return { kind: 'problems', problems };
  return {
    kind: 'run',
    arguments: {
      preset,
      keep: values.keep === true,
      view: values.view === true,
      loopback: values.loopback === true,
      verbose: values.verbose === true,
      breaks: typeof values.break === 'string' ? values.break : undefined,
    },
  };
}
