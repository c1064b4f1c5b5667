/** The demo's arguments: read once, all problems told at once. */
import { parseArgs } from 'node:util';
import { type Preset, presetByName } from '../../config/preset.ts';

/** What `--break` can end: `waypoint` is productpage's. */
const breakable = ['ztunnel-node-a', 'ztunnel-node-b', 'waypoint', 'reviews-waypoint', 'control'] as const;

export type Breakable = (typeof breakable)[number];

export interface DemoArguments {
  readonly preset: Preset;
  readonly keep: boolean;
  readonly view: boolean;
  readonly loopback: boolean;
  readonly verbose: boolean;
  /** A program that is ended on purpose once the mesh stands, to see the demo notice. */
  readonly breaks: Breakable | undefined;
}

export type DemoCommand =
  | { readonly kind: 'run'; readonly arguments: DemoArguments }
  | { readonly kind: 'help' }
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

export const demoHelp = `Usage: npm run demo -- [OPTION ...]

Builds the article's mesh in network namespaces of its own, sends real requests through it, and checks every hop.
Needs neither root nor Kubernetes; touches nothing outside its namespaces.

  --preset legacy|modern  the article's path (default), or today's: in-pod redirection and waypoints on 15008
  --view                  also print listeners, chains, clusters and endpoints of the running proxies (figures 3 to 7)
  --keep                  stay up afterwards, with commands to look around
  --break PROGRAM         end a program once the mesh stands and see which checks fail:
                          ${breakable.join(', ')}
  --loopback              no namespaces: show the tunnels by explicit proxying on loopback
  --verbose               print the programs' log lines
  --help                  this text

Exit codes: 0 every check held, 1 one did not or the mesh could not be built, 2 bad arguments.
`;

const flags = ['keep', 'view', 'loopback', 'verbose', 'help'] as const;
const withValue = ['preset', 'break'] as const;

export function parseDemoArguments(argv: readonly string[]): DemoCommand {
  const { values, tokens } = parseArgs({
    args: [...argv],
    strict: false,
    tokens: true,
    options: {
      ...Object.fromEntries(flags.map((name) => [name, { type: 'boolean' as const }])),
      ...Object.fromEntries(withValue.map((name) => [name, { type: 'string' as const }])),
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) return { kind: 'help' };
  const problems = tokens.flatMap((token) => {
    if (token.kind === 'positional') return [`${token.value}: no such word; options begin with --`];
    if (token.kind !== 'option') return [];
    if (flags.some((name) => name === token.name)) {
      return token.value === undefined ? [] : [`${token.rawName} takes no value`];
    }
    return withValue.some((name) => name === token.name) ? [] : [`${token.rawName}: no such option`];
  });
  const preset = presetByName(typeof values.preset === 'string' ? values.preset : 'legacy');
  if (preset === undefined || values.preset === true) problems.push('--preset: say legacy or modern');
  const breaks = breakable.find((name) => name === values.break);
  if (values.break !== undefined && breaks === undefined) problems.push(`--break: say one of ${breakable.join(', ')}`);
  const { loopback = false } = values;
  if (loopback) {
    if (preset?.capture === 'inpod') problems.push('--loopback shows the legacy preset only');
    for (const name of ['keep', 'view', 'break'] as const) {
      if (values[name] !== undefined) problems.push(`--loopback does not go with --${name}`);
    }
  }
  if (preset === undefined || problems.length > 0) return { kind: 'problems', problems };
  const given = (name: (typeof flags)[number]) => values[name] === true;
  return {
    kind: 'run',
    arguments: {
      preset,
      breaks,
      keep: given('keep'),
      view: given('view'),
      loopback: given('loopback'),
      verbose: given('verbose'),
    },
  };
}
