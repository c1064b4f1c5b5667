/** What a waypoint's supervisor and its workers tell each other over Node's channel between processes. */
import type { View } from '../../admin/interfaces.ts';

export type ToWorkerProcess =
  | { readonly kind: 'levels'; readonly directives: string | undefined; readonly reset: boolean }
  /** Clients are to go elsewhere, though the process stays. */
  | { readonly kind: 'drain' };

export type FromWorkerProcess =
  /** It serves. `views`: what its admin socket can show. */
  | { readonly kind: 'ready'; readonly views: readonly Pick<View, 'name' | 'contentType'>[] }
  | { readonly kind: 'pending'; readonly pending: readonly string[] }
  | { readonly kind: 'load'; readonly closed: number; readonly tunnels: number }
  /** It ends, and this is what it has counted. */
  | { readonly kind: 'last-metrics'; readonly text: string };

/** The descriptor at which connections arrive in a worker: after its three streams and the channel of messages. */
export const handOverDescriptor = 4;
