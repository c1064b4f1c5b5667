/** All extensions of a proxy: which of too many run. */
import t from 'tap';
import type { Logger } from '../../../src/base/logger.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { Extensions } from '../../../src/extensions/extensions.ts';
import type { ExtensionRecord } from '../../../src/route/extension.ts';
import { extensionRecord } from '../../support/extension-record.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function record(namespace: string, name: string): ExtensionRecord {
  return extensionRecord({ source: { kind: 'Extension', namespace, name }, module: 'none.ts' });
}

t.test('one namespace with very many leaves the others their places, and is told of once', async (t) => {
  const errors: unknown[] = [];
  const logger: Logger = {
    ...silentLogger,
    topic: () => logger,
    error: (message, fields) => void errors.push([message, fields]),
  };
  const extensions = new Extensions({
    directory: undefined,
    clock: new FakeClock(),
    random: { next: () => 0.5 },
    logger,
    metrics: unscrapedMetrics,
  });
  t.teardown(() => extensions.close());
  const names = () => extensions.describe().map(({ name }) => name);
  const many = Array.from({ length: 40 }, (_, i) => record('a', `e${i}`));
  extensions.apply(many);
  t.equal(names().length, 32);
  const few = record('b', 'own');
  const tooMany = () => errors.filter((error) => /too many extensions/.test(JSON.stringify(error)));
  extensions.apply([...many, few]);
  t.equal(names().length, 32);
  t.ok(names().includes('b/own'));
  t.equal(tooMany().length, 2);
  t.match(JSON.stringify(tooMany()[1]), /a\/e31, .*a\/e39/);
  extensions.apply([...many, few]);
  t.equal(tooMany().length, 2, 'nothing new');
});
