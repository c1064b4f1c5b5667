/**
 * Whether one match of an L4 policy holds for a peer (ztunnel.md §5.2), and for explanations which of its fields do not.
 *
 * I1: `unmetFields` is empty exactly when `matchHolds`.
 */
import { type Cidr, cidrContains } from '../base/address.ts';
import type { Identity } from '../base/spiffe.ts';
import type { PolicyMatch, StringMatch } from '../mesh/model.ts';
import type { L4Peer } from './l4-peer.ts';
import { matchesString } from './match-string.ts';

export function matchHolds(match: PolicyMatch, peer: L4Peer): boolean {
  return (
    textHolds(match.namespaces, match.notNamespaces, peer.namespaces) &&
    textHolds(match.principals, match.notPrincipals, peer.principals) &&
    accountHolds(match, peer.identity) &&
    ipHolds(match.sourceIps, match.notSourceIps, peer.sourceIp) &&
    ipHolds(match.destinationIps, match.notDestinationIps, peer.destinationIp) &&
    (match.destinationPorts.length === 0 || match.destinationPorts.includes(peer.connection.destinationPort)) &&
    !match.notDestinationPorts.includes(peer.connection.destinationPort)
  );
}

/** Names of fields as they stand in the policy, in its order. */
export function unmetFields(match: PolicyMatch, peer: L4Peer): readonly (keyof PolicyMatch)[] {
  const unmet: (keyof PolicyMatch)[] = [];
  const look = <T>(field: keyof PolicyMatch, values: readonly T[], holds: (values: readonly T[]) => boolean) => {
    if (values.length > 0 && !holds(values)) unmet.push(field);
  };
  look('namespaces', match.namespaces, (values) => textHolds(values, [], peer.namespaces));
  look('notNamespaces', match.notNamespaces, (values) => textHolds([], values, peer.namespaces));
  look('principals', match.principals, (values) => textHolds(values, [], peer.principals));
  look('notPrincipals', match.notPrincipals, (values) => textHolds([], values, peer.principals));
  look('serviceAccounts', match.serviceAccounts, (values) => values.some((each) => isAccount(each, peer.identity)));
  look('notServiceAccounts', match.notServiceAccounts, (values) => !values.some((it) => isAccount(it, peer.identity)));
  look('sourceIps', match.sourceIps, (blocks) => ipHolds(blocks, [], peer.sourceIp));
  look('notSourceIps', match.notSourceIps, (blocks) => ipHolds([], blocks, peer.sourceIp));
  look('destinationIps', match.destinationIps, (blocks) => ipHolds(blocks, [], peer.destinationIp));
  look('notDestinationIps', match.notDestinationIps, (blocks) => ipHolds([], blocks, peer.destinationIp));
  const { destinationPort } = peer.connection;
  look('destinationPorts', match.destinationPorts, (ports) => ports.includes(destinationPort));
  look('notDestinationPorts', match.notDestinationPorts, (ports) => !ports.includes(destinationPort));
  return unmet;
}

/**
 * A peer without the attribute matches nothing, not even presence: this is how STRICT is written. One that goes by several
 * texts is meant by a value that means any of them.
 */
function textHolds(
  values: readonly StringMatch[],
  notValues: readonly StringMatch[],
  texts: readonly string[],
): boolean {
  const isMeant = (value: StringMatch) => texts.some((text) => matchesString(value, text));
  return (values.length === 0 || values.some(isMeant)) && !notValues.some(isMeant);
}

function accountHolds(match: PolicyMatch, identity: Identity | undefined): boolean {
  const { serviceAccounts, notServiceAccounts } = match;
  if (serviceAccounts.length > 0 && !serviceAccounts.some((each) => isAccount(each, identity))) return false;
  return !notServiceAccounts.some((each) => isAccount(each, identity));
}

function isAccount(account: PolicyMatch['serviceAccounts'][number], identity: Identity | undefined): boolean {
  return account.namespace === identity?.namespace && account.serviceAccount === identity.serviceAccount;
}

function ipHolds(blocks: readonly Cidr[], notBlocks: readonly Cidr[], ip: Uint8Array): boolean {
  const holds = (block: Cidr) => cidrContains(block, ip);
  return (blocks.length === 0 || blocks.some(holds)) && !notBlocks.some(holds);
}
