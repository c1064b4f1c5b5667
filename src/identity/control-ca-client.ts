/**
 * The CA client of a proxy that belongs to `ambit control`: joins, then asks with its credential. An order made while the
 * first join is under way waits for it.
 */

import { type ChannelOptions, createChannel, type RpcChannel } from '../rpc/channel.ts';
import { rpcFailure } from '../rpc/outcome.ts';
import type { CaClient } from './ca-client.ts';
import { createIstioCaClient } from './istio-ca-client.ts';
import { type JoinCredential, type JoinOptions, openJoinCredential } from './join.ts';

export interface ControlCaClient extends CaClient {
  /** For other channels to the same control plane (xDS). */
  readonly credential: JoinCredential;
}

/**
 * Another channel to the same control plane, which shows the credential. A call waits for the join that is under way, and
 * nothing is asked without a credential. The caller closes it; the credential stays the client's.
 */
export function joinedChannel(
  credential: JoinCredential,
  channelOptions: Omit<ChannelOptions, 'clientCertificate'>,
): RpcChannel {
  const channel = createChannel({ ...channelOptions, clientCertificate: () => credential.certificate() });
  const missing = async () => {
    const problem = await notJoined(credential);
    return problem === undefined ? undefined : rpcFailure('UNAUTHENTICATED', problem);
  };
  return {
    unary: async (method, request, options) => (await missing()) ?? (await channel.unary(method, request, options)),
    openStream: async (method, options) => (await missing()) ?? (await channel.openStream(method, options)),
    close: () => channel.close(),
  };
}

/** Undefined: there is a credential. */
async function notJoined(credential: JoinCredential): Promise<string | undefined> {
  if (credential.certificate() === undefined) await credential.settled();
  if (credential.certificate() !== undefined) return undefined;
  return `not joined: ${credential.failure() ?? 'the join credential has expired'}`;
}

/** Rejects only for a name that can be none. `channel` is completed with the credential. */
export async function openControlCaClient(
  join: JoinOptions,
  channelOptions: Omit<ChannelOptions, 'clientCertificate'>,
): Promise<ControlCaClient> {
  const credential = await openJoinCredential(join);
  const channel = createChannel({ ...channelOptions, clientCertificate: () => credential.certificate() });
  const ca = createIstioCaClient(channel, join.name.kind === 'node');
  credential.start(channel);
  return {
    credential,
    async sign(order, signal) {
      const problem = await notJoined(credential);
      return problem === undefined ? await ca.sign(order, signal) : { kind: 'unreachable', reason: problem };
    },
    close() {
      credential.close();
      ca.close();
    },
  };
}
