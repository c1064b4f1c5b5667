/** What Istio's own tests and documents fix for waypoints: policies, tokens, VirtualService, DestinationRule. */
import { runSuite } from './support/run-suite.ts';

await runSuite('istio');
