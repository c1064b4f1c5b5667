/**
 * The command line of `ambit redirect`: one table of options per program, and the check that lists every problem at once.
 * Options left at `auto` stay open until the machine has been asked.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { overrideConstants } from './constant-override.ts';
import { defaultRedirectConstants } from './constants.ts';
import type { BackendChoice } from './iptables-backend.ts';
import {
  type Member,
  type Membership,
  memberProblems,
  type ProgramName,
  type ProgramParameters,
  parameterProblems,
  programNames,
  type Tunnel,
} from './parameters.ts';
import { defaultTunnelMtu } from './probe.ts';
import { defaultStateDirectory } from './state-store.ts';

export const verbs = ['apply', 'remove', 'show'] as const;
export type Verb = (typeof verbs)[number];

export interface RedirectArguments {
  readonly verb: Verb;
  readonly program: ProgramName;
  readonly networkNamespace?: string;
  readonly stateDirectory: string;
  readonly iptables: BackendChoice;
  readonly members: readonly Member[];
  readonly tunnel: Tunnel['kind'] | 'auto';
  readonly mtu: number;
  readonly membership: Membership | 'auto';
  /** `remove` goes by these options where no record says what was applied. */
  readonly force: boolean;
  /** Only a `remove` that goes by the record can do without. */
  readonly parameters?: (tunnel: Tunnel, membership: Membership) => ProgramParameters;
}

export type ParsedArguments =
  | { readonly kind: 'help' }
  | { readonly kind: 'arguments'; readonly arguments: RedirectArguments }
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

type OptionTable = NonNullable<ParseArgsConfig['options']>;

const commonOptions: OptionTable = {
  help: { type: 'boolean', short: 'h' },
  netns: { type: 'string' },
  'state-dir': { type: 'string' },
  set: { type: 'string', multiple: true },
  force: { type: 'boolean' },
};
const memberOptions: OptionTable = { member: { type: 'string', multiple: true }, membership: { type: 'string' } };
const tunnelOptions: OptionTable = { tunnel: { type: 'string' }, mtu: { type: 'string' } };
const addressOptions: OptionTable = { 'ztunnel-address': { type: 'string' }, 'host-address': { type: 'string' } };

const programOptions: Readonly<Record<ProgramName, OptionTable>> = {
  node: {
    ...addressOptions,
    ...tunnelOptions,
    ...memberOptions,
    'ztunnel-device': { type: 'string' },
    dns: { type: 'boolean' },
  },
  ztunnel: { ...addressOptions, ...tunnelOptions, device: { type: 'string' } },
  host: { ...memberOptions, 'return-path': { type: 'string' } },
  inpod: { dns: { type: 'boolean' }, ipv6: { type: 'boolean' } },
};

const requiredOptions: Readonly<Record<ProgramName, readonly string[]>> = {
  node: ['ztunnel-address', 'ztunnel-device', 'host-address'],
  ztunnel: ['ztunnel-address', 'host-address'],
  host: [],
  inpod: [],
};

export function parseRedirectArguments(argv: readonly string[], env: NodeJS.ProcessEnv): ParsedArguments {
  const everyOption = Object.assign({}, commonOptions, ...Object.values(programOptions)) as OptionTable;
  const parsed = parseArgs({ args: [...argv], options: everyOption, strict: false, allowPositionals: true });
  if (parsed.values.help === true) return { kind: 'help' };
  const problems: string[] = [];
  const [verb, program, ...surplus] = parsed.positionals;
  if (!isOneOf(verbs, verb)) problems.push(choiceProblem('the verb', verb, verbs));
  if (!isOneOf(programNames, program)) problems.push(choiceProblem('PROGRAM', program, programNames));
  for (const word of surplus) problems.push(`${JSON.stringify(word)}: one program at a time`);
  const options = isOneOf(programNames, program) ? { ...commonOptions, ...programOptions[program] } : everyOption;
  for (const [name, value] of Object.entries(parsed.values)) {
    const problem = optionProblem(options, name, value, program);
    if (problem !== undefined) problems.push(problem);
  }
  const reader = createReader(parsed.values, problems);
  const iptables = oneOf(problems, 'AMBIT_IPTABLES', env.AMBIT_IPTABLES ?? 'auto', ['auto', 'nft', 'legacy']);
  const networkNamespace = reader.text('netns');
  const common = {
    ...(networkNamespace === undefined ? {} : { networkNamespace }),
    stateDirectory: reader.text('state-dir') ?? env.AMBIT_REDIRECT_STATE_DIR ?? defaultStateDirectory,
    iptables,
    members: reader.list('member').map((text) => parseMember(text, problems)),
    tunnel: reader.choice('tunnel', ['auto', 'geneve', 'vxlan', 'existing']),
    mtu: reader.number('mtu', defaultTunnelMtu),
    membership: reader.choice('membership', ['auto', 'ipset', 'rules']),
    force: reader.flag('force'),
  } as const;
  const build = isOneOf(programNames, program) ? programReader(program, reader, problems) : undefined;
  const missing = isOneOf(programNames, program)
    ? requiredOptions[program].filter((name) => reader.text(name) === undefined)
    : [];
  if (verb !== 'remove' || common.force)
    for (const name of missing) problems.push(`--${name} is required for program ${program}`);
  if (build !== undefined && missing.length === 0)
    problems.push(...parameterProblems(build({ kind: 'existing' }, 'ipset')));
  if (problems.length > 0 || !isOneOf(verbs, verb) || !isOneOf(programNames, program)) {
    return { kind: 'problems', problems: [...new Set(problems)] };
  }
  const parameters = missing.length > 0 || build === undefined ? {} : { parameters: build };
  return { kind: 'arguments', arguments: { verb, program, ...common, ...parameters } };
}

