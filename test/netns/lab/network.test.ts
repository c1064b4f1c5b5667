/** The plain lab, nothing redirected: pods reach pods and services as in a cluster. */
import t from 'tap';
import { bookinfoTopology } from '../../../src/lab/bookinfo.ts';
import { enterLab } from '../../../src/lab/enter.ts';
import { createLab } from '../../../src/lab/lab.ts';

const entry = await enterLab();
if (entry.kind === 'unavailable') t.plan(0, `${entry.cause}; ${entry.remedy}`);
else {
  t.test('a client reaches a service’s pod with its own address', async (t) => {
    const lab = await createLab({ topology: bookinfoTopology() });
    t.teardown(() => lab.close());
    t.match(await lab.request('sleep', { kind: 'http', url: 'http://10.96.179.71:9080/productpage' }), { status: 200 });
  });
}
