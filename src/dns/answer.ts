/**
 * Reads answers of upstream servers: whether one belongs to a query, whether it is whole, and, for names that we resolve
 * ourselves, its addresses. The checks are what stands between a pod and somebody who sends answers unasked.
 *
 * I1: total. I2: a name's pointers only go back, so reading it ends.
 */
import { ipFromBytes } from '../base/address.ts';
import {
  classInternet,
  codes,
  flags,
  headerBytes,
  labelText,
  skipName,
  typeA,
  type typeAaaa,
  typeCname,
  word,
} from './message.ts';

const mostRecords = 512;
const longestChain = 16;
const longestName = 255;

/** Answers with one of these may come without the question. */
const bareCodes: ReadonlySet<number> = new Set([
  codes.formatError,
  codes.serverFailure,
  codes.notImplemented,
  codes.refused,
]);

/** Whether the message answers the query, which has exactly one question: id, kind, and the same question. */
export function answers(query: Uint8Array, answer: Uint8Array): boolean {
  if (answer.length < headerBytes || word(answer, 0) !== word(query, 0)) return false;
  const bits = word(answer, 2);
  if ((bits & flags.response) === 0 || (bits & 0x7800) !== 0) return false;
  const questions = word(answer, 4);
  if (questions === 0) return bareCodes.has(bits & 0xf);
  const end = skipName(query, headerBytes);
  if (questions !== 1 || end === undefined || answer.length < end + 4) return false;
  for (let at = headerBytes; at < end; at++) if (lowerCase(query[at]) !== lowerCase(answer[at])) return false;
  for (let at = end; at < end + 4; at++) if (query[at] !== answer[at]) return false;
  return true;
}

export function isTruncated(answer: Uint8Array): boolean {
  return (word(answer, 2) & flags.truncated) !== 0;
}

export function codeOf(answer: Uint8Array): number {
  return word(answer, 2) & 0xf;
}

/** Addresses of the type asked for at the end of the question's chain of aliases; empty when there is none. */
export function addressesIn(answer: Uint8Array, type: typeof typeA | typeof typeAaaa): readonly string[] {
  const start = skipName(answer, headerBytes);
  const asked = readCompressed(answer, headerBytes);
  if (start === undefined || asked === undefined || word(answer, 4) !== 1) return [];
  const aliases = new Map<string, string>();
  const addresses = new Map<string, string[]>();
  let at = start + 4;
  for (let record = 0; record < Math.min(word(answer, 6), mostRecords); record++) {
    const fixed = skipName(answer, at);
    const owner = readCompressed(answer, at);
    if (fixed === undefined || owner === undefined || fixed + 10 > answer.length) break;
    const data = fixed + 10;
    at = data + word(answer, fixed + 8);
    if (at > answer.length) break;
    if (word(answer, fixed + 2) !== classInternet) continue;
    const recordType = word(answer, fixed);
    if (recordType === typeCname) {
      const target = readCompressed(answer, data);
      if (target !== undefined) aliases.set(owner, target);
    } else if (recordType === type && at - data === (type === typeA ? 4 : 16)) {
      const ip = ipFromBytes(answer.subarray(data, at));
      if (ip !== undefined) addresses.getOrInsertComputed(owner, () => []).push(ip);
    }
  }
  let name: string | undefined = asked;
  for (let step = 0; step < longestChain && name !== undefined; step++) {
    const found = addresses.get(name);
    if (found !== undefined) return found;
    name = aliases.get(name);
  }
  return [];
}

/** Text of a name that may be compressed, lower case. */
function readCompressed(message: Uint8Array, start: number): string | undefined {
  const labels: string[] = [];
  let at = start;
  let lowest = start;
  for (let total = 0; total <= longestName; ) {
    const length = message[at];
    if (length === undefined) return undefined;
    if (length === 0) return labels.join('.');
    if (length >= 0xc0) {
      const target = word(message, at) & 0x3fff;
      if (at + 2 > message.length || target >= lowest) return undefined;
      at = target;
      lowest = target;
      continue;
    }
    if (length > 63 || at + 1 + length > message.length) return undefined;
    labels.push(labelText(message, at + 1, at + 1 + length));
    total += 1 + length;
    at += 1 + length;
  }
  return undefined;
}

function lowerCase(byte: number | undefined): number | undefined {
  return byte !== undefined && byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}
