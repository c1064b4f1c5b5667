#!/usr/bin/env -S MALLOC_ARENA_MAX=1 node --disable-sigusr1 --max-semi-space-size=4 --no-maglev-destroy-on-background --no-memory-reducer --no-allocation-site-pretenuring
/**
 * `ztunnel`: the layer 4 proxy of a node. See `ztunnel --help`.
 *
 * The first line is how the proxies are started everywhere: the lab reads it, the image repeats it. What it says of memory:
 * `--max-semi-space-size=4`: the young generation, which Node lets grow to 48 MiB, stays below 12. At a start that is 10 MiB, in
 * a waypoint with 256 connections 50; CPU per request and time spent collecting stay what they were.
 * `--no-maglev-destroy-on-background`: what V8's middle compiler was working in is freed where its work is taken over. Freed on a
 * thread of its own, which waits while all processors are busy, hundreds of compilations lie about in the first second of a
 * load: 40 MiB of a waypoint, now 14.
 * `--no-memory-reducer`: V8 would collect twice when there is nothing to do, and throw optimised code away; `src/app/memory.ts`
 * says when that is worth it.
 * `--no-allocation-site-pretenuring`: where most of what was made outlived two young collections, V8 makes everything old from the
 * start, for as long as the program runs. One busy minute with requests that take long does that to all of a request's path, and
 * each later one, however short, is then left to whole collections: three a second, and p99 twice as long.
 * `MALLOC_ARENA_MAX=1`: JavaScript has one thread, but glibc gives each of V8's and libuv's a heap of its own, and keeps
 * what they free: 2 MiB at the start, 10 after a load.
 */
import process from 'node:process';
import { runZtunnel } from '../src/app/ztunnel.ts';

process.exitCode = await runZtunnel(process.argv.slice(2), process.env);
