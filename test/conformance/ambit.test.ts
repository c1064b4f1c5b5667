/** What no standard fixes and Ambit promises: docs/waypoint.md and the pages beside it. */
import { runSuite } from './support/run-suite.ts';

await runSuite('ambit');
