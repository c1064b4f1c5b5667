#!/usr/bin/env -S node --disable-sigusr1
/** `ztunnel`: the layer 4 proxy of a node. See `ztunnel --help`. */
import process from 'node:process';
import { runZtunnel } from '../src/app/ztunnel.ts';

process.exitCode = await runZtunnel(process.argv.slice(2), process.env);
