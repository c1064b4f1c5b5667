/**
 * The client of the node agent (istio-cni, or the lab's): hello, then one request at a time, each carried out and
 * answered before the next is read (ztunnel.md §1.5). One protobuf message per SEQPACKET record; a pod's namespace comes
 * as the only descriptor of its `add`.
 *
 * I1: a descriptor that arrives is handed to the manager or closed.
 * I2: what cannot be read ends the connection, which is made again; a breach of the protocol's order ends the process,
 *     after the agent was told.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Backoff } from '../base/backoff.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { type AmbitError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import { nativeSockets } from '../net/native-sockets.ts';
import {
  Version,
  type WorkloadRequest,
  WorkloadRequestSchema,
  WorkloadResponseSchema,
  ZdsHelloSchema,
} from '../proto/gen/zds_pb.js';
import { type PodAnswer, type PodManager, violation } from './pod-manager.ts';

export interface ZdsClientOptions {
  readonly path: string;
  readonly pods: PodManager;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The protocol was broken: the process is to end. */
  readonly onFatal: (error: AmbitError) => void;
}

const longestRecord = 4096;
const longestError = 900;
const sendDeadlineMs = 5000;

type Native = ReturnType<typeof nativeSockets>;
type SeqpacketRecord = NonNullable<ReturnType<Native['seqpacketReceive']>>;

interface Connection {
  readonly fd: number;
  readonly watcher: ReturnType<Native['watchFd']>;
}

export class ZdsClient {
  readonly #options: ZdsClientOptions;
  readonly #native: Native;
  readonly #backoff: Backoff;
  /** A peer that is there, but does not take our hello, is asked again sooner. */
  readonly #helloBackoff: Backoff;
  #connection: Connection | undefined;
  #reconnect: Timer | undefined;
  #closed = false;

  constructor(options: ZdsClientOptions) {
    this.#options = options;
    this.#native = nativeSockets();
    this.#backoff = new Backoff({ initialMs: 20, maxMs: 15_000 }, options.random);
    this.#helloBackoff = new Backoff({ initialMs: 5, maxMs: 15_000 }, options.random);
  }

  start(): void {
    this.#connect();
  }

  get connected(): boolean {
    return this.#connection !== undefined;
  }

  /** Pods stay as they are. */
  close(): void {
    this.#closed = true;
    this.#reconnect?.cancel();
    this.#disconnect();
  }

