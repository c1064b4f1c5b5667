/** The addon, loaded on first use: plain sockets must work where it is not built. */
import { createRequire } from 'node:module';
import { errorCode } from '../base/errors.ts';

type Native = typeof import('node-tproxy-native');

let loaded: Native | undefined;

/** Throws when the addon is not built (`ERR_NATIVE_NOT_BUILT`). */
export function nativeSockets(): Native {
  loaded ??= createRequire(import.meta.url)('node-tproxy-native') as Native;
  return loaded;
}

/** Whether it is built. Throws when it is and cannot be loaded. */
export function hasAddon(): boolean {
  try {
    nativeSockets();
    return true;
  } catch (error) {
    if (errorCode(error) === 'ERR_NATIVE_NOT_BUILT') return false;
    throw error;
  }
}
