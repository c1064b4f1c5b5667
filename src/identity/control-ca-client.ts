/**
 * The CA client of a proxy that belongs to `ambit control`: joins, then asks with its credential. An order made while the
 * first join is under way waits for it.
 */

import { type ChannelOptions, createChannel } from '../rpc/channel.ts';
import type { CaClient } from './ca-client.ts';
import { createIstioCaClient } from './istio-ca-client.ts';
import { type JoinCredential, type JoinOptions, openJoinCredential } from './join.ts';

export interface ControlCaClient extends CaClient {
  /** For other channels to the same control plane (xDS). */
  readonly credential: JoinCredential;
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
      if (credential.certificate() === undefined) await credential.settled();
      if (credential.certificate() === undefined) {
        return {
          kind: 'unreachable',
          reason: `not joined: ${credential.failure() ?? 'the join credential has expired'}`,
        };
      }
      return await ca.sign(order, signal);
    },
    close() {
      credential.close();
      ca.close();
    },
  };
}
