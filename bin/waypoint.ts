#!/usr/bin/env -S node --disable-sigusr1
/** The waypoint program. */
import process from 'node:process';
import { runWaypoint } from '../src/app/waypoint.ts';

const code = await runWaypoint(process.argv.slice(2));
// Whatever a failed start left open must not keep the process.
if (code !== undefined) process.exit(code);
