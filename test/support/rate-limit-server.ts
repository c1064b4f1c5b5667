/** A rate limit service on grpc-js: it keeps what it was asked, and answers what a test says. */
import { create, fromBinary, type MessageInitShape, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import type { Test } from 'tap';
import { RateLimitRequestSchema, RateLimitResponseSchema } from '../../src/proto/gen/ratelimit_pb.js';

export type Question = MessageShape<typeof RateLimitRequestSchema>;
export type Decide = (question: Question) => MessageInitShape<typeof RateLimitResponseSchema> | Uint8Array | 'silence';

export interface RateLimitServer {
  readonly port: number;
  readonly questions: Question[];
  /** As they came, for comparison with another client's. */
  readonly bytes: Buffer[];
  decide: Decide;
}

const asIs = (bytes: Buffer): Buffer => bytes;

/** Every question is within the limit, until `decide` says otherwise. Closed with the test. */
export async function startRateLimitServer(t: Test, ip = '127.0.0.1'): Promise<RateLimitServer> {
  const server = new Server();
  const state: { questions: Question[]; bytes: Buffer[]; decide: Decide } = {
    questions: [],
    bytes: [],
    decide: () => ({ overallCode: 1 }),
  };
  const ask = {
    path: '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit',
    requestStream: false,
    responseStream: false,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
  server.addService(
    { ask },
    {
      ask: (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
        const question = fromBinary(RateLimitRequestSchema, call.request);
        state.questions.push(question);
        state.bytes.push(call.request);
        const decided = state.decide(question);
        if (decided === 'silence') return;
        if (decided instanceof Uint8Array) answer(null, Buffer.from(decided));
        else answer(null, Buffer.from(toBinary(RateLimitResponseSchema, create(RateLimitResponseSchema, decided))));
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${ip}:0`, ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  t.teardown(() => server.forceShutdown());
  return Object.assign(state, { port });
}
