#!/usr/bin/env -S node --disable-sigusr1
/** The article's example on real packets: `npm run demo -- --help`. */
import process from 'node:process';
import { runDemo } from '../src/app/demo/demo.ts';

process.exit(await runDemo(process.argv.slice(2)));
