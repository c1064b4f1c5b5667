/** Waiting for a channel's connection: grpc-js tells each change of state, never whether one may hope. */
import { type ChannelInterface, connectivityState } from '@grpc/grpc-js';

/** `failed`: an attempt was refused, and a call would say why. Never rejects. */
export function connected(channel: ChannelInterface, timeoutMs: number): Promise<'ready' | 'failed' | 'late'> {
  const deadline = Date.now() + timeoutMs;
  return new Promise((resolve) => {
    const look = () => {
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) resolve('ready');
      else if (state === connectivityState.TRANSIENT_FAILURE || state === connectivityState.SHUTDOWN) resolve('failed');
      else if (Date.now() >= deadline) resolve('late');
      else channel.watchConnectivityState(state, deadline, look);
    };
    look();
  });
}
