/** Gateway API's conformance of routes, beside what is asked of a mesh: `gateway-api-mesh.test.ts` has that. */
import { runSuite } from './support/run-suite.ts';

await runSuite('gateway-api', (folder) => !folder.startsWith('mesh-'));
