/**
 * A gRPC service and its client on grpc-js, for paths that must carry gRPC: unary, a stream each way at once, and a
 * status of its own in the trailers. Messages are bytes, so nothing is generated.
 */
import {
  type ClientDuplexStream,
  credentials,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceDefinition,
  type ServiceError,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import type { Test } from 'tap';
import type { SocketAddress } from '../../src/base/address.ts';

const asIs = (bytes: Buffer): Buffer => bytes;

const echoService = {
  echo: method('Echo', false),
  chat: method('Chat', true),
  fail: method('Fail', false),
} satisfies ServiceDefinition;

function method(name: string, stream: boolean) {
  return {
    path: `/ambit.test.Echo/${name}`,
    requestStream: stream,
    responseStream: stream,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
}

/** Answers what it gets; `fail` answers FAILED_PRECONDITION with the request as its message. Closed with the test. */
export async function startGrpcServer(t: Test, ip = '127.0.0.1'): Promise<SocketAddress> {
  const server = new Server();
  server.addService(echoService, {
    echo: (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => answer(null, call.request),
    chat: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.on('error', () => {});
      call.on('data', (message: Buffer) => call.write(message));
      call.on('end', () => call.end());
    },
    fail: (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) =>
      answer({ code: status.FAILED_PRECONDITION, details: call.request.toString() }),
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${ip}:0`, ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  t.teardown(() => server.forceShutdown());
  return { ip, port };
}

export interface GrpcClient {
  echo(message: string): Promise<string>;
  /** The status of a call that fails on purpose. */
  fail(message: string): Promise<Pick<ServiceError, 'code' | 'details'>>;
  chat(): ClientDuplexStream<Buffer, Buffer>;
}

/** Plain text HTTP/2 to `address`, under the name `authority`. Closed with the test. */
export function grpcClient(t: Test, { ip, port }: SocketAddress, authority: string): GrpcClient {
  const Client = makeGenericClientConstructor(echoService, 'Echo');
  const client = new Client(`${ip}:${port}`, credentials.createInsecure(), { 'grpc.default_authority': authority });
  t.teardown(() => client.close());
  const unary = (path: string, message: string) =>
    new Promise<{ error: ServiceError | null; answer: Buffer | undefined }>((resolve) => {
      const deadline = { deadline: Date.now() + 10_000 };
      client.makeUnaryRequest(path, asIs, asIs, Buffer.from(message), deadline, (error, answer) =>
        resolve({ error, answer }),
      );
    });
  return {
    async echo(message) {
      const { error, answer } = await unary(echoService.echo.path, message);
      if (error !== null) throw error;
      return String(answer);
    },
    async fail(message) {
      const { error } = await unary(echoService.fail.path, message);
      if (error === null) throw new Error('the call did not fail');
      return { code: error.code, details: error.details };
    },
    chat: () => client.makeBidiStreamRequest(echoService.chat.path, asIs, asIs, { deadline: Date.now() + 20_000 }),
  };
}
