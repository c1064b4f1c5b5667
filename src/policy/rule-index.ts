/**
 * Rules of L4 policies by a condition that a peer must meet for the rule to match, so that a decision looks at a few of
 * them however many there are. A rule for which there is no such condition is looked at every time.
 *
 * I1: candidates are all rules that could match, in the order of their policies; whether one does is not decided here.
 */
import { CidrTrie } from '../base/cidr-trie.ts';
import type { L4Policy, PolicyMatch, StringMatch } from '../mesh/model.ts';
import { Buckets, TextBuckets, type TextCondition } from './buckets.ts';
import type { L4Peer } from './l4-peer.ts';

export interface IndexedRule {
  readonly of: { readonly policy: L4Policy; readonly place: number };
  /** Index within the policy. */
  readonly rule: number;
  readonly clauses: readonly (readonly PolicyMatch[])[];
}

export class RuleIndex {
  readonly #principals = new TextBuckets<IndexedRule>();
  readonly #namespaces = new TextBuckets<IndexedRule>();
  readonly #accounts = new Buckets<string, IndexedRule>();
  readonly #ports = new Buckets<number, IndexedRule>();
  readonly #sourceBlocks = new Buckets<string, IndexedRule>();
  /** One value a block, which is the block's bucket: the trie looks through what a block holds. */
  readonly #sources = new CidrTrie<readonly IndexedRule[]>();
  readonly #others = new Buckets<'other', IndexedRule>();

  add(rule: IndexedRule): void {
    this.#change('add', rule);
  }

  /** The very object that was added. */
  delete(rule: IndexedRule): void {
    this.#change('delete', rule);
  }

  candidates(peer: L4Peer): readonly IndexedRule[] {
    const found: IndexedRule[] = [];
    this.#others.collect('other', found);
    for (const principal of peer.principals) this.#principals.collect(principal, found);
    if (peer.identity !== undefined) {
      const { namespace, serviceAccount } = peer.identity;
      this.#namespaces.collect(namespace, found);
      if (this.#accounts.size > 0) this.#accounts.collect(`${namespace}/${serviceAccount}`, found);
    }
    this.#ports.collect(peer.connection.destinationPort, found);
    if (this.#sources.size > 0) {
      for (const rules of this.#sources.matches(peer.connection.sourceIp).flat()) found.push(...rules);
    }
    return found.length < 2 ? found : found.sort((a, b) => a.of.place - b.of.place || a.rule - b.rule);
  }

  #change(how: 'add' | 'delete', rule: IndexedRule): void {
    const clause = rule.clauses.find((matches) => isTelling(matches, rule.of.policy.action));
    if (clause === undefined) this.#others[how]('other', rule);
    else for (const match of clause) this.#changeMatch(how, match, rule);
  }

  #changeMatch(how: 'add' | 'delete', match: PolicyMatch, rule: IndexedRule): void {
    switch (tellingField(match)) {
      case 'principals':
        for (const value of match.principals as readonly TextCondition[]) this.#principals[how](value, rule);
        return;
      case 'serviceAccounts':
        for (const { namespace, serviceAccount } of match.serviceAccounts) {
          this.#accounts[how](`${namespace}/${serviceAccount}`, rule);
        }
        return;
      case 'sourceIps':
        for (const block of match.sourceIps) {
          const before = this.#sourceBlocks.at(block.text);
          this.#sourceBlocks[how](block.text, rule);
          const after = this.#sourceBlocks.at(block.text);
          if (before === after) continue;
          if (before !== undefined) this.#sources.delete(block, before);
          if (after !== undefined) this.#sources.add(block, after);
        }
        return;
      case 'namespaces':
        for (const value of match.namespaces as readonly TextCondition[]) this.#namespaces[how](value, rule);
        return;
      case 'destinationPorts':
        for (const port of match.destinationPorts) this.#ports[how](port, rule);
        return;
      case undefined:
        // An empty match of an ALLOW, which nobody meets.
        return;
    }
  }
}

export function isEmptyMatch(match: PolicyMatch): boolean {
  return (
    match.namespaces.length === 0 &&
    match.notNamespaces.length === 0 &&
    match.principals.length === 0 &&
    match.notPrincipals.length === 0 &&
    match.serviceAccounts.length === 0 &&
    match.notServiceAccounts.length === 0 &&
    match.sourceIps.length === 0 &&
    match.notSourceIps.length === 0 &&
    match.destinationIps.length === 0 &&
    match.notDestinationIps.length === 0 &&
    match.destinationPorts.length === 0 &&
    match.notDestinationPorts.length === 0
  );
}

/** Whether the clause tells by indexed fields whom it can hold for. In a DENY an empty match may hold for everybody. */
function isTelling(clause: readonly PolicyMatch[], action: L4Policy['action']): boolean {
  if (clause.length === 0) return false;
  return clause.every((match) => tellingField(match) !== undefined || (action === 'allow' && isEmptyMatch(match)));
}

/** Of the fields that name whom they want, the one that tells most peers apart. */
function tellingField(match: PolicyMatch) {
  if (areTelling(match.principals)) return 'principals';
  if (match.serviceAccounts.length > 0) return 'serviceAccounts';
  if (match.sourceIps.length > 0) return 'sourceIps';
  if (areTelling(match.namespaces)) return 'namespaces';
  return match.destinationPorts.length > 0 ? 'destinationPorts' : undefined;
}

function areTelling(values: readonly StringMatch[]): boolean {
  return values.length > 0 && values.every(({ kind }) => kind !== 'presence');
}
