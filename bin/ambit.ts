#!/usr/bin/env -S node --disable-sigusr1
/** `ambit`: control plane, redirection and checks. See `ambit --help`. */
import process from 'node:process';
import { runAmbit } from '../src/app/ambit.ts';

process.exitCode = await runAmbit(process.argv.slice(2));
