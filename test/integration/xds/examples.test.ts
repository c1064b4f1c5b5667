/** The examples are clean, and agree with the lab that runs them. */
import path from 'node:path';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { formatDiagnostic } from '../../../src/base/diagnostics.ts';
import { bookinfoTopology } from '../../../src/lab/bookinfo.ts';
import { checkFolder } from '../../../src/xds/check.ts';
import { FolderFiles } from '../../../src/xds/folder-files.ts';
import { compileFolder } from '../../../src/xds/folder-model.ts';
import { presetOptions } from '../../support/compile-text.ts';

const examples = path.resolve(import.meta.dirname, '../../../examples/bookinfo');

for (const preset of ['legacy', 'modern'] as const) {
  const directory = path.join(examples, preset);

  t.test(`examples/bookinfo/${preset} has nothing to complain about`, async (t) => {
    t.same((await checkFolder(directory, presetOptions(preset))).map(formatDiagnostic), []);
  });

  t.test(`examples/bookinfo/${preset} has the lab's pods and Services at the lab's addresses`, async (t) => {
    const { workloads, services } = compileFolder(
      await new FolderFiles(directory, systemClock).scan(),
      presetOptions(preset),
    );
    const topology = bookinfoTopology();
    for (const pod of topology.pods.filter(({ captured }) => captured)) {
      t.match(workloads.get(`Kubernetes//Pod/${pod.namespace}/${pod.name}`), {
        addresses: [pod.ip],
        node: pod.node,
        serviceAccount: pod.serviceAccount,
        tunnelProtocol: 'hbone',
      });
    }
    for (const service of topology.services) {
      const key = `${service.namespace}/${service.name}.${service.namespace}.svc.cluster.local`;
      t.match(services.get(key)?.addresses, [{ network: '', ip: service.vip }]);
      const behind = [...workloads.values()].filter((workload) => workload.services.has(key)).map(({ name }) => name);
      t.same(behind.sort(), [...service.endpoints].sort());
    }
  });
}

t.test('a folder that cannot be read is one diagnostic', async (t) => {
  const found = await checkFolder(path.join(examples, 'nowhere'), presetOptions('modern'));
  t.match(found, [{ severity: 'error', code: 'FOLDER_UNREADABLE' }]);
});
