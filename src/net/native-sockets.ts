/** The addon, loaded on first use: plain sockets must work where it is not built. */
import { createRequire } from 'node:module';

type Native = typeof import('node-tproxy-native');

let loaded: Native | undefined;

/** Throws when the addon is not built (`ERR_NATIVE_NOT_BUILT`). */
export function nativeSockets(): Native {
  loaded ??= createRequire(import.meta.url)('node-tproxy-native') as Native;
  return loaded;
}
