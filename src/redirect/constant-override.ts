/** Changes single values of the constants by path, as `node.tables.outbound=201` or `host.tproxyMark=0x800/0xf00`. */
import type { Mark, RedirectConstants } from './constants.ts';

/** A copy with the overrides in it; each that does not fit adds a problem and is left out. */
export function overrideConstants(
  constants: RedirectConstants,
  overrides: readonly string[],
  problems: string[],
): RedirectConstants {
  const copy = structuredClone(constants);
  for (const override of overrides) {
    const problem = setOne(copy, override);
    if (problem !== undefined) problems.push(`--set ${override}: ${problem}`);
  }
  return copy;
}

type Branch = Record<string, unknown>;

function setOne(constants: RedirectConstants, override: string): string | undefined {
  const equals = override.indexOf('=');
  if (equals < 0) return 'is not NAME=VALUE';
  const path = override.slice(0, equals).split('.');
  const last = path.pop() ?? '';
  let branch = constants as unknown as Branch;
  for (const name of path) {
    const next = Object.hasOwn(branch, name) ? branch[name] : undefined;
    if (!isBranch(next)) return `there is no ${name}`;
    branch = next;
  }
  if (!Object.hasOwn(branch, last)) return `there is no ${last}`;
  const value = parseValue(branch[last], override.slice(equals + 1));
  if (value === undefined) return 'the value does not fit';
  branch[last] = value;
  return undefined;
}

/** The text as a value like the former one; undefined when it is none. */
function parseValue(former: unknown, text: string): string | number | Mark | undefined {
  if (typeof former === 'string') return text;
  if (typeof former === 'number') return parseNumber(text);
  if (!isBranch(former) || !('mask' in former)) return undefined;
  const [value, mask = value] = text.split('/', 2).map(parseNumber);
  if (value === undefined || mask === undefined || (value & ~mask) !== 0) return undefined;
  return { value, mask };
}

function parseNumber(text: string): number | undefined {
  if (!/^(0x[0-9a-fA-F]{1,8}|[0-9]{1,10})$/.test(text)) return undefined;
  const value = Number(text);
  return value <= 0xffffffff ? value : undefined;
}

function isBranch(value: unknown): value is Branch {
  return typeof value === 'object' && value !== null;
}
