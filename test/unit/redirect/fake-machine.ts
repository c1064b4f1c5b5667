/**
 * A machine that understands just the commands which redirection gives, and keeps what they did: enough to see, without a
 * kernel, that what was applied is there and what was removed is gone. Other commands fail, as on a real machine.
 */
import type { Command, CommandResult, Runner } from '../../../src/redirect/runner.ts';

interface FakeDevice {
  readonly name: string;
  up: boolean;
  readonly addresses: Set<string>;
  readonly tunnel?: { readonly kind: string; readonly id: number; readonly remote: string; readonly port: number };
}

export interface FakeMachine extends Runner {
  readonly commands: Command[];
  /** Everything there is, as lines in a fixed order. */
  state(): string;
}

export function createFakeMachine(deviceNames: readonly string[]): FakeMachine {
  const devices = new Map<string, FakeDevice>();
  const addDevice = (name: string, tunnel?: FakeDevice['tunnel']) => {
    devices.set(name, { name, up: false, addresses: new Set(), ...(tunnel === undefined ? {} : { tunnel }) });
    for (const setting of ['rp_filter', 'accept_local']) settings.set(settingPath(name, setting), '2');
  };
  const settings = new Map<string, string>([['/proc/sys/net/ipv4/ip_forward', '0']]);
  const routing = new Set<string>();
  const sets = new Map<string, Set<string>>();
  const tables = new Map<string, Map<string, string[]>>();
  const commands: Command[] = [];
  for (const name of ['all', 'default']) settings.set(settingPath(name, 'rp_filter'), '2');
  for (const name of deviceNames) addDevice(name);

  const runIp = (family: string, line: string): void => {
    const words = line.split(' ');
    const [object, verb, ...rest] = words;
    if (object === 'route' || object === 'rule') {
      const entry = `${family} ${object} ${rest.join(' ')}`;
      if (verb === 'del' && !routing.delete(entry)) throw new Error(`no such ${object}`);
      if (verb === 'add' && routing.has(entry)) throw new Error('File exists');
      if (verb === 'add') routing.add(entry);
      return;
    }
    if (object === 'address') {
      const [address = '', , device = ''] = rest;
      const { addresses } = devices.get(device) ?? fail(`no device ${device}`);
      if (verb === 'add') addresses.add(address);
      else addresses.delete(address);
      return;
    }
    if (verb === 'set') (devices.get(rest[0] ?? '') ?? fail('no device')).up = rest[1] === 'up';
    if (verb === 'del') {
      devices.delete(rest[0] ?? '');
      for (const path of settings.keys()) if (path.includes(`/${rest[0]}/`)) settings.delete(path);
      for (const entry of routing) if (entry.includes(`dev ${rest[0]} `)) routing.delete(entry);
    }
    if (verb === 'add') {
      const [, name = '', , , , kind = '', , id, , remote = '', , port] = rest;
      if (devices.has(name)) throw new Error('File exists');
      addDevice(name, { kind, id: Number(id), remote, port: Number(port) });
    }
  };

  const runIpset = (line: string): void => {
    const [verb, name = '', ip = ''] = line.split(' ');
    if (verb === 'create') sets.set(name, new Set());
    if (verb === 'destroy') sets.delete(name);
    if (verb === 'add') sets.get(name)?.add(ip);
    if (verb === 'del' && !sets.get(name)?.delete(ip)) throw new Error('not a member');
  };

  const restore = (family: string, text: string): void => {
    let chains = new Map<string, string[]>();
    for (const line of text.split('\n')) {
      if (line.startsWith('*')) {
        const key = `${family} ${line.slice(1)}`;
        chains = tables.get(key) ?? new Map(builtIn.map((name) => [name, []]));
        tables.set(key, chains);
      }
      const [verb = '', chain = '', ...rest] = line.split(' ');
      const rules = () => chains.get(chain) ?? fail(`no chain ${chain}`);
      if (line.startsWith(':')) chains.set(verb.slice(1), []);
      if (verb === '-A') rules().push(rest.join(' '));
      if (verb === '-I') rules().unshift(rest.slice(1).join(' '));
      if (verb === '-F') rules().splice(0);
      if (verb === '-X') chains.delete(rules().length === 0 ? chain : fail('chain is not empty'));
      if (verb === '-D') {
        const index = rules().indexOf(rest.join(' '));
        rules().splice(index < 0 ? fail('no such rule') : index, 1);
      }
    }
  };

  const savedRules = (family: string): string =>
    [...tables]
      .filter(([key]) => key.startsWith(family))
      .map(([key, chains]) => {
        const declared = [...chains.keys()].map((name) => `:${name} - [0:0]`);
        const rules = [...chains].flatMap(([name, lines]) => lines.map((line) => `-A ${name} ${line}`));
        return [`*${key.split(' ')[1]}`, ...declared, ...rules, 'COMMIT', ''].join('\n');
      })
      .join('');

  const answer = ({ program, arguments: args, input = '' }: Command): string => {
    const words = [program, ...args].join(' ');
    const lines = input.split('\n').filter((line) => line !== '');
    const family = program.startsWith('ip6') || args.includes('-6') ? 'ipv6' : 'ipv4';
    if (words === 'ip -json -details address show') return JSON.stringify([...devices.values()].map(deviceJson));
    if (words.endsWith('-batch -')) return each(lines, (line) => runIp(family, line));
    if (words.endsWith('rule show')) return JSON.stringify(entries(routing, `${family} rule `).map(ruleJson));
    if (words.includes('route show table')) {
      const table = ` table ${args.at(-1)}`;
      return JSON.stringify(
        entries(routing, `${family} route `)
          .filter((entry) => entry.endsWith(table))
          .map(routeJson),
      );
    }
    if (program === 'grep') {
      return args.flatMap((path) => (settings.has(path) ? [`${path}:${settings.get(path)}\n`] : [])).join('');
    }
    if (program === 'tee')
      return each(args, (path) => settings.set(settings.has(path) ? path : fail(path), input.trim()));
    if (words === 'ipset restore') return each(lines, runIpset);
    if (words.startsWith('ipset save')) {
      const name = args[1] ?? '';
      const members = sets.get(name) ?? fail('The set with the given name does not exist');
      return [`create ${name} hash:ip family inet comment`, ...[...members].map((ip) => `add ${name} ${ip}`)].join(
        '\n',
      );
    }
    if (program === 'iptables-legacy-save') fail('No such file');
    if (program.endsWith('-save')) return savedRules(family);
    if (program.endsWith('-restore')) return each([input], (text) => restore(family, text));
    return fail(`the fake machine does not know: ${words}`);
  };

  return {
    commands,
    async run(command): Promise<CommandResult> {
      commands.push(command);
      try {
        return { status: 0, stdout: answer(command), stderr: '' };
      } catch (error) {
        return { status: 1, stdout: '', stderr: String(error) };
      }
    },
    state() {
      const parts = [
        [...devices.values()].map(({ name, up, addresses }) => `${name} ${up} ${[...addresses]}`),
        [...settings].map((entry) => entry.join('=')),
        [...routing],
        [...sets].map(([name, members]) => `${name}: ${[...members].sort()}`),
        [...tables].flatMap(([key, chains]) =>
          [...chains]
            .filter(([name, rules]) => !builtIn.includes(name) || rules.length > 0)
            .map(([name, rules]) => `${key} ${name}\n${rules.join('\n')}`),
        ),
      ];
      return parts.map((part) => part.sort().join('\n')).join('\n---\n');
    },
  };
}

