#!/usr/bin/env -S MALLOC_ARENA_MAX=1 node --disable-sigusr1 --max-semi-space-size=4 --no-maglev-destroy-on-background --no-memory-reducer --no-allocation-site-pretenuring
/** The waypoint program. Its first line is explained in `ztunnel.ts`. */
import process from 'node:process';
import { runWaypoint } from '../src/app/waypoint.ts';

const code = await runWaypoint(process.argv.slice(2));
// Whatever a failed start left open must not keep the process.
if (code !== undefined) process.exit(code);
