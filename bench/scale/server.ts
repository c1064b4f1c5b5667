/**
 * A control plane with a large mesh, in a process of its own so that its memory and CPU are its own: delta discovery for one
 * client. Started with `fork`; told what to do, and telling what happened, over its channel.
 */
import process from 'node:process';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import { WireReader } from '../../src/xds/wire-reader.ts';
import { addresses, type MeshSize, policies, type Resource, workload } from './mesh.ts';

export interface ServerSetup {
  readonly size: MeshSize;
  readonly keyPem: string;
  readonly certPem: string;
}

export type ServerOrder =
  /** The first requests are answered, which until then wait. */
  | { readonly kind: 'answer' }
  /** One workload has changed. */
  | { readonly kind: 'push'; readonly workload: number };

export type ServerReport =
  | { readonly kind: 'listening'; readonly port: number; readonly bytes: number }
  /** The client has asked, and waits. */
  | { readonly kind: 'asked' }
  /** The client has applied what it was sent. */
  | { readonly kind: 'acknowledged'; readonly typeUrl: string }
  | { readonly kind: 'refused'; readonly typeUrl: string; readonly reason: string };

const path = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';
const addressType = 'type.googleapis.com/istio.workload.Address';
const authorizationType = 'type.googleapis.com/istio.security.Authorization';

type Stream = ServerDuplexStream<Buffer, Buffer>;

let nonces = 0;
let revision = 0;

function response(typeUrl: string, resources: Iterable<Resource>): Buffer {
  const writer = new BinaryWriter();
  for (const { name, value } of resources) {
    writer.tag(2, WireType.LengthDelimited).fork();
    // As long as istiod's, which are hashes; those of policies are empty.
    const version = typeUrl === addressType ? (0x1000_0000_0000_0000n + BigInt(++revision)).toString(16) : '';
    writer.tag(1, WireType.LengthDelimited).string(version);
    writer.tag(2, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(typeUrl);
    writer.tag(2, WireType.LengthDelimited).bytes(value).join();
    writer.tag(3, WireType.LengthDelimited).string(name).join();
  }
  writer.tag(4, WireType.LengthDelimited).string(typeUrl);
  writer.tag(5, WireType.LengthDelimited).string(`nonce-${++nonces}`);
  return Buffer.from(writer.finish());
}

/** Of a DeltaDiscoveryRequest. */
function readRequest(bytes: Buffer): { readonly typeUrl: string; readonly nonce: string; readonly refusal: string } {
  const reader = new WireReader(bytes);
  let typeUrl = '';
  let nonce = '';
  let refusal = '';
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 2) typeUrl = reader.text();
    else if (field === 6) nonce = reader.text();
    else if (field === 7) {
      const outer = reader.enter();
      for (let part = reader.field(); part !== 0; part = reader.field()) {
        if (part === 2) refusal = reader.text() || 'without a reason';
        else reader.skip();
      }
      reader.leave(outer);
    } else reader.skip();
  }
  return { typeUrl, nonce, refusal };
}

async function serve({ size, keyPem, certPem }: ServerSetup): Promise<void> {
  const first = new Map([
    [addressType, response(addressType, addresses(size))],
    [authorizationType as string, response(authorizationType, policies(size))],
  ]);
  const streams = new Set<Stream>();
  /** Until it is told to answer. */
  let waiting: (() => void)[] | undefined = [];
  const tell = (report: ServerReport) => process.send?.(report);
  const asIs = (bytes: Buffer) => bytes;
  const server = new Server({ 'grpc.max_receive_message_length': -1 });
  const delta = {
    path,
    requestStream: true,
    responseStream: true,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
  const opened = (stream: Stream) => {
    streams.add(stream);
    for (const end of ['error', 'cancelled', 'end']) stream.on(end, () => streams.delete(stream));
    stream.on('data', (bytes: Buffer) => {
      const { typeUrl, nonce, refusal } = readRequest(bytes);
      if (refusal !== '') tell({ kind: 'refused', typeUrl, reason: refusal });
      else if (nonce !== '') tell({ kind: 'acknowledged', typeUrl });
      else {
        const answer = () => void stream.write(first.get(typeUrl) ?? response(typeUrl, []));
        if (waiting === undefined) answer();
        else if (waiting.push(answer) === first.size) tell({ kind: 'asked' });
      }
    });
  };
  server.addService({ delta }, { delta: opened });
  const credentials = ServerCredentials.createSsl(null, [
    { private_key: Buffer.from(keyPem), cert_chain: Buffer.from(certPem) },
  ]);
  server.bindAsync('127.0.0.1:0', credentials, (error, port) => {
    if (error !== null) throw error;
    tell({ kind: 'listening', port, bytes: first.get(addressType)?.length ?? 0 });
  });
  process.on('message', (order: ServerOrder) => {
    if (order.kind === 'answer') {
      for (const answer of waiting ?? []) answer();
      waiting = undefined;
      return;
    }
    const changed = response(addressType, [workload(order.workload % size.workloads, size, order.workload + 1)]);
    for (const stream of streams) stream.write(changed);
  });
  process.on('disconnect', () => process.exit());
}

process.once('message', (setup: ServerSetup) => void serve(setup));