  #connect(): void {
    if (this.#closed) return;
    const { path, pods, logger } = this.#options;
    let connection: Connection | undefined;
    try {
      const fd = this.#native.seqpacketConnect(path);
      try {
        const watcher = this.#native.watchFd(fd, 'r', (status) => {
          if (connection !== undefined) this.#readable(connection, status);
        });
        connection = { fd, watcher };
      } finally {
        if (connection === undefined) this.#native.closeFd(fd);
      }
    } catch (error) {
      this.#lost(connection, errorText(error));
      return;
    }
    this.#connection = connection;
    pods.connected();
    const refusal = this.#sayHello(connection.fd);
    if (refusal === undefined) logger.info('connected to the node agent', { path });
    else this.#lost(connection, refusal, this.#helloBackoff);
  }

  /** Why it could not be said. */
  #sayHello(fd: number): string | undefined {
    const hello = create(ZdsHelloSchema, { version: Version.V1 });
    try {
      return this.#native.seqpacketSend(fd, toBinary(ZdsHelloSchema, hello)) ? undefined : 'it takes no message';
    } catch (error) {
      return errorText(error);
    }
  }

  /** Undefined: it never stood. One that is not the present one any more has been told of already. */
  #lost(connection: Connection | undefined, reason: string, backoff = this.#backoff): void {
    if (this.#closed || connection !== this.#connection) return;
    this.#disconnect();
    const delayMs = backoff.nextMs();
    const { logger, path, clock } = this.#options;
    logger.warn('no connection to the node agent, trying again', { path, reason, delay: `${Math.round(delayMs)}ms` });
    this.#reconnect = clock.after(delayMs, () => this.#connect());
  }

  #disconnect(): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#connection = undefined;
    connection.watcher.close();
    this.#native.closeFd(connection.fd);
  }

  /** Total: a watcher's callback must not throw. */
  #readable(connection: Connection, status: number): void {
    if (connection !== this.#connection) return;
    try {
      const record = this.#native.seqpacketReceive(connection.fd, longestRecord, 2);
      if (record === undefined) {
        if (status !== 0) this.#lost(connection, `watching failed: ${status}`);
        return;
      }
      if (record.eof) {
        this.#lost(connection, 'the agent has closed the connection');
        return;
      }
      // Nothing more is read until this one is answered.
      connection.watcher.setEvents('none');
      this.#handle(connection, record).catch((error: unknown) => this.#lost(connection, errorText(error)));
    } catch (error) {
      this.#lost(connection, errorText(error));
    }
  }

  async #handle(connection: Connection, record: SeqpacketRecord): Promise<void> {
    const request = readRequest(record);
    if (typeof request === 'string') {
      for (const fd of record.fds) this.#native.closeFd(fd);
      await this.#answer(connection, request);
      this.#lost(connection, request);
      return;
    }
    const answer = await this.#carryOut(request, record.fds[0]);
    if (typeof answer === 'object' && answer !== null) {
      await this.#answer(connection, answer.message);
      this.#options.onFatal(answer);
      return;
    }
    if (!(await this.#answer(connection, answer))) {
      this.#lost(connection, 'the agent does not take our answer');
      return;
    }
    this.#backoff.reset();
    this.#helloBackoff.reset();
    if (connection === this.#connection) connection.watcher.setEvents('r');
  }

  /** The answer, or the breach of the protocol. */
  async #carryOut({ payload }: WorkloadRequest, namespaceFd: number | undefined): Promise<PodAnswer | AmbitError> {
    const { pods } = this.#options;
    switch (payload.case) {
      case 'add': {
        if (namespaceFd === undefined) return violation('an add without a descriptor');
        const { uid, workloadInfo } = payload.value;
        if (workloadInfo === undefined) {
          this.#native.closeFd(namespaceFd);
          return violation('an add without workload info');
        }
        const { name, namespace, serviceAccount } = workloadInfo;
        return await pods.add({ uid, name, namespace, serviceAccount }, namespaceFd);
      }
      case 'keep':
        if (pods.snapshotSeen) return violation('a keep after the snapshot');
        pods.keep(payload.value.uid);
        return null;
      case 'del':
        pods.remove(payload.value.uid);
        return null;
      case 'snapshotSent':
        if (pods.snapshotSeen) return violation('a second snapshot');
        pods.snapshotComplete();
        return null;
      case undefined:
        return violation('a request without a payload');
    }
  }

  /** False: it could not be sent in time. */
  async #answer(connection: Connection, error: PodAnswer): Promise<boolean> {
    const text = error === null ? '' : Buffer.from(error).subarray(0, longestError).toString();
    const response = create(WorkloadResponseSchema, { payload: { case: 'ack', value: { error: text } } });
    const bytes = toBinary(WorkloadResponseSchema, response);
    const { clock, logger } = this.#options;
    const deadline = clock.nowMs() + sendDeadlineMs;
    while (connection === this.#connection) {
      try {
        if (this.#native.seqpacketSend(connection.fd, bytes)) return true;
      } catch (failure) {
        logger.debug('an answer to the agent was not sent', { error: errorText(failure) });
        return false;
      }
      const leftMs = deadline - clock.nowMs();
      if (leftMs <= 0) return false;
      await new Promise<void>((resolve) => clock.after(Math.min(leftMs, 20), resolve));
    }
    return false;
  }
}

/** The request, or why it cannot be one. */
function readRequest(record: SeqpacketRecord): WorkloadRequest | string {
  if (record.truncated || record.controlTruncated) return 'a message was too long';
  let request: WorkloadRequest;
  try {
    request = fromBinary(WorkloadRequestSchema, record.data);
  } catch (error) {
    return `a message cannot be read: ${errorText(error)}`;
  }
  const { case: kind } = request.payload;
  const expected = kind === 'add' ? 1 : 0;
  return record.fds.length === expected ? request : `${record.fds.length} descriptors came with ${kind ?? 'nothing'}`;
}
