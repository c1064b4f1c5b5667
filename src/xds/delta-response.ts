/**
 * A DeltaDiscoveryResponse taken apart without decoding what it carries (`envoy.service.discovery.v3`; field numbers in
 * reference §6.1): its header at once, its resources one by one as slices of the same bytes, so that a response of a whole
 * mesh can be worked off bit by bit (`base/slices.ts`).
 *
 * I1: nothing throws; what is malformed is a value that says where.
 */
import { errorText } from '../base/errors.ts';
import { WireReader } from './wire-reader.ts';

export interface DeltaResponse {
  readonly kind: 'response';
  readonly typeUrl: string;
  readonly nonce: string;
  readonly systemVersion: string;
  readonly resourceCount: number;
  readonly removedCount: number;
  /** In the order of the wire. Walks the bytes anew each time, and keeps them alive until it is done. */
  resources(): Generator<DeltaResource, void, void>;
  removed(): Generator<string, void, void>;
}

export type DeltaResource =
  | {
      readonly kind: 'resource';
      readonly name: string;
      readonly version: string;
      /** Other names by which it may have been asked for. */
      readonly aliases: readonly string[];
      /** Of the Any. */
      readonly typeUrl: string;
      /** A view into the response. */
      readonly value: Uint8Array;
    }
  /** `name` is empty when not even that could be read. */
  | { readonly kind: 'malformed'; readonly name: string; readonly reason: string };

export function splitDeltaResponse(bytes: Uint8Array): DeltaResponse | { kind: 'malformed'; reason: string } {
  const reader = new WireReader(bytes);
  let typeUrl = '';
  let nonce = '';
  let systemVersion = '';
  let resourceCount = 0;
  let removedCount = 0;
  try {
    for (let field = reader.field(); field !== 0; field = reader.field()) {
      if (field === resourcesField) {
        reader.span();
        resourceCount++;
      } else if (field === removedField) {
        reader.span();
        removedCount++;
      } else if (field === 1) systemVersion = reader.text();
      else if (field === 4) typeUrl = reader.text();
      else if (field === 5) nonce = reader.text();
      else reader.skip();
    }
  } catch (error) {
    return {
      kind: 'malformed',
      reason: `response of ${bytes.length} bytes: at ${reader.position}: ${errorText(error)}`,
    };
  }
  return {
    kind: 'response',
    typeUrl,
    nonce,
    systemVersion,
    resourceCount,
    removedCount,
    resources: () => resourcesOf(bytes),
    removed: () => removedOf(bytes),
  };
}

const resourcesField = 2;
const removedField = 6;

/** The walk cannot fail: `splitDeltaResponse` made it before. */
function* resourcesOf(bytes: Uint8Array): Generator<DeltaResource, void, void> {
  const reader = new WireReader(bytes);
  let typeUrl = '';
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field !== resourcesField) {
      reader.skip();
      continue;
    }
    const outer = reader.enter();
    const resource = resourceOf(reader, typeUrl);
    reader.leave(outer);
    if (resource.kind === 'resource') typeUrl = resource.typeUrl;
    yield resource;
  }
}

function* removedOf(bytes: Uint8Array): Generator<string, void, void> {
  const reader = new WireReader(bytes);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === removedField) yield reader.lossyText();
    else reader.skip();
  }
}

/** The `Resource` that was entered. `likelyUrl`: of the one before, which is this one's too. */
function resourceOf(reader: WireReader, likelyUrl: string): DeltaResource {
  let name = '';
  let version = '';
  let typeUrl = '';
  let value: Uint8Array = empty;
  let aliases = noAliases;
  const { end } = reader;
  try {
    for (let field = reader.field(); field !== 0; field = reader.field()) {
      if (field === 1) version = reader.text();
      else if (field === 3) name = reader.text();
      else if (field === 4) aliases = [...aliases, reader.text()];
      else if (field === 2) {
        const outer = reader.enter();
        for (let part = reader.field(); part !== 0; part = reader.field()) {
          if (part === 1) typeUrl = reader.textLike(likelyUrl);
          else if (part === 2) value = reader.view();
          else reader.skip();
        }
        reader.leave(outer);
      } else reader.skip();
    }
    return { kind: 'resource', name, version, aliases, typeUrl, value };
  } catch (error) {
    reader.end = end;
    return { kind: 'malformed', name, reason: `${name === '' ? 'a resource' : name}: ${errorText(error)}` };
  }
}

const empty = new Uint8Array(0);
const noAliases: readonly string[] = [];
