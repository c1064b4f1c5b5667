/** One match of an L4 policy from the wire: its conditions, and whether all of them are known here. */
import type { Cidr } from '../base/address.ts';
import { trimmed } from '../base/trimmed.ts';
import type { PolicyMatch, StringMatch } from '../mesh/model.ts';
import { blockOf, none, withOne } from './decode-common.ts';
import { MalformedRecord, type WireReader } from './wire-reader.ts';

/** How much a policy may still hold. */
export class PolicyBudget {
  readonly #most: number;
  #taken = 0;

  constructor(most: number) {
    this.#most = most;
  }

  take(): void {
    if (++this.#taken > this.#most) throw new MalformedRecord(`more than ${this.#most} parts`, 'rules');
  }
}

type ServiceAccount = PolicyMatch['serviceAccounts'][number];
type Writable = {
  -readonly [K in keyof PolicyMatch]: PolicyMatch[K] extends readonly (infer T)[] ? readonly T[] : never;
};

export const emptyMatch: PolicyMatch = emptyLists();

/** The message of the current field. `complete`: no condition was left out because this version does not know it. */
export function decodeMatch(reader: WireReader, budget: PolicyBudget): { match: PolicyMatch; complete: boolean } {
  const match = emptyLists();
  let conditions = 0;
  let complete = true;
  const outer = reader.enter();
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    budget.take();
    conditions++;
    switch (field) {
      case 1:
        match.namespaces = withOne(match.namespaces, stringMatch(reader, 'namespaces'));
        break;
      case 2:
        match.notNamespaces = withOne(match.notNamespaces, stringMatch(reader, 'not_namespaces'));
        break;
      case 3:
        match.principals = withOne(match.principals, stringMatch(reader, 'principals'));
        break;
      case 4:
        match.notPrincipals = withOne(match.notPrincipals, stringMatch(reader, 'not_principals'));
        break;
      case 5:
        match.sourceIps = withOne(match.sourceIps, block(reader, 'source_ips'));
        break;
      case 6:
        match.notSourceIps = withOne(match.notSourceIps, block(reader, 'not_source_ips'));
        break;
      case 7:
        match.destinationIps = withOne(match.destinationIps, block(reader, 'destination_ips'));
        break;
      case 8:
        match.notDestinationIps = withOne(match.notDestinationIps, block(reader, 'not_destination_ips'));
        break;
      case 9:
        match.destinationPorts = ports(reader, match.destinationPorts, budget, 'destination_ports');
        break;
      case 10:
        match.notDestinationPorts = ports(reader, match.notDestinationPorts, budget, 'not_destination_ports');
        break;
      case 11:
        match.serviceAccounts = withOne(match.serviceAccounts, serviceAccount(reader));
        break;
      case 12:
        match.notServiceAccounts = withOne(match.notServiceAccounts, serviceAccount(reader));
        break;
      default:
        complete = false;
        reader.skip();
    }
  }
  reader.leave(outer);
  return { match: conditions === 0 ? emptyMatch : match, complete };
}

function emptyLists(): Writable {
  return {
    namespaces: none,
    notNamespaces: none,
    principals: none,
    notPrincipals: none,
    serviceAccounts: none,
    notServiceAccounts: none,
    sourceIps: none,
    notSourceIps: none,
    destinationIps: none,
    notDestinationIps: none,
    destinationPorts: none,
    notDestinationPorts: none,
  };
}

/** Packed or one by one. */
function ports(reader: WireReader, before: readonly number[], budget: PolicyBudget, name: string): readonly number[] {
  const list = before.length === 0 ? [] : (before as number[]);
  let at = list.length;
  reader.uint32s(list);
  for (; at < list.length; at++) {
    budget.take();
    if ((list[at] as number) > 65535) throw new MalformedRecord(`not a port: ${list[at]}`, name);
  }
  // A few, as nearly always.
  return list.length < 16 ? trimmed(list) : list;
}

function stringMatch(reader: WireReader, name: string): StringMatch {
  let match: StringMatch | undefined;
  const outer = reader.enter();
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) match = { kind: 'exact', value: reader.text() };
    else if (field === 2) match = { kind: 'prefix', value: reader.text() };
    else if (field === 3) match = { kind: 'suffix', value: reader.text() };
    else if (field === 4) {
      reader.span();
      match = presence;
    } else reader.skip();
  }
  reader.leave(outer);
  if (match === undefined) throw new MalformedRecord('a string match of no known kind', name);
  return match;
}

const presence: StringMatch = { kind: 'presence' };

function block(reader: WireReader, name: string): Cidr {
  let address: Uint8Array | undefined;
  let length = 0;
  const outer = reader.enter();
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) address = reader.view();
    else if (field === 2) length = reader.uint32();
    else reader.skip();
  }
  reader.leave(outer);
  if (address === undefined) throw new MalformedRecord('it has no address', name);
  return blockOf(address, length, name);
}

function serviceAccount(reader: WireReader): ServiceAccount {
  let namespace = '';
  let account = '';
  const outer = reader.enter();
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) namespace = reader.text();
    else if (field === 2) account = reader.text();
    else reader.skip();
  }
  reader.leave(outer);
  return { namespace, serviceAccount: account };
}
