/** What this process may do with sockets, found out by trying before anything relies on it. */
import { AmbitError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { inpodProblem } from '../inpod/self-check.ts';
import { nativeSockets } from '../net/native-sockets.ts';
import type { ZtunnelProgramSettings } from './ztunnel-settings.ts';

/** Whether transparent and marked sockets can be had. Throws when they cannot, and nothing can be done without. */
export function isPrivileged(settings: ZtunnelProgramSettings, logger: Logger): boolean {
  const problem = settings.mode.kind === 'pods' ? inpodProblem(settings.preset.marks.own) : undefined;
  if (problem !== undefined) throw new AmbitError(problem, { code: 'ZTUNNEL_PRIVILEGES', origin: 'local' });
  try {
    const native = nativeSockets();
    native.closeFd(native.createSocket({ family: 4, transparent: true, mark: 1 }));
    return true;
  } catch (error) {
    const message = `foreign source addresses and marks are not allowed here (CAP_NET_ADMIN): ${errorText(error)}`;
    if (settings.variables.ENABLE_ORIG_SRC === true) {
      throw new AmbitError(message, { code: 'ZTUNNEL_PRIVILEGES', origin: 'local', cause: error });
    }
    logger.warn(message, { effect: 'nothing is intercepted, and applications see our address' });
    return false;
  }
}