function programReader(
  program: ProgramName,
  reader: Reader,
  problems: string[],
): (tunnel: Tunnel, membership: Membership) => ProgramParameters {
  const constants = overrideConstants(defaultRedirectConstants, reader.list('set'), problems);
  const ztunnelAddress = reader.text('ztunnel-address') ?? '';
  const hostAddress = reader.text('host-address') ?? '';
  const dns = reader.flag('dns');
  switch (program) {
    case 'node': {
      const ztunnelDevice = reader.text('ztunnel-device') ?? '';
      return (tunnel, membership) => ({
        program,
        constants,
        ztunnelAddress,
        ztunnelDevice,
        hostAddress,
        tunnel,
        membership,
        dns,
      });
    }
    case 'ztunnel': {
      const device = reader.text('device') ?? 'eth0';
      return (tunnel) => ({ program, constants, ztunnelAddress, hostAddress, device, tunnel });
    }
    case 'host': {
      const returnPath = reader.choice('return-path', ['socket', 'connmark']);
      return (_tunnel, membership) => ({ program, constants, membership, returnPath });
    }
    case 'inpod': {
      const ipv6 = reader.flag('ipv6');
      return () => ({ program, constants, dns, ipv6 });
    }
  }
}

interface Reader {
  text(name: string): string | undefined;
  list(name: string): readonly string[];
  flag(name: string): boolean;
  number(name: string, fallback: number): number;
  /** The first allowed value is the default. */
  choice<T extends string>(name: string, allowed: readonly [T, ...T[]]): T;
}

function createReader(values: Readonly<Record<string, unknown>>, problems: string[]): Reader {
  const text = (name: string) => (typeof values[name] === 'string' ? values[name] : undefined);
  return {
    text,
    list: (name) => (Array.isArray(values[name]) ? values[name].filter((value) => typeof value === 'string') : []),
    flag: (name) => values[name] === true,
    number(name, fallback) {
      const value = text(name);
      if (value === undefined) return fallback;
      if (!/^[1-9][0-9]{2,4}$/.test(value)) problems.push(`--${name}: ${JSON.stringify(value)} is no number of bytes`);
      return Number(value);
    },
    choice: (name, allowed) => oneOf(problems, `--${name}`, text(name) ?? allowed[0], allowed),
  };
}

function optionProblem(options: OptionTable, name: string, value: unknown, program?: string): string | undefined {
  const option = options[name];
  if (option === undefined) return `--${name}: no such option${program === undefined ? '' : ` of program ${program}`}`;
  const values = Array.isArray(value) ? value : [value];
  if (option.type === 'string' && values.some((each) => typeof each !== 'string')) return `--${name} needs a value`;
  if (option.type === 'boolean' && values.some((each) => typeof each !== 'boolean')) return `--${name} takes no value`;
  return undefined;
}

function parseMember(text: string, problems: string[]): Member {
  const [ip = '', hostVeth = '', ...rest] = text.split('=');
  const member = { ip, hostVeth };
  if (rest.length > 0 || hostVeth === '') problems.push(`--member: ${JSON.stringify(text)} is not ADDRESS=DEVICE`);
  else problems.push(...memberProblems(member));
  return member;
}

function oneOf<T extends string>(problems: string[], name: string, value: string, allowed: readonly [T, ...T[]]): T {
  if (isOneOf(allowed, value)) return value;
  problems.push(choiceProblem(name, value, allowed));
  return allowed[0];
}

function choiceProblem(name: string, value: string | undefined, allowed: readonly string[]): string {
  const text = value === undefined ? 'is missing' : `cannot be ${JSON.stringify(value)}`;
  return `${name} ${text}: one of ${allowed.join(', ')}`;
}

function isOneOf<T extends string>(allowed: readonly T[], value: string | undefined): value is T {
  return (allowed as readonly (string | undefined)[]).includes(value);
}
