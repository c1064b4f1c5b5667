/**
 * An external authorization service that speaks gRPC by grpc-js, with messages as bytes so that both what arrives and
 * what is answered can be looked at as they are on the wire.
 */
import { createServer, type Server as NetServer } from 'node:net';
import { create, fromBinary, type MessageInitShape, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js';
import type { Test } from 'tap';
import { CheckRequestSchema, CheckResponseSchema } from '../../src/proto/gen/ext_authz_pb.js';

export type Check = MessageShape<typeof CheckRequestSchema>;
export type CheckAnswer = MessageInitShape<typeof CheckResponseSchema> | 'unavailable' | 'never';

export interface ExtAuthzServer {
  readonly server: NetServer;
  readonly checks: Check[];
  /** As they came. */
  readonly bytes: Buffer[];
  answer: (check: Check) => CheckAnswer;
}

const asIs = (bytes: Buffer): Buffer => bytes;

/** The returned server listens nowhere yet. */
export function createExtAuthz(t: Test, answer: ExtAuthzServer['answer']): ExtAuthzServer {
  const grpc = new Server();
  const authz: ExtAuthzServer = { server: createServer(), checks: [], bytes: [], answer };
  const check = {
    path: '/envoy.service.auth.v3.Authorization/Check',
    requestStream: false,
    responseStream: false,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  } as const;
  grpc.addService(
    { check },
    {
      check: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
        const request = fromBinary(CheckRequestSchema, call.request);
        authz.checks.push(request);
        authz.bytes.push(call.request);
        const decided = authz.answer(request);
        if (decided === 'never') return;
        if (decided === 'unavailable') done({ code: status.UNAVAILABLE, details: 'not now' });
        else done(null, Buffer.from(toBinary(CheckResponseSchema, create(CheckResponseSchema, decided))));
      },
    },
  );
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  authz.server.on('connection', (socket) => injector.injectConnection(socket));
  t.teardown(() => {
    injector.destroy();
    grpc.forceShutdown();
    authz.server.close();
  });
  return authz;
}
