/**
 * The agent's side of one ZDS connection: hello, then one request at a time, each with its answer (ztunnel.md §1.5).
 * One protobuf message per SEQPACKET record; a pod's namespace travels as the only descriptor of its `Add`.
 *
 * I1: every request settles, with the answer or with why there will be none; requests are sent in the order they are asked.
 */
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import { Version, WorkloadRequestSchema, WorkloadResponseSchema, ZdsHelloSchema } from '../proto/gen/zds_pb.js';
import {
  closeFd,
  openNamespace,
  type SeqpacketRecord,
  seqpacketReceive,
  seqpacketSend,
  type Watcher,
  watchFd,
} from './kernel.ts';

/** As istio-cni: the time for each message, either way. */
const deadlineMs = 5000;
const longestRecord = 4096;

export type ZdsAnswer =
  | { readonly kind: 'acked' }
  | { readonly kind: 'refused'; readonly error: string }
  /** Never asked, since the namespace is gone; or never answered: the connection ended, or a deadline ended it. */
  | { readonly kind: 'lost'; readonly reason: string };

export interface ZdsPod {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** The file that is its network namespace; undefined when the agent has lost it. */
  readonly netns: string | undefined;
}

type RequestInit = MessageInitShape<typeof WorkloadRequestSchema>;

export class ZdsConnection {
  /** Settles when the peer has said hello in a version we speak: true, or false when the connection ended instead. */
  readonly greeted: Promise<boolean>;
  /** Settles with the reason when the connection is over. */
  readonly closed: Promise<string>;
  readonly #fd: number;
  readonly #clock: Clock;
  readonly #watcher: Watcher;
  readonly #records: ((data: Uint8Array | undefined) => void)[] = [];
  #settleClosed: (reason: string) => void = () => {};
  #reason: string | undefined;
  #last: Promise<unknown>;

  /** Takes the descriptor over. */
  constructor(fd: number, clock: Clock) {
    this.#fd = fd;
    this.#clock = clock;
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
    this.greeted = this.#awaitHello();
    this.#last = this.greeted;
    this.#watcher = watchFd(fd, 'r', () => this.#read());
  }

  get open(): boolean {
    return this.#reason === undefined;
  }

  /** Announces a pod: with its namespace, or as one to keep when the namespace cannot be had. */
  async add(pod: ZdsPod): Promise<ZdsAnswer> {
    const { uid, name, namespace, serviceAccount, netns } = pod;
    if (netns === undefined) return this.#ask({ case: 'keep', value: { uid } });
    let fd: number;
    try {
      fd = openNamespace(netns);
    } catch (error) {
      return { kind: 'lost', reason: errorText(error) };
    }
    try {
      return await this.#ask({ case: 'add', value: { uid, workloadInfo: { name, namespace, serviceAccount } } }, [fd]);
    } finally {
      closeFd(fd);
    }
  }

  remove(uid: string): Promise<ZdsAnswer> {
    return this.#ask({ case: 'del', value: { uid } });
  }

  snapshotSent(): Promise<ZdsAnswer> {
    return this.#ask({ case: 'snapshotSent', value: {} });
  }

  /** Ends the connection; what is still asked is lost. Idempotent. */
  close(reason: string): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#watcher.close();
    closeFd(this.#fd);
    for (const take of this.#records.splice(0)) take(undefined);
    this.#settleClosed(reason);
  }

  #ask(payload: NonNullable<RequestInit['payload']>, fds: readonly number[] = []): Promise<ZdsAnswer> {
    const turn = this.#last.then(async (): Promise<ZdsAnswer> => {
      const lost = (): ZdsAnswer => ({ kind: 'lost', reason: this.#reason ?? 'closed' });
      if (!this.open) return lost();
      this.#send(toBinary(WorkloadRequestSchema, create(WorkloadRequestSchema, { payload })), fds);
      const data = await this.#nextRecord();
      return (data === undefined ? undefined : this.#answer(data)) ?? lost();
    });
    this.#last = turn;
    return turn;
  }

  #send(bytes: Uint8Array, fds: readonly number[]): void {
    try {
      // One small record at a time is in flight, so a full queue is a peer that does not read.
      if (!seqpacketSend(this.#fd, bytes, fds)) this.close('the peer does not read');
    } catch (error) {
      this.close(errorText(error));
    }
  }

  #answer(data: Uint8Array): ZdsAnswer | undefined {
    try {
      const { payload } = fromBinary(WorkloadResponseSchema, data);
      if (payload.case === undefined) return this.#malformed('an empty response');
      return payload.value.error === '' ? { kind: 'acked' } : { kind: 'refused', error: payload.value.error };
    } catch (error) {
      return this.#malformed(errorText(error));
    }
  }

  #malformed(what: string): undefined {
    this.close(`malformed answer: ${what}`);
    return undefined;
  }

  async #awaitHello(): Promise<boolean> {
    const data = await this.#nextRecord();
    if (data === undefined) return false;
    try {
      const { version } = fromBinary(ZdsHelloSchema, data);
      if (version === Version.V1) return true;
      this.close(`unknown version ${version}`);
    } catch (error) {
      this.close(`malformed hello: ${errorText(error)}`);
    }
    return false;
  }

  /** The next record, or undefined when the connection ends first. */
  #nextRecord(): Promise<Uint8Array | undefined> {
    return new Promise((resolve) => {
      if (!this.open) return resolve(undefined);
      const timer = this.#clock.after(deadlineMs, () => this.close(`no message within ${deadlineMs} ms`));
      this.#records.push((data) => {
        timer.cancel();
        resolve(data);
      });
    });
  }

  /** A failed read, the end and whatever nobody waits for end the connection: the agent never guesses. */
  #read(): void {
    try {
      while (this.open) {
        const record = seqpacketReceive(this.#fd, longestRecord, 0);
        if (record === undefined) return;
        this.#take(record);
      }
    } catch (error) {
      this.close(errorText(error));
    }
  }

  #take(record: SeqpacketRecord): void {
    if (record.eof) this.close('the peer closed');
    else if (record.truncated || record.controlTruncated) this.close('an oversized message');
    else if (this.#records.length === 0) this.close('a message nobody asked for');
    else this.#records.shift()?.(record.data);
  }
}
