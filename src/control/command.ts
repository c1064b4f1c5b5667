/** `ambit control` and `ambit control token`: from arguments to an exit code (0 done, 1 failed, 2 bad arguments). */

import { formatSocketAddress } from '../base/address.ts';
import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { MetricsRegistry } from '../base/metrics.ts';
import type { Environment } from '../config/environment.ts';
import { joinNameText } from '../identity/join-name.ts';
import { ServedMesh } from '../xds/served-mesh.ts';
import { controlUsage, parseControlArguments, type ServeArguments } from './arguments.ts';
import { openFolderPlacement } from './folder-placement.ts';
import { openTokens, startControl } from './serve.ts';

export interface ControlIo {
  /** Takes whole lines, without the newline. */
  readonly out: (line: string) => void;
  readonly err: (line: string) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  /** Aborted (SIGTERM): running calls end, then the command does. */
  readonly stop: AbortSignal;
}

/** Never rejects. */
export async function runControlCommand(argv: readonly string[], env: Environment, io: ControlIo): Promise<number> {
  const parsed = parseControlArguments(argv, env);
  try {
    switch (parsed.kind) {
      case 'help':
        io.out(controlUsage.trimEnd());
        return 0;
      case 'problems':
        for (const problem of parsed.problems) io.err(`ambit control: ${problem}`);
        io.err('ambit control --help shows what can be given');
        return 2;
      case 'token': {
        const tokens = await openTokens(parsed.stateFolder, io.clock);
        const { token, expiresMs } = await tokens.create(parsed.name, parsed.lifeMs);
        io.out(token);
        io.err(`join token for ${joinNameText(parsed.name)}, once, until ${new Date(expiresMs).toISOString()}`);
        return 0;
      }
      case 'serve':
        await serve(parsed, io);
        return 0;
    }
  } catch (error) {
    io.err(`ambit control: ${errorText(error)}`);
    return 1;
  }
}

async function serve(parsed: ServeArguments, io: ControlIo): Promise<void> {
  const { clock, logger, metrics, stop } = io;
  const { configFolder, preset, trustDomain } = parsed;
  const configuration = await openFolderPlacement(configFolder, { preset, trustDomain, clock, logger });
  const mesh = new ServedMesh(configuration.store);
  try {
    const { placement } = configuration;
    const control = await startControl({ ...parsed, placement, mesh, clock, logger, metrics });
    io.out(`certificates on https://${formatSocketAddress(control.address)}, trust root ${control.caRootFile}`);
    const { plaintextAddress: plaintext } = control;
    if (plaintext !== undefined) io.out(`discovery in clear on http://${formatSocketAddress(plaintext)}`);
    if (!stop.aborted) await new Promise((resolve) => stop.addEventListener('abort', resolve, { once: true }));
    await control.close();
  } finally {
    mesh.close();
    await configuration.close();
  }
}
