/** Gateway API's mesh conformance (MESH-HTTP and MESH-GRPC, core and extended), with path and Location checked too. */
import { runSuite } from './support/run-suite.ts';

await runSuite('gateway-api', (folder) => folder.startsWith('mesh-'));
