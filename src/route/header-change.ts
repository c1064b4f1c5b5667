/** Header changes of routes, in Istio's fixed order: set, add, remove. */
import { type HeaderList, withAddedHeader, withHeader, withoutHeaders } from '../http/header-list.ts';
import type { HeaderChange } from './model.ts';

/** Names that framing or the hop depends on: a route may not touch them. */
const untouchable = new Set([
  'content-length',
  'transfer-encoding',
  'connection',
  'host',
  ':authority',
  'upgrade',
  'te',
]);

export function applyHeaderChange(list: HeaderList, change: HeaderChange | undefined): HeaderList {
  if (change === undefined) return list;
  let out = list;
  for (const [name, value] of change.set) if (mayChange(name)) out = withHeader(out, name, value);
  for (const [name, value] of change.add) if (mayChange(name)) out = withAddedHeader(out, name, value);
  const removed = new Set(change.remove.map((name) => name.toLowerCase()).filter(mayChange));
  return removed.size === 0 ? out : withoutHeaders(out, (name) => removed.has(name));
}

/** The Host a request gets by a header change, which is how Gateway API and VirtualService spell a host rewrite. */
export function changedHost(change: HeaderChange | undefined): string | undefined {
  return change?.set.find(([name]) => /^(host|:authority)$/i.test(name))?.[1];
}

function mayChange(name: string): boolean {
  return !untouchable.has(name.toLowerCase());
}
