/**
 * A resource of the type `istio.workload.Address`: a workload or a service, from the bytes of its Any. Written by hand,
 * since a mesh sends a hundred thousand of them and the library's decoder builds each field twice; the generated one is the
 * oracle of the test.
 */
import type { Service, Workload } from '../mesh/model.ts';
import { decodeService, serviceFields } from './decode-service.ts';
import { decodeWorkload, workloadFields } from './decode-workload.ts';
import type { Interner } from './interner.ts';
import { MalformedRecord, reasonOf, WireReader } from './wire-reader.ts';

export type DecodedAddress =
  | { readonly kind: 'workload'; readonly workload: Workload }
  | { readonly kind: 'service'; readonly service: Service }
  /** `reason` names the resource and the field. */
  | { readonly kind: 'invalid'; readonly reason: string };

/** One resource is decoded in one go, so its size is bounded. istiod's are a few hundred bytes. */
const mostBytes = 1024 * 1024;

/** Never throws. `name` is the resource's name, for the reason. Nothing it returns keeps `bytes` alive. */
export function decodeAddress(name: string, bytes: Uint8Array, interner: Interner): DecodedAddress {
  if (bytes.length > mostBytes) return { kind: 'invalid', reason: `${name}: it has ${bytes.length} bytes` };
  const reader = new WireReader(bytes);
  let start = 0;
  let end = bytes.length;
  let fields = addressFields;
  try {
    const type = lastField(reader);
    start = reader.position;
    end = reader.end;
    if (type === 1) {
      fields = workloadFields;
      return { kind: 'workload', workload: decodeWorkload(name, reader, interner) };
    }
    fields = serviceFields;
    return { kind: 'service', service: decodeService(name, reader, interner) };
  } catch (error) {
    return { kind: 'invalid', reason: reasonOf(error, name, fields, { bytes, start, end, position: reader.position }) };
  }
}

const addressFields: Readonly<Record<number, string>> = { 1: 'workload', 2: 'service' };

/** Enters the last of the oneof's fields, which is the one that counts. */
function lastField(reader: WireReader): 1 | 2 {
  let type: 1 | 2 | undefined;
  let start = 0;
  let end = 0;
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field !== 1 && field !== 2) {
      reader.skip();
      continue;
    }
    type = field;
    start = reader.span();
    end = reader.position;
  }
  if (type === undefined) throw new MalformedRecord('neither a workload nor a service');
  reader.position = start;
  reader.end = end;
  return type;
}