const builtIn = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'];

function settingPath(device: string, setting: string): string {
  return `/proc/sys/net/ipv4/conf/${device}/${setting}`;
}

function entries(all: ReadonlySet<string>, prefix: string): string[] {
  return [...all].filter((entry) => entry.startsWith(prefix)).map((entry) => entry.slice(prefix.length));
}

function each<T>(items: readonly T[], run: (item: T) => unknown): string {
  for (const item of items) run(item);
  return '';
}

function deviceJson({ name, up, addresses, tunnel }: FakeDevice) {
  return {
    ifname: name,
    flags: up ? ['UP'] : [],
    addr_info: [...addresses].map((address) => ({
      local: address.split('/')[0],
      prefixlen: Number(address.split('/')[1]),
    })),
    ...(tunnel === undefined ? {} : { linkinfo: { info_kind: tunnel.kind, info_data: tunnel } }),
  };
}

function ruleJson(entry: string) {
  const words = entry.split(' ');
  const [fwmark, fwmask] = after(words, 'fwmark')?.split('/') ?? [];
  const goto = after(words, 'goto');
  return {
    priority: Number(after(words, 'priority')),
    ...(fwmark === undefined ? {} : { fwmark, fwmask }),
    ...(goto === undefined ? { table: after(words, 'lookup') } : { goto: Number(goto) }),
  };
}

function routeJson(entry: string) {
  const words = entry.split(' ');
  const local = words[0] === 'local';
  const to = words[local ? 1 : 0];
  const optional = (name: string, word: string) => {
    const value = after(words, word);
    return value === undefined ? {} : { [name]: value };
  };
  return {
    dst: to === '0.0.0.0/0' || to === '::/0' ? 'default' : to,
    ...(local ? { type: '2' } : {}),
    ...optional('dev', 'dev'),
    ...optional('gateway', 'via'),
    ...optional('prefsrc', 'src'),
    ...(words.includes('scope') ? { scope: '253' } : {}),
  };
}

function after(words: readonly string[], word: string): string | undefined {
  const index = words.indexOf(word);
  return index < 0 ? undefined : words[index + 1];
}

function fail(message: string): never {
  throw new Error(message);
}
