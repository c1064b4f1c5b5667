/** A list of trust domains with commas, as AMBIT_TRUST_DOMAIN_ALIASES gives it. */
import { parseSpiffeId } from '../base/spiffe.ts';

export function trustDomainsOf(list: string): readonly string[] {
  return list
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '');
}

/** One sentence for each text of the list that cannot be a trust domain. */
export function trustDomainProblems(variable: string, list: string): readonly string[] {
  return trustDomainsOf(list)
    .filter((each) => parseSpiffeId(`spiffe://${each}/ns/a/sa/b`) === undefined)
    .map((each) => `${variable}: ${JSON.stringify(each)} is no trust domain`);
}
