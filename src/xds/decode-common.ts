/** Parts that workloads and services have in common, from the wire. All shared through the interner. */
import { type Cidr, cidrFromBytes, ipFromBytes } from '../base/address.ts';
import type { GatewayAddress } from '../mesh/model.ts';
import type { Interner } from './interner.ts';
import { MalformedRecord, type WireReader } from './wire-reader.ts';

export interface NetworkAddress {
  readonly network: string;
  readonly bytes: Uint8Array;
  /** Of a block; undefined: one address. */
  readonly length: number | undefined;
}

export const none: readonly never[] = [];

/**
 * The list with one value more: a new one while it is short, since a push makes room for sixteen more, and nearly all lists
 * have one value. Only for who made the list.
 */
export function withOne<T>(list: readonly T[], value: T): readonly T[] {
  if (list.length === 0) return [value];
  if (list.length === 1) return [list[0] as T, value];
  (list as T[]).push(value);
  return list;
}

/** A value of an enum, by its number on the wire. */
export function enumValue<T>(reader: WireReader, values: readonly T[], field: string): T {
  const number = reader.uint32();
  const value = values[number];
  if (value === undefined) throw new MalformedRecord(`unknown value ${number}`, field);
  return value;
}

export function port(reader: WireReader, field: string): number {
  const number = reader.uint32();
  if (number > 65535) throw new MalformedRecord(`not a port: ${number}`, field);
  return number;
}

export function ipOf(bytes: Uint8Array, field: string): string {
  const ip = ipFromBytes(bytes);
  if (ip === undefined) throw new MalformedRecord(`an address of ${bytes.length} bytes`, field);
  return ip;
}

/** An IPv4 block in IPv6 clothes is the IPv4 block: addresses inside Ambit are never mapped ones. */
export function blockOf(bytes: Uint8Array, length: number, field: string): Cidr {
  const mapped = length >= 96 && ipFromBytes(bytes)?.includes(':') === false && bytes.length === 16;
  const block = mapped ? cidrFromBytes(bytes.subarray(12), length - 96) : cidrFromBytes(bytes, length);
  if (block === undefined) throw new MalformedRecord(`${bytes.length} bytes are no block of length ${length}`, field);
  return block;
}

/** The message of the current field. */
export function networkAddress(reader: WireReader, interner: Interner): NetworkAddress {
  let network = '';
  let bytes: Uint8Array = empty;
  let length: number | undefined;
  const outer = reader.enter();
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) network = interner.text(reader);
    else if (field === 2) bytes = reader.view();
    else if (field === 3) length = reader.uint32();
    else reader.skip();
  }
  reader.leave(outer);
  return { network, bytes, length };
}

/** The message of the current field. */
export function gatewayAddress(reader: WireReader, interner: Interner, field: string): GatewayAddress {
  const start = reader.span();
  return interner.record(field, reader, start, reader.position, () => decodeGateway(reader, interner, field));
}

function decodeGateway(reader: WireReader, interner: Interner, name: string): GatewayAddress {
  let service: string | undefined;
  let address: NetworkAddress | undefined;
  let hbonePort = 0;
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) {
      service = namespacedHostname(reader, interner);
      address = undefined;
    } else if (field === 2) {
      address = networkAddress(reader, interner);
      service = undefined;
    } else if (field === 3) hbonePort = port(reader, `${name}.hbone_mtls_port`);
    else reader.skip();
  }
  if (service !== undefined) return { kind: 'hostname', service, hbonePort };
  if (address === undefined) throw new MalformedRecord('neither an address nor a hostname', name);
  return { kind: 'address', network: address.network, ip: ipOf(address.bytes, `${name}.address`), hbonePort };
}

function namespacedHostname(reader: WireReader, interner: Interner): string {
  let namespace = '';
  let hostname = '';
  const outer = reader.enter();
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) namespace = interner.text(reader);
    else if (field === 2) hostname = interner.text(reader);
    else reader.skip();
  }
  reader.leave(outer);
  return interner.shared(`${namespace}/${hostname}`);
}

const empty = new Uint8Array(0);
