/**
 * Writes answers to queries: a code, or addresses, at most as long as the client takes. What does not fit is left out
 * and the answer says so (TC), so that a client that wants all asks again over TCP.
 *
 * I1: an answer never exceeds its limit. I2: names are written with the bytes of the question, its case included.
 */
import { ipFamily, ipToBytes } from '../base/address.ts';
import type { Random } from '../base/random.ts';
import {
  checkingDisabled,
  classInternet,
  codes,
  type DnsQuery,
  flags,
  headerBytes,
  recursionAvailable,
  typeA,
  typeAaaa,
  typeCname,
  typeOpt,
} from './message.ts';

/** RFC 1035 §4.2.1. */
const leastPayload = 512;
export const ttlSeconds = 30;
const optBytes = 11;
/** Pointer, type, class, TTL, length. */
const recordBytes = 12;
const questionPointer = 0xc000 | headerBytes;

export interface Addresses {
  /** All of the family that was asked for. Written in random order. */
  readonly addresses: readonly string[];
  /** The name is an alias of its first so many labels. */
  readonly aliasLabels: number | undefined;
}

/** A code alone, when there is not even a question to repeat. */
export function writeRefusal(id: number, queryFlags: number, code: number): Uint8Array {
  const message = Buffer.alloc(headerBytes);
  message.writeUInt16BE(id, 0);
  message.writeUInt16BE(answerFlags(queryFlags, false, code), 2);
  return message;
}

/** A code with the question, and EDNS if the client has it. */
export function writeCode(query: DnsQuery, code: number, authoritative: boolean): Uint8Array {
  const message = Buffer.alloc(answerStart(query) + ednsBytes(query));
  writeStart(message, query, authoritative, code);
  writeEdns(message, answerStart(query), query, code);
  return message;
}

/** Authoritative addresses in at most `limit` bytes. */
export function writeAddresses(query: DnsQuery, found: Addresses, limit: number, random: Random): Uint8Array {
  const start = answerStart(query);
  const alias = found.aliasLabels === undefined ? undefined : aliasBytes(query, found.aliasLabels);
  const aliasRecord = alias === undefined ? 0 : recordBytes + alias.length;
  const size = recordBytes + (query.type === typeA ? 4 : 16);
  const room = Math.max(0, Math.floor((limit - start - aliasRecord - ednsBytes(query)) / size));
  const chosen = pickShuffled(found.addresses, room, random);
  const message = Buffer.alloc(start + aliasRecord + chosen.length * size + ednsBytes(query));
  writeStart(message, query, true, codes.noError);
  if (chosen.length < found.addresses.length) markTruncated(message);
  message.writeUInt16BE(chosen.length + (alias === undefined ? 0 : 1), 6);
  let at = start;
  let owner = questionPointer;
  if (alias !== undefined) {
    at = writeRecord(message, at, owner, typeCname, alias);
    owner = 0xc000 | (start + recordBytes);
  }
  for (const ip of chosen) at = writeRecord(message, at, owner, query.type, ipToBytes(ip));
  writeEdns(message, at, query, codes.noError);
  return message;
}

/** A forwarded answer that is too long for the client: its header and question, and that there is more. */
export function writeTruncated(query: DnsQuery, answer: Uint8Array): Uint8Array {
  const message = Buffer.alloc(answerStart(query));
  message.set(answer.subarray(0, 4));
  message.writeUInt16BE(query.id, 0);
  markTruncated(message);
  writeQuestion(message, query);
  return message;
}

/** What the client takes over UDP, bytes. More than `most` is not sent whatever it says. */
export function payloadLimit(query: DnsQuery, most: number): number {
  return Math.min(most, Math.max(leastPayload, query.edns?.payload ?? 0));
}

/** At most `count` of them in random order, each as likely; what is not taken costs nothing. */
export function pickShuffled<T>(all: readonly T[], count: number, random: Random): T[] {
  const moved = new Map<number, T>();
  const at = (index: number) => moved.get(index) ?? (all[index] as T);
  const picked: T[] = [];
  for (let index = 0; index < Math.min(count, all.length); index++) {
    const other = index + Math.floor(random.next() * (all.length - index));
    picked.push(at(other));
    moved.set(other, at(index));
  }
  return picked;
}

export function addressType(ip: string): number {
  return ipFamily(ip) === 4 ? typeA : typeAaaa;
}

function answerFlags(queryFlags: number, authoritative: boolean, code: number): number {
  const kept = queryFlags & (0x7800 | flags.recursionDesired | checkingDisabled);
  return flags.response | kept | (authoritative ? flags.authoritative : 0) | recursionAvailable | (code & 0xf);
}

function answerStart(query: DnsQuery): number {
  return headerBytes + query.name.bytes.length + 4;
}

function writeStart(message: Buffer, query: DnsQuery, authoritative: boolean, code: number): void {
  message.writeUInt16BE(query.id, 0);
  message.writeUInt16BE(answerFlags(query.flags, authoritative, code), 2);
  writeQuestion(message, query);
}

function writeQuestion(message: Buffer, { name: { bytes }, type, class: kind }: DnsQuery): void {
  message.writeUInt16BE(1, 4);
  message.set(bytes, headerBytes);
  message.writeUInt16BE(type, headerBytes + bytes.length);
  message.writeUInt16BE(kind, headerBytes + bytes.length + 2);
}

function markTruncated(message: Buffer): void {
  message.writeUInt16BE(message.readUInt16BE(2) | flags.truncated, 2);
}

function writeRecord(message: Buffer, at: number, owner: number, type: number, data: Uint8Array): number {
  message.writeUInt16BE(owner, at);
  message.writeUInt16BE(type, at + 2);
  message.writeUInt16BE(classInternet, at + 4);
  message.writeUInt32BE(ttlSeconds, at + 6);
  message.writeUInt16BE(data.length, at + 10);
  message.set(data, at + recordBytes);
  return at + recordBytes + data.length;
}

function ednsBytes(query: DnsQuery): number {
  return query.edns === undefined ? 0 : optBytes;
}

/** Root, OPT, payload as class, extended code and flags as TTL, no options. */
function writeEdns(message: Buffer, at: number, query: DnsQuery, code: number): void {
  if (query.edns === undefined) return;
  message.writeUInt16BE(1, 10);
  message.writeUInt16BE(typeOpt, at + 1);
  message.writeUInt16BE(Math.max(leastPayload, query.edns.payload), at + 3);
  message[at + 5] = code >> 4;
  message[at + 6] = 0;
  message.writeUInt16BE(query.edns.dnssecOk ? 0x8000 : 0, at + 7);
}

/** The first labels of the name as a name of its own. */
function aliasBytes({ name: { bytes } }: DnsQuery, labels: number): Uint8Array {
  let end = 0;
  for (let count = 0; count < labels; count++) end += 1 + (bytes[end] as number);
  return Buffer.concat([bytes.subarray(0, end), Uint8Array.of(0)]);
}
